"""Do robust tickets transfer better? The paper's first claim, on a laptop.

Networks are pretrained on glyphs (letters and digits of 20 faces), naturally, by PGD and by
randomized smoothing; tickets of them are drawn by magnitude and transferred to real handwritten
digits, of which 100 are labelled. Run it as it is for one pretrained network of each kind and three
splits of the digits, or with more of both:

    python examples/robust_tickets.py --seeds 3 --splits 5

It needs ticketkit[demo]. Everything lies in the folder `ticketkit-demo`; what is there already is
not computed again.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from ticketkit.cli import main

PRIORS = {
    "natural": [],
    "PGD": ["--robustifier", "pgd:norm=l2,eps=0.5,steps=2"],
    "smoothing": ["--robustifier", "smoothing:sigma=0.1"],
}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--seeds", type=int, default=1, help="pretrained networks of each kind")
parser.add_argument("--splits", type=int, default=3, help="choices of the labelled digits")
parser.add_argument("--labels", type=int, default=100, help="how many digits are labelled")
parser.add_argument("--mode", default="linear", help="linear or finetune")
parser.add_argument("--scheme", default="unstructured", help="unstructured, row, kernel, channel")
parser.add_argument("--sparsities", default="0,0.5,0.8,0.9,0.95,0.98,0.99")
parser.add_argument("--folder", type=Path, default=Path("ticketkit-demo"))
asked = parser.parse_args()
sparsities = asked.sparsities.split(",")
asked.folder.mkdir(parents=True, exist_ok=True)
os.chdir(asked.folder)


def run(*words: str) -> dict[str, Any]:
    """Run one command line for the document that it prints; stop where it fails."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main([*words, "--json"])
    if status:
        sys.exit(status)
    document: dict[str, Any] = json.loads(printed.getvalue())
    return document


def measure(results: dict[str, dict[str, Any]], part: str) -> float:
    """The first figure of the evaluator of this name: results are keyed by specs, with options."""
    figures = next(found for spec, found in results.items() if spec.partition(":")[0] == part)
    return float(next(iter(figures.values()))["value"])


def pretrained(prior: str, seed: int) -> tuple[Path, dict[str, Any]]:
    """A network that is trained on glyphs: its file, and how good it is at them."""
    path = Path(f"{prior}-{seed}.safetensors")
    document = run(
        *("pretrain", "--task", "glyphs", "--arch", "resnet10:width=16,stem=small"),
        *("--fit", "small", "--seed", str(seed), "--resume", "-o", str(path), *PRIORS[prior]),
    )
    return path, document["results"]


def ticket(path: Path, sparsity: str) -> Path:
    """The file of a network's one-shot magnitude ticket (OMP) of this sparsity."""
    drawn = path.with_suffix(f".{asked.scheme}-{sparsity}.ticket.safetensors")
    if not drawn.exists():
        run(
            *("prune", str(path), "--sparsity", sparsity, "--scheme", asked.scheme),
            *("--no-checkpoint", "--ticket", str(drawn), "--allow-empty-layers"),
        )
    return drawn


def transferred(path: Path, sparsity: str, split: int) -> Any:
    """What the ticket is worth on the digits that are not labelled."""
    task = f"digits:labels={asked.labels},split={split}"
    options = ("--task", task, "--mode", asked.mode, "--seed", str(split), "--resume")
    return run("transfer", str(ticket(path, sparsity)), str(path), *options)["results"]


# Pretrain, draw, transfer: everything by the command line, in one process to import torch once.
begun = time.monotonic()
accuracy: dict[str, dict[str, list[float]]] = {}
under_attack: dict[str, dict[str, list[float]]] = {}
print(f"{'prior':10} {'seed':>4} {'source accuracy':>16} {'under attack':>13}")
for prior in PRIORS:
    accuracy[prior] = {sparsity: [] for sparsity in sparsities}
    under_attack[prior] = {sparsity: [] for sparsity in sparsities}
    for seed in range(asked.seeds):
        path, source = pretrained(prior, seed)
        clean, robust = measure(source, "accuracy"), measure(source, "adversarial")
        print(f"{prior:10} {seed:4} {100 * clean:14.1f} % {100 * robust:11.1f} %", flush=True)
        for sparsity in sparsities:
            found = [transferred(path, sparsity, split) for split in range(asked.splits)]
            for part, into in ("accuracy", accuracy), ("adversarial", under_attack):
                mean = statistics.mean(measure(each, part) for each in found)
                into[prior][sparsity].append(100 * mean)


def table(title: str, found: dict[str, dict[str, list[float]]]) -> None:
    """Means and standard deviations over seeds; of the robust priors, the gain over natural."""
    print(f"\n{title}")
    print(f"{'sparsity':22}" + "".join(f"{sparsity:>12}" for sparsity in sparsities))
    for prior in PRIORS:
        rows = {prior: found[prior]}
        if prior != "natural":
            pairs = {s: zip(found[prior][s], found["natural"][s], strict=True) for s in sparsities}
            rows[f"{prior} - natural"] = {s: [a - b for a, b in pairs[s]] for s in sparsities}
        for name, values in rows.items():
            sign = "+" if "-" in name else ""
            cells = [f"{statistics.mean(values[s]):{sign}.1f}" for s in sparsities]
            if asked.seeds > 1:
                spread = [f"±{statistics.stdev(values[s]):.1f}" for s in sparsities]
                cells = [cell + more for cell, more in zip(cells, spread, strict=True)]
            print(f"{name:22}" + "".join(f"{cell:>12}" for cell in cells))


kind = "linear evaluation" if asked.mode == "linear" else "finetuning"
context = f"{kind}, {asked.labels} labels, {asked.scheme}, {asked.splits} splits"
table(f"accuracy in %: {context}", accuracy)
table("accuracy in % under the attack l2, eps 0.25, PGD-10", under_attack)
print(f"\n{time.monotonic() - begun:.0f} s")
