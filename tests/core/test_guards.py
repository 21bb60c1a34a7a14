"""What every measure refuses: outputs and labels that mean nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ticketkit

FINE = torch.zeros(4, 3)
NAN, INF = float("nan"), float("inf")


def outputs(*bad: float) -> torch.Tensor:
    """Outputs of four samples, the last ones bad."""
    found = FINE.clone()
    for place, value in enumerate(bad, 4 - len(bad)):
        found[place, 1] = value
    return found


@pytest.mark.parametrize(
    ("found", "labels", "told"),
    [
        (outputs(NAN), [0, 1, 2, 0], "sample 13: the network's output is NaN or infinite"),
        (outputs(-INF, NAN), [0, 1, 2, 0], "sample 12: the network's output is NaN or infinite"),
        (FINE.long(), [0, 1, 2, 0], "outputs are floating numbers, found torch.int64"),
        (FINE, [0, 3, -1, 0], "sample 11: label 3 is out of range: the network has 3 classes"),
        (FINE, [0, 2, -1, 0], "sample 12: label -1 is out of range: .* labels are 0 to 2$"),
        (FINE, [0.0, 1, 2, 0], "labels are whole numbers, found torch.float32"),
        (FINE, [0, 1, 2], r"found \(4, 3\) and \(3,\)"),
        (FINE[:, 0], [0, 1, 2, 0], r"found \(4,\) and \(4,\)"),
        (FINE[:, :1], [0, 0, 0, 0], "outputs are of two classes or more, found 1"),
        (FINE[:, :0], [0, 0, 0, 0], "outputs are of two classes or more, found 0"),
        (FINE[:, :, None, None], [0, 1, 2, 0], r"found \(4, 3, 1, 1\) and \(4,\)"),
    ],
)
def test_what_means_nothing_is_told_by_its_place_in_the_pass(
    found: torch.Tensor, labels: Any, told: str
) -> None:
    with pytest.raises(ticketkit.EvaluationError, match=told):
        ticketkit.check_predictions(found, torch.tensor(labels), first=10)


def test_a_label_in_a_picture_is_told_too_unless_it_is_ignored() -> None:
    found, labels = torch.zeros(2, 3, 4, 5), torch.zeros(2, 4, 5, dtype=torch.uint8)
    labels[1, 2, 3] = 255
    ticketkit.check_predictions(found, labels, ignored=255)
    with pytest.raises(ticketkit.EvaluationError, match="sample 1: label 255 is out of range"):
        ticketkit.check_predictions(found, labels)
    labels[1, 3, 4] = 21
    told = "sample 1: label 21 is out of range: .* labels are 0 to 2, or 255 to be ignored"
    with pytest.raises(ticketkit.EvaluationError, match=told):
        ticketkit.check_predictions(found, labels, ignored=255)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.bool])
@pytest.mark.parametrize("classes", [2, 3, 300])
def test_fewer_labels_than_classes_and_all_whole_dtypes_are_fine(
    dtype: torch.dtype, classes: int
) -> None:
    labels = torch.tensor([0, 1, 1, 0]).to(dtype)
    ticketkit.check_predictions(torch.zeros(4, classes, dtype=torch.bfloat16), labels)


@pytest.mark.parametrize(
    ("shape", "dimensions", "told"),
    [
        ((4,), 2, r"accuracy takes outputs \(batch, classes\), found \(4,\)$"),
        ((4, 3, 1), 2, r"accuracy takes outputs \(batch, classes\), found \(4, 3, 1\)$"),
        ((4, 3), 4, r"takes outputs \(batch, classes, height, width\), found \(4, 3\)$"),
    ],
)
def test_outputs_of_other_dimensions_are_told_with_who_takes_them(
    shape: tuple[int, ...], dimensions: int, told: str
) -> None:
    with pytest.raises(ticketkit.EvaluationError, match=told):
        ticketkit.check_dimensions(torch.zeros(shape), dimensions, "accuracy")
    ticketkit.check_dimensions(torch.zeros((4, 3, 1, 1)[:dimensions]), dimensions, "accuracy")
