"""What robust pretraining loses on its source."""

from __future__ import annotations

from typing import Any

import pytest

from tests.result_documents import PGD, estimate, pretrain_document
from ticketkit.origins import pretrained_of
from ticketkit.sourceloss import losses


def told(*networks: dict[str, Any]) -> list[str]:
    return losses(map(pretrained_of, networks))


def pair(natural: float, robust: float) -> list[dict[str, Any]]:
    return [
        pretrain_document(0, None, natural),
        pretrain_document(0, PGD, robust),
    ]


# SCIENCE's own pair, 78.5 and 64, is no cause for a warning.
@pytest.mark.parametrize(
    ("natural", "robust", "warned"),
    [(0.785, 0.64, False), (0.75, 0.55, False), (0.75, 0.54, True), (0.75, 0.9, False)],
)
def test_a_loss_of_over_20_points_is_told(natural: float, robust: float, warned: bool) -> None:
    assert bool(told(*pair(natural, robust))) == warned


def test_the_warning_names_the_network_the_robustifier_and_the_loss() -> None:
    assert told(*pair(0.785, 0.5)) == [
        f"resnet10:width=16,stem=small on glyphs:size=16,count=8000: robustifier {PGD} loses 28.5 "
        "points on the source task, 78.5 to 50.0: over 20, it is too strong for that data"
    ]


def test_seeds_are_averaged_and_robustifiers_are_not() -> None:
    other = pretrain_document(1, "smoothing:sigma=0.25", 0.5)
    second = pretrain_document(1, PGD, 0.7)
    found = told(*pair(0.8, 0.55), other, second)
    assert len(found) == 1
    assert "smoothing:sigma=0.25 loses 30.0 points" in found[0]


def test_networks_without_a_natural_twin_have_lost_nothing() -> None:
    natural, robust = pair(0.8, 0.1)
    natural["pretraining"]["arch"] = "resnet18"
    assert told(natural, robust) == told(robust) == told() == []


def test_a_figure_that_is_no_share_tells_no_points() -> None:
    natural, robust = pair(0.8, 0.1)
    for content, value in ((natural, 9.0), (robust, 1.0)):
        content["results"] = {"loss": {"nll": estimate(value, "")}}
    assert told(natural, robust) == []
