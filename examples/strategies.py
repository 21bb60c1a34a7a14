"""OMP, IMP and A-IMP, LMP: which tickets of natural and robust networks transfer, on a laptop.

Networks are pretrained on glyphs, naturally and by PGD. Tickets of them are drawn at once by
magnitude (OMP), iteratively on the glyphs (upstream) and on the digits that are labelled
(downstream), and by learning the mask on those digits (LMP); iterative rounds of robust networks
are adversarial (A-IMP). Each ticket is then transferred to handwritten digits, of which 100 are
labelled. Run it as it is, or for more pretrained networks and choices of the labelled digits:

    python examples/strategies.py --seeds 3 --splits 2

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ticketkit.cli import main

# What each prior trains on, in pretraining and in rounds.
PRIORS = {"natural": [], "PGD": ["--robustifier", "pgd:norm=l2,eps=0.5,steps=2"]}
# The rounds whose tickets are compared, and their sparsities: each cuts a fifth of what is left.
ROUNDS = {k: 1 - 0.8**k for k in (3, 7, 10, 13, 17)}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--seeds", type=int, default=1, help="pretrained networks of each kind")
parser.add_argument("--splits", type=int, default=1, help="choices of the labelled digits")
parser.add_argument("--labels", type=int, default=100, help="how many digits are labelled")
parser.add_argument("--mode", default="linear", help="linear or finetune")
parser.add_argument("--folder", type=Path, default=Path("ticketkit-demo"))
asked = parser.parse_args()
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


def pretrained(prior: str, seed: int) -> Path:
    """The file of a network that is trained on glyphs."""
    path = Path(f"{prior}-{seed}.safetensors")
    run(
        *("pretrain", "--task", "glyphs", "--arch", "resnet10:width=16,stem=small"),
        *("--fit", "small", "--seed", str(seed), "--resume", "-o", str(path), *PRIORS[prior]),
    )
    return path


def digits(split: int) -> str:
    """The task: digits, of which some are labelled."""
    return f"digits:labels={asked.labels},split={split}"


def at_once(prior: str, path: Path, split: int, number: int) -> Path:
    """OMP."""
    drawn = path.with_suffix(f".omp-{number}.ticket.safetensors")
    options = ("--ticket", str(drawn), "--no-checkpoint", "--force")
    run("prune", str(path), "--sparsity", str(ROUNDS[number]), *options)
    return drawn


def upstream(prior: str, path: Path, split: int, number: int) -> Path:
    """IMP on the glyphs, and A-IMP where the prior is robust."""
    return in_rounds(prior, path, "us", "glyphs", "small:epochs=1", number)


def downstream(prior: str, path: Path, split: int, number: int) -> Path:
    """IMP on the labelled digits, and A-IMP where the prior is robust."""
    return in_rounds(prior, path, f"ds-{asked.labels}-{split}", digits(split), "small", number)


def in_rounds(prior: str, path: Path, name: str, task: str, fit: str, number: int) -> Path:
    """The ticket of a round of iterative pruning."""
    rounds, drawn = (
        Path(f"runs/{path.stem}-{name}"),
        path.with_suffix(f".{name}.ticket.safetensors"),
    )
    run(
        *("prune", str(path), "--strategy", "imp:rate=0.2", "--task", task, *PRIORS[prior]),
        *("--fit", fit, "--sparsity", str(max(ROUNDS.values())), "--run", str(rounds)),
        *("--resume", "--ticket", str(drawn), "--no-checkpoint"),
    )
    return rounds / f"round-{number:03}" / "ticket.safetensors"


def learned(prior: str, path: Path, split: int, number: int) -> Path:
    """LMP on the labelled digits; the weights stay as they are."""
    name = f"lmp-{asked.labels}-{split}-{number}"
    drawn = path.with_suffix(f".{name}.ticket.safetensors")
    run(
        *("prune", str(path), "--strategy", "lmp", "--task", digits(split), "--fit", "small"),
        *("--sparsity", str(ROUNDS[number]), "--run", f"runs/{path.stem}-{name}"),
        *("--resume", "--ticket", str(drawn), "--no-checkpoint"),
    )
    return drawn


STRATEGIES: dict[str, Callable[[str, Path, int, int], Path]] = {
    "OMP": at_once,
    "(A-)IMP upstream": upstream,
    "(A-)IMP downstream": downstream,
    "LMP": learned,
}

begun = time.monotonic()
heads = "".join(f"{100 * sparsity:9.2f} %" for sparsity in ROUNDS.values())
print(f"accuracy in %: {asked.mode}, {asked.labels} labels; under the attack in brackets")
print(f"{'strategy':20}{'prior':10}{heads}")
for strategy, draw in STRATEGIES.items():
    found: dict[str, dict[int, list[float]]] = {}
    for prior in PRIORS:
        found[prior] = {number: [] for number in ROUNDS}
        attacked: dict[int, list[float]] = {number: [] for number in ROUNDS}
        for seed in range(asked.seeds):
            path = pretrained(prior, seed)
            for number in ROUNDS:
                clean, adversarial = [], []
                for split in range(asked.splits):
                    words = (str(draw(prior, path, split, number)), str(path))
                    options = ("--task", digits(split), "--mode", asked.mode, "--resume")
                    results = run("transfer", *words, *options)["results"]
                    clean.append(100 * measure(results, "accuracy"))
                    adversarial.append(100 * measure(results, "adversarial"))
                found[prior][number].append(statistics.mean(clean))
                attacked[number].append(statistics.mean(adversarial))
        cells = [
            f"{statistics.mean(found[prior][k]):.1f} ({statistics.mean(attacked[k]):.0f})"
            for k in ROUNDS
        ]
        print(f"{strategy:20}{prior:10}" + "".join(f"{cell:>11}" for cell in cells), flush=True)
    gains = [
        [a - b for a, b in zip(found["PGD"][k], found["natural"][k], strict=True)] for k in ROUNDS
    ]
    spread = [f"±{statistics.stdev(each):.1f}" if asked.seeds > 1 else "" for each in gains]
    cells = [f"{statistics.mean(each):+.1f}{s}" for each, s in zip(gains, spread, strict=True)]
    print(f"{'':20}{'gain':10}" + "".join(f"{cell:>11}" for cell in cells), flush=True)
print(f"\n{time.monotonic() - begun:.0f} s")
