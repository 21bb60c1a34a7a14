"""What every evaluator promises, and what this one measures."""

import torch
from ticketkit_margin import Margin

import ticketkit
from ticketkit.testing import EvaluatorLaws


class TestMargin(EvaluatorLaws):
    part = Margin()


def test_it_is_the_lead_of_the_true_class() -> None:
    outputs = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.2, 0.5]]).log()
    data = [(outputs, torch.tensor([0, 1]))]
    (figures,) = ticketkit.evaluate(torch.nn.Identity(), data, [Margin()]).values()
    # One leads by 0.5, the other is 0.3 behind.
    assert abs(figures["margin"].value - 0.1) < 1e-7
    assert figures["margin"].n == 2
