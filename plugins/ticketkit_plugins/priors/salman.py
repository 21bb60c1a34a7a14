"""Prior `salman`."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import ticketkit

_LEAST = 0.01
"""The least eps of a robust network that they published."""
# What their files call networks of torchvision, where that is another name.
_FILES = {
    "densenet161": "densenet",
    "mnasnet1_0": "mnasnet",
    "mobilenet_v2": "mobilenet",
    "shufflenet_v2_x1_0": "shufflenet",
}


@dataclass(frozen=True)
class Salman(ticketkit.Prior):
    """The robust ImageNet networks of Salman et al. 2020: of those in the folder `path`, the best.

    Their table tells the eps, in l2, that transfers best by task, architecture (resnet18, resnet50)
    and mode. Where that is 0, the natural network, the least robust one is taken instead, eps 0.01.

    `eps` chooses in the table's place, and needs no task; 0 is the natural network. They published
    0, 0.01, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 3 and 5 in `norm` l2 of resnet18, resnet50 and
    wide_resnet50_2, of which there are 0.5/255, 1/255, 2/255, 4/255 and 8/255 in linf too, and 0
    and 3 of densenet161, mnasnet1_0, mobilenet_v2, resnext50_32x4d, shufflenet_v2_x1_0 and
    vgg16_bn. Their files bear names such as resnet18_l2_eps3.ckpt and resnet18_linf_eps4.0.ckpt.
    """

    name = "salman"
    path: str
    norm: Literal["l2", "linf"] = "l2"
    eps: float | None = None

    def __post_init__(self) -> None:
        if not self.path:
            raise ticketkit.UsageError("salman: path is the folder of their files, found ''")
        if self.eps is None and self.norm == "linf":
            raise ticketkit.UsageError(
                "salman: their table is of networks in l2: norm=linf needs an eps, such as "
                "eps=4/255"
            )
        most = 1 if self.norm == "linf" else math.inf
        if self.eps is not None and not (0 <= self.eps <= most and math.isfinite(self.eps)):
            unit = ", in pixels from 0 to 1, such as 4/255" if self.norm == "linf" else ""
            raise ticketkit.UsageError(
                f"salman: eps is a finite number of 0 or more{unit}; found {self.eps!r}"
            )

    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> ticketkit.PriorChoice:
        if arch is None:
            raise ticketkit.UsageError(
                "prior salman finds a file by the network: give it with --arch, such as --arch "
                "resnet18"
            )
        network = _network(arch)
        notes: tuple[str, ...] = ()
        if self.eps is not None:
            eps, reason = self.eps, "as asked"
        else:
            best, source = _best(task, network, mode)
            eps = best or _LEAST
            reason = f"for {_words(task, network, mode)}, by {source}"
            if not best:
                reason = f"the least there is, {reason}"
                notes = (
                    f"the best eps for {_words(task, network, mode)} is 0, so that robust = "
                    "natural; the table does not tell the best one above 0, and the least, "
                    f"{_LEAST}, is taken: eps=0 asks for the natural network",
                )
        path = Path(self.path).expanduser() / self._file(network, eps)
        return ticketkit.PriorChoice(path, f"eps {self._shown(eps)}, {reason}", eps, notes)

    def _file(self, network: str, eps: float) -> str:
        start = _FILES.get(network, network)
        if self.norm == "linf" and eps:
            return f"{start}_linf_eps{round(255 * eps, 6)}.ckpt"
        return f"{start}_l2_eps{eps:g}.ckpt"

    def _shown(self, eps: float) -> str:
        if not eps:
            return "0 (natural)"
        return f"{round(255 * eps, 6):g}/255 in linf" if self.norm == "linf" else f"{eps:g} in l2"


def _network(arch: str) -> str:
    """What a spec calls its network: `resnet18:stem=small`, `timm:resnet18`, `nets:resnet18`."""
    first, _, rest = arch.partition(":")
    second = rest.partition(":")[0]
    return second if second and "=" not in second else first


def _best(task: str | None, network: str, mode: str) -> tuple[float, str]:
    """The best eps by the table, and where that is from."""
    text = files("ticketkit_plugins.priors").joinpath("salman.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)
    best: dict[str, dict[str, dict[str, float]]] = table["best"]
    ask = "eps=, as in salman:path=FOLDER,eps=3, chooses without it"
    if task is None:
        raise ticketkit.UsageError(
            f"prior salman chooses eps by the downstream task: give it with --task, or {ask}"
        )
    if task not in best:
        raise ticketkit.UsageError(
            f"prior salman has no eps for task {task!r}: its table has {', '.join(best)}; {ask}"
        )
    if network not in best[task]:
        raise ticketkit.UsageError(
            f"prior salman has no eps for network {network!r}: its table has "
            f"{', '.join(best[task])}; {ask}"
        )
    return best[task][network][mode], f"{table['paper']}, {table['source']}"


def _words(task: str | None, network: str, mode: str) -> str:
    return f"{network} on {task}, {mode}"


@ticketkit.hookimpl
def ticketkit_priors() -> Iterator[type[ticketkit.Prior]]:
    yield Salman
