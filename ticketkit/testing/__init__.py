"""What each kind of part promises, as tests: subclass, set `part`, and run pytest.

    from ticketkit.testing import SchemeLaws
    from ticketkit_stripe import Stripe


    class TestStripe(SchemeLaws):
        part = Stripe(width=2)

Each law is a test method whose docstring says what is promised. First-party parts pass the same
laws. A part of which a law is not true, for a reason, overrides that method and says why. What else
a class may set fits the laws to a part, such as an evaluator of segmentation, one of whose figures
is a time:

    class TestOutlines(EvaluatorLaws):
        part = Outlines()
        segmentation = True
        varies = ("latency",)
"""

from __future__ import annotations

from ticketkit.testing.allocations import AllocationLaws
from ticketkit.testing.criteria import CriterionLaws
from ticketkit.testing.evaluators import EvaluatorLaws
from ticketkit.testing.priors import PriorLaws
from ticketkit.testing.robustifiers import RobustifierLaws
from ticketkit.testing.schemes import SchemeLaws
from ticketkit.testing.tasks import TaskLaws

__all__ = [
    "AllocationLaws",
    "CriterionLaws",
    "EvaluatorLaws",
    "PriorLaws",
    "RobustifierLaws",
    "SchemeLaws",
    "TaskLaws",
]
