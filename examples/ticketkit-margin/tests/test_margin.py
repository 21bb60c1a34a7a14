"""What every evaluator promises, and what this one does."""

import pytest
import torch
from ticketkit_margin import Margin

import ticketkit
from ticketkit.testing import EvaluatorLaws


class TestMargin(EvaluatorLaws):
    part = Margin()


def test_it_is_the_mean_distance_of_the_two_highest_probabilities() -> None:
    shares = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    batch = shares.log(), torch.tensor([0, 1])
    (found,) = ticketkit.evaluate(torch.nn.Identity(), [batch], [Margin()]).values()
    assert found["margin"].value == pytest.approx((0.2 + 0.7) / 2)
