"""The kinds of part that a plugin can offer: a method each, and a `name`.

A part holds no state. Its options, where it has any, are the fields of a frozen dataclass; help,
validation and provenance derive from them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ticketkit.budgets import Budget
    from ticketkit.choices import Parts
    from ticketkit.estimates import Accumulator, EvaluationContext, Figures
    from ticketkit.layer import Layer
    from ticketkit.mask import Mask
    from ticketkit.ticket import Ticket

    Dataset = torch.utils.data.Dataset[Any]
    Batches = Iterable[tuple[Any, Any]]
    Loss = Callable[[Any, Any], torch.Tensor]


PHOTOGRAPHS = MappingProxyType({"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)})
"""The normalisation that is usual for photographs: that of ImageNet's."""


class Part(ABC):
    """What all parts have: a name, by which spec strings and provenance know them."""

    name: ClassVar[str]


def brings(part: Part, method: str) -> bool:
    """Whether a part has an optional method of its kind, such as a criterion's `collect`."""
    kind = next(base for base in type(part).__mro__ if Part in base.__bases__)
    return getattr(type(part), method) is not getattr(kind, method)


class Scheme(Part):
    """Which weights live and die together?

    Most schemes are tilings: write a `BlockScheme`. Anything else selects by itself.
    """

    rescales: ClassVar[bool] = False
    """Whether `select` ranks what `budget.rescale`, if there is one, makes of a layer's scores. A
    scheme that does not meets no allocation that rescales."""

    @property
    def fixed_sparsity(self) -> float | None:
        """The one sparsity of a scheme that fixes it, the same in each layer; None for any other.

        Such a scheme needs no sparsity from its user, who may ask for no other one. It meets no
        allocation that would share otherwise: its budget is n - round(sparsity * n) of each layer.
        """
        return None

    def spares(self, shape: tuple[int, ...]) -> str | None:
        """Why a layer of this shape, (out, in/groups, *kernel), cannot be cut; None where it can.

        A draw spares such a layer and tells the reason: it is in no mask and in no count of
        prunable weights.
        """
        return None

    @abstractmethod
    def select(
        self, scores: Mapping[str, torch.Tensor], budget: Budget, within: Mask | None
    ) -> Mask:
        """Choose what to keep.

        `scores` maps each layer's name to its scores, shape (out, in/groups, *kernel); reading one
        computes it, so hold one at a time, or read it in pieces with `ticketkit.reader_of`.
        `budget.total` weights are kept at most, and `budget.shares[name]` of each layer where there
        are shares. Positions outside `within` were removed earlier and must stay removed.
        Return a mask over the same names and shapes.
        """


