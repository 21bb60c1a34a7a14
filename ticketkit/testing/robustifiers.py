"""What every robustifier promises."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import nn

import ticketkit
from ticketkit.testing import cases
from ticketkit.testing.laws import PartLaws, promise


class RobustifierLaws(PartLaws):
    """The laws of a robustifier, tried on networks in training."""

    kind = "robustifier"
    part: ClassVar[ticketkit.Robustifier]

    def test_pictures_come_back_in_their_shape_and_dtype_and_finite(self) -> None:
        """One finite picture for each, as large as it was and in its dtype."""
        for dtype in (torch.float32, torch.float64):
            inputs, targets = cases.pictures()
            inputs = inputs.to(dtype)
            found = self.part.perturb(cases.runnable().to(dtype), inputs, targets, _context())
            _promise_like(found, inputs)

    def test_it_works_on_segmentation_targets(self) -> None:
        """A class for each pixel serves too; 255 is none, and a picture may have nothing else."""
        inputs, targets = cases.maps()
        _promise_like(self.part.perturb(cases.segmenting(), inputs, targets, _context()), inputs)

    def test_the_pictures_are_left_alone(self) -> None:
        """`perturb` changes no bit of the inputs and targets that it is given."""
        inputs, targets = cases.pictures()
        self.part.perturb(cases.runnable(), inputs, targets, _context())
        same = map(torch.equal, (inputs, targets), cases.pictures())
        promise(all(same), "perturb changed the inputs or targets that it was given")

    def test_the_network_is_left_alone(self) -> None:
        """Weights, gradients, what is frozen, statistics and modes are as they were, to the bit."""
        model, (inputs, targets) = cases.in_training(cases.runnable()), cases.pictures()
        before = cases.snapshot(model)
        self.part.perturb(model, inputs, targets, _context())
        _promise_unchanged("perturb", before, model)

    def test_what_comes_back_hangs_on_no_graph(self) -> None:
        """Training would go back through the making of a perturbation otherwise."""
        inputs, targets = cases.pictures()
        found = self.part.perturb(cases.runnable(), inputs, targets, _context())
        promise(found.is_leaf, "perturb returned a tensor with a graph: detach it")

    def test_the_same_seed_gives_the_same_bits(self) -> None:
        """The same step perturbs the same way, so that a training can be resumed."""
        once, again = (list(self._steps()) for _ in range(2))
        same = len(once) == len(again) and all(map(torch.equal, once, again))
        promise(same, "two calls with one seed gave different pictures")

    def test_it_draws_lots_from_its_context_alone(self) -> None:
        """Global generators are neither read nor advanced: `context.generator` is there for it."""
        inputs, targets = cases.pictures()
        found = []
        with torch.random.fork_rng(devices=[]):
            for seed in (1, 2):
                torch.manual_seed(seed)
                state, other = torch.random.get_rng_state(), random.getstate()
                found.append(self.part.perturb(cases.runnable(), inputs, targets, _context()))
                promise(
                    torch.equal(torch.random.get_rng_state(), state) and random.getstate() == other,
                    "perturb took numbers from a global generator: use context.generator",
                )
        promise(
            torch.equal(*found),
            "pictures depend on the global seed of torch: use context.generator",
        )

    def test_a_lower_strength_perturbs_no_more(self) -> None:
        """A ramp lets a perturbation grow, or leaves it as it is."""
        inputs, targets = cases.pictures()
        low, full = (
            (self.part.perturb(cases.runnable(), inputs, targets, _context(share)) - inputs).norm()
            for share in (0.1, 1.0)
        )
        promise(
            bool(low <= 1.001 * full),
            f"at a strength of 0.1 pictures move by {low:.3g}, at full strength by {full:.3g}",
        )

    def test_batches_makes_one_step_or_more_of_a_batch(self) -> None:
        """Each step's inputs are as `perturb` returns them; the network is left to its training."""
        model, (inputs, targets) = cases.in_training(cases.runnable()), cases.pictures()
        steps = iter(self.part.batches(model, inputs, targets, _context()))
        count = 0
        while True:
            before = cases.snapshot(model)
            found = next(steps, None)
            _promise_unchanged("batches", before, model)
            if found is None:
                break
            count += 1
            _promise_like(found, inputs)
            promise(found.is_leaf, "batches yielded a tensor with a graph: detach it")
            _train(model, found, targets)
        promise(count > 0, "batches yielded nothing: each batch is trained on once at least")

    def _steps(self) -> Iterator[torch.Tensor]:
        """What the network is trained on with one batch."""
        model, (inputs, targets) = cases.in_training(cases.runnable()), cases.pictures()
        for found in self.part.batches(model, inputs, targets, _context()):
            yield found.detach().clone()
            _train(model, found, targets)


def _loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs, targets, ignore_index=ticketkit.IGNORED)


def _context(strength: float = 1.0) -> ticketkit.StepContext:
    generator = torch.Generator().manual_seed(0)
    return ticketkit.StepContext(_loss, generator, progress=0.5, strength=strength)


def _train(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> None:
    """One training step, the optimizer's part of it."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    optimizer.zero_grad()
    _loss(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _promise_like(found: Any, inputs: torch.Tensor) -> None:
    kind = type(found).__name__
    promise(isinstance(found, torch.Tensor), f"pictures are a tensor, found a {kind}")
    promise(
        found.shape == inputs.shape,
        f"pictures keep their shape, {tuple(inputs.shape)}: found {tuple(found.shape)}",
    )
    promise(
        found.dtype == inputs.dtype,
        f"pictures keep their dtype, {inputs.dtype}: found {found.dtype}",
    )
    bad = int((~torch.isfinite(found)).sum())
    promise(not bad, f"pictures are finite, found {bad} pixels that are NaN or infinite")


def _promise_unchanged(what: str, before: dict[str, object], model: nn.Module) -> None:
    after = cases.snapshot(model)
    changed = [name for name in before if before[name] != after[name]]
    promise(not changed, f"{what} changed {', '.join(changed)}")
