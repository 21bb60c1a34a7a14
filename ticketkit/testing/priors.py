"""What every prior promises."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import ticketkit
from ticketkit.testing.laws import PartLaws, promise

Question = tuple[str | None, str | None, str]
_MODES = ("finetune", "linear")


class PriorLaws(PartLaws):
    """The laws of a prior. `asked` is a (task, architecture, mode) that it has a checkpoint for.

    No file needs to be there: a prior chooses one, and opens none.
    """

    kind = "prior"
    part: ClassVar[ticketkit.Prior]
    asked: ClassVar[Question] = ("cifar10", "resnet18", "linear")

    def test_it_chooses_a_path_and_says_why(self) -> None:
        """`checkpoint` returns a `PriorChoice`: a path, a reason in words, an eps of 0 or more."""
        choice: Any = self.part.checkpoint(*self.asked)
        kind = type(choice).__name__
        promise(isinstance(choice, ticketkit.PriorChoice), f"it returns a PriorChoice, not {kind}")
        promise(isinstance(choice.path, Path), f"path is a pathlib.Path, found {choice.path!r}")
        texts = (choice.reason, *choice.notes)
        promise(
            all(isinstance(text, str) and text.strip() for text in texts),
            f"the reason and each note are words, found {texts!r}",
        )
        promise(
            choice.eps is None or 0 <= choice.eps < math.inf,
            f"eps is None or a finite number of 0 or more, found {choice.eps!r}",
        )

    def test_the_same_question_gets_the_same_answer(self) -> None:
        """A recipe that is run again begins from the same file, for the same reason."""
        once, again = (self.part.checkpoint(*self.asked) for _ in range(2))
        promise(once == again, f"asked twice, it chose {once} and {again}")

    def test_it_answers_or_says_what_it_lacks(self) -> None:
        """Whatever is asked, it chooses, or raises an error of ticketkit's: a `UsageError`."""
        task, arch, _ = self.asked
        for mode in _MODES:
            for question in ((task, arch), (None, arch), (task, None), ("no-task", "no-network")):
                try:
                    self.part.checkpoint(*question, mode)
                except ticketkit.TicketkitError:
                    continue
                except Exception as error:
                    what = f"{type(error).__name__}: {error}"
                    raise AssertionError(
                        f"asked for {question} in mode {mode}, it raised {what}: raise a "
                        "ticketkit.UsageError that says what it lacks"
                    ) from error