class BlockScheme(Scheme):
    """A scheme whose groups are the blocks of a regular tiling.

    >>> class Pair(BlockScheme):
    ...     name = "pair"
    ...     def block(self, shape):
    ...         return (2, *shape[1:])
    """

    rescales = True

    @abstractmethod
    def block(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The size of a block in a layer of this shape, (out, in/groups, *kernel).

        A linear layer's shape is (out, in). Blocks at the edges may come out smaller.
        """

    def select(
        self, scores: Mapping[str, torch.Tensor], budget: Budget, within: Mask | None
    ) -> Mask:
        """Keep the best blocks by mean score; see `ticketkit.selection`."""
        from ticketkit.selection import select_tiles

        return select_tiles(self.block, scores, budget, within)


@dataclass(frozen=True)
class Context:
    """What a criterion may know beside the weight. New fields may join these."""

    name: str
    """The parameter's name."""
    seed: int
    """The seed of the draw."""
    statistic: torch.Tensor | None = None
    """What `collect` found for this parameter, in the weight's shape; None for other criteria."""

    @property
    def generator(self) -> torch.Generator:
        """A new generator, seeded by the seed of the draw and the parameter's name."""
        import torch

        digest = hashlib.sha256(f"{self.seed}\0{self.name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class Criterion(Part):
    """How much does a weight matter? The higher its score, the later it is removed.

    >>> class Magnitude(Criterion):
    ...     name = "magnitude"
    ...     def score(self, weight, context):
    ...         return weight.abs()
    """

    elementwise: ClassVar[bool] = True
    """Whether a score depends on its weight alone. Such a criterion is called on flat pieces of a
    layer, and on samples; any other, and one that collects, gets whole layers, shape
    (out, in/groups, *kernel)."""

    @abstractmethod
    def score(self, weight: torch.Tensor, context: Context) -> torch.Tensor:
        """Finite floating scores of the weight's shape. The weight is float32 or float64, on the
        CPU, and is not to be changed."""

    def collect(
        self, model: torch.nn.Module, batches: Batches, loss: Loss
    ) -> Mapping[str, torch.Tensor]:
        """Optional: look at data, once a draw; `score` then finds it as `context.statistic`.

        `batches` yields (inputs, targets); `loss(outputs, targets)` is a scalar. Return a finite
        floating tensor of its own shape for each parameter, by name. The network is in eval mode,
        its parameters without gradients and none of them frozen; what it was before is restored
        afterwards. Its weights and statistics are not to be changed.
        """
        raise NotImplementedError


class Allocation(Part):
    """How is the budget shared between layers?

    >>> class Uniform(Allocation):
    ...     name = "uniform"
    ...     def budgets(self, layers, keep):
    ...         return {name: keep(layer.size) for name, layer in layers.items()}
    """

    @abstractmethod
    def budgets(
        self, layers: Mapping[str, Layer], keep: Callable[[int], int]
    ) -> Mapping[str, int] | None:
        """How many weights of each layer to keep; None for one ranking over all layers.

        `layers` tells each layer's `shape` and `size`; `keep(n)` is how many of n weights the
        asked sparsity keeps, rounded as torch.nn.utils.prune does.
        """

    def rescale(self, scores: torch.Tensor) -> torch.Tensor:
        """Optional: make one layer's scores comparable with those of other layers.

        `scores` holds a score for each block of the layer, in float64 and one dimension. Return as
        many finite ones in the same order: none may overtake another, and equals stay equal.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Round:
    """What one round of a strategy found."""

    mask: Mask
    sparsity: float | None = None
    """The sparsity that this round aimed at; None for the one asked for."""


@dataclass(frozen=True)
class FinishedRound:
    """A round that is over, as plugins are told of it. New fields may join these."""

    number: int
    """Counted from 1."""
    ticket: Ticket
    """The ticket of this round: its mask, and the provenance to draw it again."""


class Job(Protocol):
    """What a strategy works on: the network, and the parts that it is combined with."""

    @property
    def sparsity(self) -> float:
        """The sparsity asked for."""

    @property
    def layers(self) -> Mapping[str, Layer]:
        """The prunable layers by name."""

    @property
    def last(self) -> FinishedRound | None:
        """The last finished round; None before there is one. A draw that was killed and goes on has
        one from the start: begin with the round after it."""

    def select(self, sparsity: float, within: Mask | None = None) -> Mask:
        """Score the weights as they now are, allocate and select: the mask of this sparsity.

        What `within` removed stays removed; masks only shrink, so a sparsity below that of a
        finished round is refused then.
        """

    def block_scores(self) -> Mapping[str, torch.Tensor]:
        """How much each block matters, by the criterion: float64, in the shape of a layer's grid of
        blocks, or of its weights (out, in/groups, *kernel) where the scheme is no tiling."""

    def fit(self, mask: Mask | None = None, *, steps: int = 0, once: bool = False) -> None:
        """Train the network on, the mask held, under the job's schedule and robustifier.

        The optimizer is a fresh one. With `steps` the training ends after so many of its steps. A
        training is found again, as far as it was saved, by its place in its round. One that is done
        `once` belongs to no round: a draw that goes on in a later round finds it finished.
        """

    def learn(self, scores: Mapping[str, torch.Tensor]) -> Mask:
        """Train `scores`, which begin as these, and not the weights: the mask of the best.

        See `ticketkit.learned`. Shapes are those of `block_scores()`.
        """

    def state(self) -> Mapping[str, torch.Tensor]:
        """A copy of the network's weights and statistics as they now are."""

    def rewind(self, state: Mapping[str, torch.Tensor] | None = None) -> None:
        """Bring the network back to what `state` returned once, or to its pretrained weights."""

    def generator(self, name: str) -> torch.Generator:
        """A new generator, seeded by the seed of the draw and the layer's name."""


class Strategy(Part):
    """How is the mask found over time?

    >>> class Omp(Strategy):
    ...     name = "omp"
    ...     def rounds(self, job):
    ...         yield Round(job.select(job.sparsity))
    """

    trains: ClassVar[bool] = False
    """Whether it trains the network: it then needs data, and may be combined with a robustifier."""
    stage: ClassVar[str] = "round"
    """What it trains, by which a schedule's preset is chosen: the weights in a `"round"`, or the
    `"mask"`."""
    allocation: ClassVar[str] = "global"
    """The allocation where none is asked for."""

    def check(self, parts: Parts) -> None:
        """Optional: raise a `ticketkit.UsageError` for parts that have no meaning together with it.

        Called before any work is done. `parts` has the `scheme`, the `criterion` and the
        `allocation`.
        """

    @abstractmethod
    def rounds(self, job: Job) -> Iterator[Round]:
        """Yield each round as it is finished; the last one's mask is the ticket's.

        The core saves and reports a round, and with `job.last` a draw goes on after it.
        """


@dataclass(frozen=True)
class StepContext:
    """What a robustifier may know of the step that it perturbs. New fields may join these."""

    loss: Loss
    """`loss(outputs, targets)`, the mean over the batch: a scalar."""
    generator: torch.Generator
    """Seeded by (seed, step, process): draw every random number from it."""
    progress: float = 0.0
    """How much of the training is done, from 0 to 1."""
    strength: float = 1.0
    """The share of its full strength, above 0 and up to 1, that a perturbation has at this step:
    a schedule with a ramp lets it grow."""


class Robustifier(Part):
    """Under which perturbation is the network trained?

    >>> class Noise(Robustifier):
    ...     name = "noise"
    ...     def perturb(self, model, inputs, targets, context):
    ...         noise = torch.rand(inputs.shape, generator=context.generator)
    ...         return (inputs + 0.1 * noise).clamp(0, 1)
    """

    @abstractmethod
    def perturb(
        self, model: torch.nn.Module, inputs: torch.Tensor, targets: Any, context: StepContext
    ) -> torch.Tensor:
        """The inputs to train on, in the shape and dtype of `inputs`, which are not to be changed.

        `inputs` are pictures in [0, 1], shape (batch, channels, height, width); the network
        normalises them by itself. What is returned is finite, and hangs on no graph. The network's
        weights, gradients, statistics and modes are to be left as they are: `ticketkit.attack` does
        so.
        """

    def batches(
        self, model: torch.nn.Module, inputs: torch.Tensor, targets: Any, context: StepContext
    ) -> Iterator[torch.Tensor]:
        """Optional: make several steps of one batch. Yield the inputs of each.

        The optimizer steps on what was yielded before the next is asked for. If that is a leaf that
        requires gradients, its `grad` then holds the gradient of the loss.
        """
        yield self.perturb(model, inputs, targets, context)


class Evaluator(Part):
    """What is the ticket worth? Implement `start`, or `evaluate`, or both.

    >>> class Confidence(Evaluator):
    ...     name = "confidence"
    ...     def start(self):
    ...         return MeanOfHighest()
    """

    @property
    def other_tasks(self) -> tuple[str, ...]:
        """Optional: specs of the tasks whose test pictures it looks at too. A run of `evaluate` is
        not gone on with once they are others."""
        return ()

    def start(self) -> Accumulator:
        """Optional: a new accumulator, for what the outputs alone tell. Those of all evaluators
        share one pass over the data."""
        raise NotImplementedError

    def evaluate(
        self, model: torch.nn.Module, data: Dataset, context: EvaluationContext
    ) -> Figures:
        """Optional: numbers for which the network itself is needed, or other data.

        The network is in eval mode, without gradients (`ticketkit.attack` has its own), and is to
        be left as it is. `data` is a data set, or batches, as `ticketkit.batches_of` and
        `ticketkit.outputs_of` take both. Where there is a `start` too, the pass is over and
        `context.gathered` is its accumulator, whose `compute` nobody calls.
        """
        raise NotImplementedError


class Task(Part):
    """On which data?

    >>> class Halves(Task):
    ...     name = "halves"
    ...     classes = 2
    ...     def splits(self, root):
    ...         return {"train": bright_and_dark(1000), "test": bright_and_dark(200)}
    """

    classes: int
    """How many classes there are; targets are 0 to classes - 1. A class attribute or a property. A
    task whose classes only its data can tell has none: `classes_in` is what is asked."""
    segmentation: ClassVar[bool] = False
    """Whether each pixel has a class: targets are (height, width), and 255 is ignored."""
    metric: ClassVar[str] = "accuracy"
    """What tells how well a network does: an evaluator, for the first of its figures, or a figure
    of it: `"accuracy.per_class"`."""
    normalisation: ClassVar[Mapping[str, tuple[float, ...]]] = MappingProxyType({})
    """The `mean` and `std` of each channel of pictures in [0, 1], by which a network that is
    pretrained on this task normalises its inputs; empty for none."""

    @abstractmethod
    def splits(self, root: Path | None) -> Mapping[str, Dataset]:
        """The data sets `"train"` and `"test"`, the same on every call, and without a network.

        `root` is the folder in which data lies or is cached; None for the user's own cache folder.
        An item is a pair (picture, target): the picture a tensor (channels, height, width), uint8
        or floating in [0, 1]. `ticketkit.Pictures` is such a set, in memory, and
        `ticketkit.ImageFiles` one of picture files. A set may tell itself from others by a method
        `digest()`, which returns a text.
        """

    def classes_in(self, root: Path | None) -> int:
        """How many classes the data in `root` has: `classes`, unless only the data can tell. This
        is what ticketkit asks."""
        return self.classes

    def download(self, root: Path | None) -> None:
        """Optional: fetch the data into `root`, before `splits`. Called only where the user asks
        for it; there is nothing to do where the data is there already."""
        raise NotImplementedError


@dataclass(frozen=True)
class PriorChoice:
    """The checkpoint that a prior chose."""

    path: Path
    reason: str
    """Why this one, for people: `"eps 3 in l2, as asked"`."""
    eps: float | None = None
    """The strength of the perturbation that it was pretrained under, 0 for none; None where that is
    no number."""
    notes: tuple[str, ...] = ()
    """What a reader should know of the choice, a sentence each."""


class Prior(Part):
    """From which pretrained weights is the ticket drawn?

    >>> class Zoo(Prior):
    ...     name = "zoo"
    ...     def checkpoint(self, task, arch, mode):
    ...         return PriorChoice(Path("zoo") / f"{arch}.safetensors", "the only one there is")
    """

    @abstractmethod
    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> PriorChoice:
        """The checkpoint that serves best for a downstream task.

        `task` is a task's name, without options; `arch` a network's spec, as --arch takes it; both
        are None where they were not told. `mode` is how the ticket will be transferred, `finetune`
        or `linear`. A `UsageError` where these do not decide. The file is opened, its normalisation
        read, and a missing one refused, by ticketkit.
        """
