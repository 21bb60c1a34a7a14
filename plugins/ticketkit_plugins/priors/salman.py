"""Prior `salman`."""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ticketkit

_TABLE = "salman.csv"
_SOURCE = "best_params_per_dataset_per_arch.md of robust-models-transfer"
# Which strengths there are networks of: l2 as they are, linf in 255ths.
_PUBLISHED = {
    "l2": (0.0, 0.01, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 5.0),
    "linf": (0.5, 1.0, 2.0, 4.0, 8.0),
}


@dataclass(frozen=True)
class Salman(ticketkit.Prior):
    """The adversarially pretrained ImageNet networks of Salman et al. 2020 (arXiv 2007.08489).

    They lie in the folder `path` under their published names, such as `resnet18_l2_eps3.ckpt`. The
    strength of their adversary is the one that transferred best to the task, by the authors' own
    table (l2 alone, for twelve tasks), unless `eps` says another: 0 is the natural twin, and linf
    takes fractions such as 4/255. Where the best of the table is 0, the weakest adversary there is,
    0.01, is taken, as the table does not tell which other one came next.
    """

    name = "salman"
    path: str
    norm: Literal["l2", "linf"] = "l2"
    eps: float | None = None

    def __post_init__(self) -> None:
        unit = 255 if self.norm == "linf" else 1
        if self.eps is not None and not any(
            abs(self.eps * unit - each) < 1e-6 for each in _PUBLISHED[self.norm]
        ):
            known = [f"{each:g}" + ("/255" if unit > 1 else "") for each in _PUBLISHED[self.norm]]
            raise ticketkit.UsageError(
                f"salman: eps of {self.norm} is one of {', '.join(known)}, found {self.eps:g}"
            )

    def choose(self, task: str, arch: str, mode: str) -> ticketkit.PriorChoice:
        eps, why = self._strength(task, arch.partition(":")[0], mode)
        shown = f"{255 * eps:.1f}" if self.norm == "linf" else f"{eps:g}"
        path = Path(self.path) / f"{arch.partition(':')[0]}_{self.norm}_eps{shown}.ckpt"
        if not path.is_file():
            others = sorted(each.name for each in Path(self.path).glob("*.ckpt"))
            there = f"; there are {', '.join(others[:8])}" if others else ""
            raise ticketkit.InputError(f"no {path.name} in the folder {self.path} ({why}){there}")
        return ticketkit.PriorChoice(path, why)

    def _strength(self, task: str, arch: str, mode: str) -> tuple[float, str]:
        """The adversary's eps, and why it is this one."""
        if self.eps is not None:
            return self.eps, f"{self.norm}, eps {self.eps:g}, as asked for"
        rows = [row for row in _rows() if row["task"] == task and row["arch"] == arch]
        if not rows or self.norm != "l2":
            tasks, archs = ({row[what]: 0 for row in _rows()} for what in ("task", "arch"))
            raise ticketkit.UsageError(
                f"salman: no best eps is known of {self.norm} for {arch} on {task}: give eps=, or "
                f"l2 for one of {', '.join(archs)} on one of {', '.join(tasks)}"
            )
        best = float(rows[0][mode])
        if best:
            return best, f"l2, eps {best:g} is best for {arch} on {task}, {mode}: {_SOURCE}"
        weakest = _PUBLISHED["l2"][1]
        return weakest, (
            f"l2, eps 0 (natural) is best for {arch} on {task}, {mode}: {_SOURCE}; eps "
            f"{weakest:g}, the weakest adversary, is taken instead"
        )


def _rows() -> list[dict[str, str]]:
    table = importlib.resources.files(__package__).joinpath(_TABLE)
    return list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))


@ticketkit.hookimpl
def ticketkit_priors() -> Iterator[type[ticketkit.Prior]]:
    yield Salman
