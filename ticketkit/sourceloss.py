"""What robust pretraining costs on the source task, where both priors were pretrained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from ticketkit.origins import Pretrained
from ticketkit.records import without_lots

_MOST = 0.2
"""A robustifier that costs more of the source accuracy is too strong for the data's contrast."""


def losses(networks: Iterable[Pretrained]) -> list[str]:
    """A warning for each robustifier that loses over 20 points against its natural twins.

    Twins have one task and architecture; over several seeds their accuracies are averaged.
    """
    kinds: dict[tuple[str, str], dict[str | None, list[float]]] = {}
    for network in networks:
        told, accuracy = network.training, _accuracy(network)
        if accuracy is not None:
            twins = kinds.setdefault((without_lots(told["task"]), told["arch"]), {})
            twins.setdefault(told["robustifier"], []).append(accuracy)
    return [
        warning
        for (task, arch), twins in kinds.items()
        if None in twins
        for robustifier, found in twins.items()
        if (warning := _warning(f"{arch} on {task}", twins[None], robustifier, found))
    ]


def _warning(
    what: str, natural: Sequence[float], robustifier: str | None, found: Sequence[float]
) -> str:
    before, now = fmean(natural), fmean(found)
    if robustifier is None or before - now <= _MOST:
        return ""
    return (
        f"{what}: robustifier {robustifier} loses {100 * (before - now):.1f} points on the source "
        f"task, {100 * before:.1f} to {100 * now:.1f}: over 20, it is too strong for that data"
    )


def _accuracy(network: Pretrained) -> float | None:
    """The first figure of the first evaluator, the task's own metric; None where it is no share."""
    first = next(iter(network.figures.items()), None)
    return first[1] if first and first[0].unit == "share" else None
