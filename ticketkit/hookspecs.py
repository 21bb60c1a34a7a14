"""The hooks that a plugin may implement. A plugin is a module, named in the entry-point group
`ticketkit` of the distribution that carries it:

    [project.entry-points.ticketkit]
    stripe = "ticketkit_stripe"

Most hooks here offer parts: they yield classes, each with a `name`. A plugin that raises, or yields
something else, is listed by `ticketkit plugins` with the reason, and the others go on. The last
hook reports what has happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from ticketkit.parts import (
        Allocation,
        Criterion,
        Evaluator,
        FinishedRound,
        Prior,
        Robustifier,
        Scheme,
        Strategy,
        Task,
    )

hookspec = pluggy.HookspecMarker("ticketkit")
hookimpl = pluggy.HookimplMarker("ticketkit")


@hookspec
def ticketkit_schemes() -> Iterable[type[Scheme]]:  # type: ignore[empty-body]
    """Yield the pruning schemes that this plugin offers.

    A whole plugin:

        from dataclasses import dataclass

        import ticketkit


        @dataclass(frozen=True)
        class Stripe(ticketkit.BlockScheme):
            \"\"\"Runs of `width` neighbouring output channels live or die together.\"\"\"

            name = "stripe"
            width: int = 2

            def block(self, shape):
                return (self.width, *shape[1:])


        @ticketkit.hookimpl
        def ticketkit_schemes():
            yield Stripe

    Each class becomes a scheme of its `name`: `--scheme stripe:width=4`. An error while a draw
    asks for blocks ends that draw and names this plugin. A scheme that is no tiling implements
    `select`; one may fix its `sparsity`, and say which layers it `spares`: see `ticketkit.Scheme`.
    """


@hookspec
def ticketkit_criteria() -> Iterable[type[Criterion]]:  # type: ignore[empty-body]
    """Yield the criteria that this plugin offers.

    A whole plugin:

        import ticketkit


        class Square(ticketkit.Criterion):
            \"\"\"The square of the weight.\"\"\"

            name = "square"

            def score(self, weight, context):
                return weight.square()


        @ticketkit.hookimpl
        def ticketkit_criteria():
            yield Square

    Each class becomes a criterion of its `name`: `--criterion square`. Scores of the wrong shape or
    dtype, or not finite, and a changed weight, end the draw and name this plugin. A criterion that
    needs data implements `collect` too, and finds in `context.statistic` what that returned.
    """


@hookspec
def ticketkit_allocations() -> Iterable[type[Allocation]]:  # type: ignore[empty-body]
    """Yield the allocations that this plugin offers.

    A whole plugin:

        import ticketkit


        class SpareSmall(ticketkit.Allocation):
            \"\"\"Small layers whole; the same sparsity in each other one.\"\"\"

            name = "spare-small"

            def budgets(self, layers, keep):
                sizes = {name: layer.size for name, layer in layers.items()}
                return {n: size if size < 1000 else keep(size) for n, size in sizes.items()}


        @ticketkit.hookimpl
        def ticketkit_allocations():
            yield SpareSmall

    Each class becomes an allocation of its `name`: `--allocation spare-small`. Budgets that leave
    out a layer, or exceed one, end the draw and name this plugin. An allocation that returns None,
    for one ranking over all layers, may `rescale` each layer's scores before they are ranked.
    """


@hookspec
def ticketkit_strategies() -> Iterable[type[Strategy]]:  # type: ignore[empty-body]
    """Yield the strategies that this plugin offers.

    A whole plugin:

        import ticketkit


        class Halfway(ticketkit.Strategy):
            \"\"\"Half of the sparsity first, then all of it.\"\"\"

            name = "halfway"

            def rounds(self, job):
                yield ticketkit.Round(job.select(job.sparsity / 2))
                yield ticketkit.Round(job.select(job.sparsity))


        @ticketkit.hookimpl
        def ticketkit_strategies():
            yield Halfway

    Each class becomes a strategy of its `name`: `--strategy halfway`. The last round's mask is the
    ticket's; an error in any round ends the draw and names this plugin. One that trains says so by
    `trains = True`, and finds `fit`, `rewind` and `learn` on its job: see `ticketkit.Job`.
    """


@hookspec
def ticketkit_robustifiers() -> Iterable[type[Robustifier]]:  # type: ignore[empty-body]
    """Yield the robustifiers that this plugin offers.

    A whole plugin:

        from dataclasses import dataclass

        import ticketkit


        @dataclass(frozen=True)
        class Darken(ticketkit.Robustifier):
            \"\"\"Train on pictures that are darker by up to `most`, a fraction.\"\"\"

            name = "darken"
            most: float = 0.5

            def perturb(self, model, inputs, targets, context):
                import torch

                shares = torch.rand(len(inputs), generator=context.generator).to(inputs)
                return inputs * (1 - self.most * context.strength * shares[:, None, None, None])


        @ticketkit.hookimpl
        def ticketkit_robustifiers():
            yield Darken

    Each class becomes a robustifier of its `name`: `--robustifier darken:most=0.3`. Inputs of
    another shape or dtype, or not finite, end the training and name this plugin. A robustifier that
    makes several steps of one batch implements `batches` too.
    """


@hookspec
def ticketkit_evaluators() -> Iterable[type[Evaluator]]:  # type: ignore[empty-body]
    """Yield the evaluators that this plugin offers.

    A whole plugin:

        import ticketkit


        class Confidence(ticketkit.Evaluator):
            \"\"\"The mean of the highest probability.\"\"\"

            name = "confidence"

            def start(self):
                return _Sum()


        class _Sum:
            total, n = 0.0, 0

            def update(self, outputs, targets):
                ticketkit.check_predictions(outputs, targets, first=self.n)
                self.total += outputs.cpu().double().softmax(1).amax(1).sum().item()
                self.n += len(outputs)

            def compute(self):
                return {"confidence": ticketkit.Estimate(self.total / self.n, self.n)}


        @ticketkit.hookimpl
        def ticketkit_evaluators():
            yield Confidence

    Each class becomes an evaluator of its `name`: `-e confidence`. All that `start` share one
    forward pass, so none may change what it is given; outputs are finite. An evaluator that needs
    the network implements `evaluate` instead, or too. An error ends the run and names this plugin.
    `ticketkit.check_predictions` refuses labels that are no class of the network.
    """


@hookspec
def ticketkit_tasks() -> Iterable[type[Task]]:  # type: ignore[empty-body]
    """Yield the tasks that this plugin offers.

    A whole plugin:

        import ticketkit


        class Brightness(ticketkit.Task):
            \"\"\"Is the picture bright?\"\"\"

            name = "brightness"
            classes = 2

            def splits(self, root):
                import torch

                images = torch.randint(256, (200, 1, 8, 8), generator=torch.Generator())
                images = images.to(torch.uint8)
                targets = (images.float().mean((1, 2, 3)) > 127.5).long()
                return {
                    "train": ticketkit.Pictures(images[:150], targets[:150]),
                    "test": ticketkit.Pictures(images[150:], targets[150:]),
                }


        @ticketkit.hookimpl
        def ticketkit_tasks():
            yield Brightness

    Each class becomes a task of its `name`: `--task brightness`. Data of other shapes or classes
    than the task says end the run and name this plugin.
    """


@hookspec
def ticketkit_priors() -> Iterable[type[Prior]]:  # type: ignore[empty-body]
    """Yield the priors that this plugin offers.

    A whole plugin:

        from dataclasses import dataclass
        from pathlib import Path

        import ticketkit


        @dataclass(frozen=True)
        class Shelf(ticketkit.Prior):
            \"\"\"Files named by architecture, in the folder `path`.\"\"\"

            name = "shelf"
            path: str = "models"

            def checkpoint(self, task, arch, mode):
                if arch is None:
                    raise ticketkit.UsageError("shelf finds a file by its --arch: give one")
                return ticketkit.PriorChoice(Path(self.path) / f"{arch}.pt", f"it is of {arch}")


        @ticketkit.hookimpl
        def ticketkit_priors():
            yield Shelf

    Each class becomes a prior of its `name`: `--prior shelf:path=models`. It only chooses: a file
    that is not there is refused with the names of those that are, and opened as any other.
    """


@hookspec
def ticketkit_round_finished(finished: FinishedRound) -> None:
    """Hear of each round of a draw, once it is over and saved.

    A whole plugin:

        import ticketkit


        @ticketkit.hookimpl
        def ticketkit_round_finished(finished):
            mask = finished.ticket.mask
            print(f"round {finished.number}: {mask.kept:,} of {mask.size:,} weights are kept")

    Strategies that are done in one round finish one. Of many processes the leading one reports; a
    draw that is resumed reports no round again. What is printed goes to standard error, what is
    returned is ignored, and an error becomes a warning that names this plugin.
    """
