"""Parts that each break one promise, for the tests of the conformance kit."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

import ticketkit

Keep = Callable[[int], int]
Layers = Mapping[str, ticketkit.Layer]
Scores = Mapping[str, torch.Tensor]
Shape = tuple[int, ...]
Within = ticketkit.Mask | None


class Pairs(ticketkit.BlockScheme):
    """Pairs of output channels."""

    name = "pairs"

    def block(self, shape: Shape) -> Shape:
        return (2, *shape[1:])


class IgnoresTheBudget(Pairs):
    """Keeps everything."""

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        return ticketkit.Mask({name: values == values for name, values in scores.items()})


class WastesTheBudget(Pairs):
    """Keeps half of what it could."""

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        half = dataclasses.replace(budget, total=budget.total // 2, allow_empty_layers=True)
        return super().select(scores, half, within)


class CutsBlocks(Pairs):
    """Promises pairs of channels, and removes one weight of each."""

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        keeps = dict(super().select(scores, budget, within))
        for keep in keeps.values():
            keep.view(-1)[0] = False
        return ticketkit.Mask(keeps)


class EmptiesLayers(Pairs):
    """Takes empty layers to be allowed."""

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        free = dataclasses.replace(budget, allow_empty_layers=True)
        return super().select(scores, free, within)


class ForgetsWhatWasRemoved(Pairs):
    """Ranks the positions that an earlier round removed as well."""

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        return super().select(scores, budget, None)


class IgnoresShares(Pairs):
    """Makes one ranking, whatever the allocation says."""

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        return super().select(scores, dataclasses.replace(budget, shares=None), within)


class DrawsLots(Pairs):
    """Ranks noise."""

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        noise = {name: torch.rand(values.shape) for name, values in scores.items()}
        return super().select(noise, budget, within)


class Rotates(Pairs):
    """Ranks by scores that depend on the budget: masks are not nested."""

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        turned = {name: values.roll(budget.total) for name, values in scores.items()}
        return super().select(turned, budget, within)


class AlwaysRemoves(Pairs):
    """Removes something at sparsity 0 too."""

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        less = dataclasses.replace(budget, total=max(1, budget.total - 20), allow_empty_layers=True)
        return super().select(scores, less, within)


class Coarse(Pairs):
    """Ranks by rounded scores where they are float32."""

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        rounded = {
            name: values.mul(4).round() if values.dtype == torch.float32 else values
            for name, values in scores.items()
        }
        return super().select(rounded, budget, within)


class Half(ticketkit.Scheme):
    """Half of each layer, every second weight."""

    name = "half"

    @property
    def fixed_sparsity(self) -> float | None:
        return 0.5

    def spares(self, shape: Shape) -> str | None:
        return "an odd number of weights" if math.prod(shape) % 2 else None

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        return self._every(2, scores)

    def _every(self, step: int, scores: Scores) -> ticketkit.Mask:
        places = {n: torch.arange(s.numel()).reshape(s.shape) for n, s in scores.items()}
        return ticketkit.Mask({name: place % step == 0 for name, place in places.items()})


class MissesItsSparsity(Half):
    """Keeps a quarter."""

    def select(self, scores: Scores, budget: ticketkit.Budget, within: Within) -> ticketkit.Mask:
        return self._every(4, scores)


class FixesAPercentage(Half):
    """Takes sparsity for a percentage."""

    @property
    def fixed_sparsity(self) -> float | None:
        return 50


class SparesForNoReason(Half):
    """Answers yes or no."""

    def spares(self, shape: Shape) -> Any:
        return math.prod(shape) % 2 == 1


class SparesBySize(Half):
    """Spares no shape twice."""

    seen: ClassVar[list[Shape]] = []

    def spares(self, shape: Shape) -> str | None:
        self.seen.append(shape)
        return "it was asked before" if len(self.seen) % 3 == 0 else super().spares(shape)


class Criterion(ticketkit.Criterion):
    """The absolute value."""

    name = "absolute"

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return weight.abs()


class ReturnsNan(Criterion):
    """The logarithm: NaN where weights are negative."""

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return weight.log()


class ReturnsOneNumber(Criterion):
    """The sum."""

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return weight.sum()


class ReturnsIntegers(Criterion):
    """Ranks."""

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return weight.abs().argsort()


class ChangesTheWeight(Criterion):
    """Works in place."""

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return weight.abs_()


class Lots(Criterion):
    """Noise from the global generator."""

    elementwise = False

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return torch.rand(weight.shape, dtype=weight.dtype)


class SeedsGlobally(Lots):
    """Noise from the global generator, seeded first."""

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        torch.manual_seed(context.seed)
        return super().score(weight, context)


class LotsInMemoryOrder(Lots):
    """Noise from the right generator, in whatever strides the weight has."""

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return torch.empty_like(weight).uniform_(generator=context.generator)


class Normalised(Criterion):
    """The share of the layer's norm, though it says that it is elementwise."""

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return weight.abs() / (1 + weight.square().sum())


class Positional(Criterion):
    """The earlier the better, though it says that it is elementwise."""

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return -torch.arange(weight.numel(), dtype=weight.dtype).reshape(weight.shape)


class Gradient(Criterion):
    """The magnitude of the gradient."""

    elementwise = False

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        assert context.statistic is not None
        return context.statistic.abs()

    def collect(self, model: torch.nn.Module, batches: Any, loss: Any) -> dict[str, Any]:
        found = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
        for inputs, targets in batches:
            value = loss(model(inputs), targets)
            gradients = torch.autograd.grad(value, list(model.parameters()))
            for total, gradient in zip(found.values(), gradients, strict=True):
                total += gradient
        return found


class CollectsNothing(Gradient):
    """Collects in vain."""

    def collect(self, model: torch.nn.Module, batches: Any, loss: Any) -> dict[str, Any]:
        return {}


class CollectsNumbers(Gradient):
    """A number for each parameter."""

    def collect(self, model: torch.nn.Module, batches: Any, loss: Any) -> dict[str, Any]:
        return {n: g.sum() for n, g in super().collect(model, batches, loss).items()}


class CollectsNan(Gradient):
    """The logarithm of the gradient."""

    def collect(self, model: torch.nn.Module, batches: Any, loss: Any) -> dict[str, Any]:
        return {n: g.log() for n, g in super().collect(model, batches, loss).items()}


class Trains(Gradient):
    """Takes a step."""

    def collect(self, model: torch.nn.Module, batches: Any, loss: Any) -> dict[str, Any]:
        found = super().collect(model, batches, loss)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.sub_(found[name])
        return found


class Backward(Gradient):
    """Leaves gradients behind."""

    def collect(self, model: torch.nn.Module, batches: Any, loss: Any) -> dict[str, Any]:
        for inputs, targets in batches:
            loss(model(inputs), targets).backward()
        return {name: p.grad for name, p in model.named_parameters()}


class CollectsLots(Gradient):
    """Adds noise."""

    def collect(self, model: torch.nn.Module, batches: Any, loss: Any) -> dict[str, Any]:
        found = super().collect(model, batches, loss)
        return {n: g + g.new_tensor(random.random()) for n, g in found.items()}


class Counts(Criterion):
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0


@dataclasses.dataclass
class Changeable(Criterion):
    """Has an option that can be changed."""

    power: int = 1


class Undocumented(Criterion):
    name = "Not A Name"


class Uniform(ticketkit.Allocation):
    """The same sparsity in each layer."""

    name = "same"

    def budgets(self, layers: Layers, keep: Keep) -> dict[str, Any]:
        return {name: keep(layer.size) for name, layer in layers.items()}


class ForgetsALayer(Uniform):
    """Leaves the last layer out."""

    def budgets(self, layers: Layers, keep: Keep) -> dict[str, Any]:
        return dict(list(super().budgets(layers, keep).items())[:-1])


class ReturnsFractions(Uniform):
    """Floating numbers of weights."""

    def budgets(self, layers: Layers, keep: Keep) -> dict[str, Any]:
        return {name: float(share) for name, share in super().budgets(layers, keep).items()}


class ExceedsALayer(Uniform):
    """One more than there are."""

    def budgets(self, layers: Layers, keep: Keep) -> dict[str, Any]:
        return {name: share + 1 for name, share in super().budgets(layers, keep).items()}


class SparesTheFirst(Uniform):
    """The first layer whole, first in whatever order they come."""

    def budgets(self, layers: Layers, keep: Keep) -> dict[str, Any]:
        first = next(iter(layers))
        return super().budgets(layers, keep) | {first: layers[first].size}


class Moody(Uniform):
    """A little noise."""

    def budgets(self, layers: Layers, keep: Keep) -> dict[str, Any]:
        shares = super().budgets(layers, keep)
        return {name: random.randint(0, share) for name, share in shares.items()}


class NeverAll(Uniform):
    """Half of each layer at most."""

    def budgets(self, layers: Layers, keep: Keep) -> dict[str, Any]:
        return {name: share // 2 for name, share in super().budgets(layers, keep).items()}


class Rises(Uniform):
    """Keeps what should go."""

    def budgets(self, layers: Layers, keep: Keep) -> dict[str, Any]:
        return {name: layer.size - keep(layer.size) for name, layer in layers.items()}


class TakesLayersOut(Uniform):
    """Changes the mapping that it is given."""

    def budgets(self, layers: Layers, keep: Keep) -> dict[str, Any]:
        shares = super().budgets(layers, keep)
        dict.clear(layers)  # type: ignore[arg-type]
        return shares


class Doubles(Uniform):
    """One ranking of doubled scores."""

    def budgets(self, layers: Layers, keep: Keep) -> Any:
        return None

    def rescale(self, scores: torch.Tensor) -> torch.Tensor:
        return 2 * scores


class RescalesToLogarithms(Doubles):
    """Logarithms, which zeros have none of."""

    def rescale(self, scores: torch.Tensor) -> torch.Tensor:
        return scores.log()


class RescalesToOne(Doubles):
    """The best."""

    def rescale(self, scores: torch.Tensor) -> torch.Tensor:
        return scores[-1:]


class RescalesToIntegers(Doubles):
    """Steps."""

    def rescale(self, scores: torch.Tensor) -> torch.Tensor:
        return scores.long()


class RescalesUpsideDown(Doubles):
    """The lower the better."""

    def rescale(self, scores: torch.Tensor) -> torch.Tensor:
        return -scores


class RescalesToRanks(Doubles):
    """Places in the order, which makes equal scores unequal."""

    def rescale(self, scores: torch.Tensor) -> torch.Tensor:
        return scores.argsort(stable=True).argsort().to(scores.dtype)


class Task(ticketkit.Task):
    """Is the picture bright?"""

    name = "bright"
    classes = 2
    normalisation: ClassVar[Mapping[str, tuple[float, ...]]] = {"mean": (0.5,), "std": (0.3,)}

    def splits(self, root: Path | None) -> Mapping[str, Any]:
        return {"train": self.made(30, 0), "test": self.made(20, 1)}

    def made(self, count: int, seed: int) -> Any:
        targets = torch.arange(count) % 2
        noise = torch.randint(100, (count, 1, 4, 5), generator=torch.Generator().manual_seed(seed))
        images = noise + 100 * targets[:, None, None, None]
        return ticketkit.Pictures(images.to(torch.uint8), targets)


class Scenes(Task):
    """Which pixels are bright?"""

    name = "bright-pixels"
    segmentation = True

    def made(self, count: int, seed: int) -> Any:
        images = super().made(count, seed).images
        targets = (images[:, 0] > 100).byte()
        targets[:, 0] = 255
        return ticketkit.Pictures(images, targets)


class Items(list[Any]):
    """A data set of any items."""


class Floating(Task):
    """Is the picture bright, in [0, 1]?"""

    name = "floating"

    def made(self, count: int, seed: int) -> Any:
        return Items((image / 255, int(target)) for image, target in super().made(count, seed))


class OneClass(Task):
    """Is it a picture?"""

    classes = 1


class NoTest(Task):
    """Tests nothing."""

    def splits(self, root: Path | None) -> Mapping[str, Any]:
        return {"train": self.made(30, 0)}


class EmptyTest(Task):
    """Tests on no pictures."""

    def splits(self, root: Path | None) -> Mapping[str, Any]:
        return {"train": self.made(30, 0), "test": self.made(0, 1)}


class ListOfSplits(Task):
    """Has no names for its splits."""

    def splits(self, root: Path | None) -> Any:
        return [self.made(30, 0), self.made(20, 1)]


class PicturesAlone(Task):
    """Has no targets."""

    def made(self, count: int, seed: int) -> Any:
        return Items(image for image, _ in super().made(count, seed))


class NoChannels(Task):
    """Pictures of (height, width)."""

    def made(self, count: int, seed: int) -> Any:
        return Items((image[0], target) for image, target in super().made(count, seed))


class Normalised255(Task):
    """Floating pictures up to 255."""

    def made(self, count: int, seed: int) -> Any:
        return Items((image.float(), target) for image, target in super().made(count, seed))


class FloatingTargets(Task):
    """Targets are how bright it is."""

    def made(self, count: int, seed: int) -> Any:
        return Items((image, target.float()) for image, target in super().made(count, seed))


class OneTargetAScene(Scenes):
    """Says that each pixel has a class, and has one for the picture."""

    def made(self, count: int, seed: int) -> Any:
        return Task.made(self, count, seed)


class CountsFromOne(Task):
    """Targets are 1 and 2."""

    def made(self, count: int, seed: int) -> Any:
        made = super().made(count, seed)
        return ticketkit.Pictures(made.images, made.targets + 1)


class TestsWhatItNeverTrains(Task):
    """Trains on the bright ones alone."""

    def splits(self, root: Path | None) -> Mapping[str, Any]:
        return {"train": self.made(30, 0).subset(range(1, 30, 2)), "test": self.made(20, 1)}


class Shuffles(Task):
    """Another order each time."""

    def made(self, count: int, seed: int) -> Any:
        return super().made(count, seed).subset(random.sample(range(count), count))


class ShufflesGlobally(Task):
    """Takes the order from torch's generator."""

    def made(self, count: int, seed: int) -> Any:
        return super().made(count, seed).subset(torch.randperm(count).tolist())


class SeedsBefore(Task):
    """Depends on torch's seed, which it does not advance."""

    def made(self, count: int, seed: int) -> Any:
        return super().made(count, seed + torch.initial_seed() % 1000)


class ThreeMeans(Task):
    """Is normalised as pictures in colour are."""

    normalisation: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "mean": (0.5, 0.5, 0.5),
        "std": (0.3, 0.3, 0.3),
    }


class NoDeviation(Task):
    """Divides by zero."""

    normalisation: ClassVar[Mapping[str, tuple[float, ...]]] = {"mean": (0.5,), "std": (0.0,)}


class MeanAlone(Task):
    """Subtracts the mean."""

    normalisation: ClassVar[Mapping[str, tuple[float, ...]]] = {"mean": (0.5,)}


class Noise(ticketkit.Robustifier):
    """A little noise."""

    name = "noise"

    def perturb(
        self, model: torch.nn.Module, inputs: torch.Tensor, targets: Any, context: Any
    ) -> Any:
        noise = torch.rand(inputs.shape, generator=context.generator, dtype=inputs.dtype)
        return inputs + 0.1 * noise


class Crops(Noise):
    """Returns less of each picture."""

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        return super().perturb(model, inputs, targets, context)[..., 1:]


class Single(Noise):
    """Returns float32, whatever it was given."""

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        return super().perturb(model, inputs, targets, context).float()


class Divides(Noise):
    """Divides by zero where a pixel does not move."""

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        return inputs / (inputs - inputs)


class WorksInPlace(Noise):
    """Adds the noise to what it was given."""

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        return inputs.copy_(super().perturb(model, inputs, targets, context))


class Ascends(Noise):
    """A step along the gradient, by backward."""

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        place = inputs.detach().requires_grad_()
        context.loss(model(place), targets).backward()
        return (place + 0.01 * place.grad.sign()).detach()


class Evaluates(Noise):
    """Leaves the network in eval mode."""

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        model.eval()
        return super().perturb(model, inputs, targets, context)


class MovesStatistics(Noise):
    """Looks at what the network, in training, makes of the pictures."""

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        with torch.no_grad():
            model(inputs)
        return super().perturb(model, inputs, targets, context)


class KeepsItsGraph(Noise):
    """Returns a tensor that knows how it was made."""

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        return super().perturb(model, inputs.detach().requires_grad_(), targets, context)


class OtherNoise(Noise):
    """Noise from Python's generator."""

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        return inputs + random.random()


class SeedsTorch(Noise):
    """Seeds torch's generator by what the context's draws."""

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        torch.manual_seed(int(torch.randint(9, (1,), generator=context.generator)))
        return inputs + torch.rand_like(inputs)


class Shrinks(Noise):
    """Perturbs most at the start of a ramp."""

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        return inputs + 0.01 / context.strength


class YieldsNothing(Noise):
    """Makes no step."""

    def batches(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        yield from ()


class TrainsByItself(Noise):
    """Takes the optimizer's step as well."""

    def batches(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        yield self.perturb(model, inputs, targets, context)
        with torch.no_grad():
            model["linear"].weight.sub_(model["linear"].weight.grad)


class Shelf(ticketkit.Prior):
    """Files named by architecture."""

    name = "shelf"

    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> Any:
        return ticketkit.PriorChoice(Path(f"{arch}.pt"), "there is no other", 0.5, ("It is.",))


class ReturnsAPath(Shelf):
    """Returns the path alone."""

    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> Any:
        return Path(f"{arch}.pt")


class NamesAFile(Shelf):
    """Returns text where a path is due."""

    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> Any:
        return ticketkit.PriorChoice(f"{arch}.pt", "why not")  # type: ignore[arg-type]


class GivesNoReason(Shelf):
    """Does not say why."""

    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> Any:
        return ticketkit.PriorChoice(Path("m.pt"), " ")


class OfNoStrength(Shelf):
    """An eps that is none."""

    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> Any:
        return ticketkit.PriorChoice(Path("m.pt"), "why not", -1)


class ChangesItsMind(Shelf):
    """Another file each time."""

    count = itertools.count()

    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> Any:
        return ticketkit.PriorChoice(Path(f"{next(self.count)}.pt"), "its turn")


class KnowsOneTask(Shelf):
    """Looks a task up that is not there."""

    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> Any:
        return ticketkit.PriorChoice({"cifar10": Path("m.pt")}[task], "why not")  # type: ignore[index]


class Margin(ticketkit.Evaluator):
    """The mean difference between the two highest outputs."""

    name = "margin"

    def start(self) -> Any:
        return Margins()


class Margins:
    """The differences so far."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        ticketkit.check_predictions(outputs, targets, first=len(self.found))
        first, second = outputs.double().topk(2, 1).values.unbind(1)
        self.found += (first - second).tolist()

    def compute(self) -> Any:
        n = len(self.found)
        return {"margin": ticketkit.Estimate(sum(self.found) / n, n)}


class Alters(Margin):
    """Makes another figure of that of `Margin`: some subclass says which."""

    def start(self) -> Any:
        part = self

        class Altered(Margins):
            def compute(self) -> Any:
                (figure,) = super().compute().values()
                return {"margin": part.altered(figure, self.found)}

        return Altered()

    def altered(self, figure: ticketkit.Estimate, found: list[float]) -> Any:
        return figure


class AddsLots(Alters):
    """Adds noise."""

    def altered(self, figure: ticketkit.Estimate, found: list[float]) -> Any:
        return dataclasses.replace(figure, value=figure.value + random.random())


class Clock(Alters):
    """The time, which is another one each time."""

    def altered(self, figure: ticketkit.Estimate, found: list[float]) -> Any:
        return dataclasses.replace(figure, value=time.perf_counter(), unit="s")


class LastAlone(Alters):
    """The margin of the last sample."""

    def altered(self, figure: ticketkit.Estimate, found: list[float]) -> Any:
        return dataclasses.replace(figure, value=found[-1])


class Deviates(Alters):
    """The sum of squares by one less than the samples, of which there may be but one."""

    def altered(self, figure: ticketkit.Estimate, found: list[float]) -> Any:
        squares = sum((each - figure.value) ** 2 for each in found)
        return dataclasses.replace(figure, value=squares / (len(found) - 1))


class NamesSamples(Margin):
    """A figure of each sample, by its margin."""

    def start(self) -> Any:
        class Named(Margins):
            def compute(self) -> Any:
                names = (f"{each:.9f}" for each in self.found)
                return {name: ticketkit.Estimate(0.0, 1) for name in names}

        return Named()


class ByBatch(ticketkit.Evaluator):
    """The mean over batches of their means."""

    name = "by-batch"

    def evaluate(self, model: Any, data: Any, context: Any) -> Any:
        pairs = list(ticketkit.outputs_of(model, data, context.batch))
        means = [outputs.amax(1).mean().item() for outputs, _ in pairs]
        n = sum(len(outputs) for outputs, _ in pairs)
        return {"margin": ticketkit.Estimate(sum(means) / len(means), n)}


class Looks(ticketkit.Evaluator):
    """Is right where the highest output is that of the label, whatever both are."""

    name = "looks"

    def evaluate(self, model: Any, data: Any, context: Any) -> Any:
        pairs = list(ticketkit.outputs_of(model, data, context.batch))
        right = sum(int((outputs.argmax(-1) == targets).sum()) for outputs, targets in pairs)
        n = sum(map(len, (targets for _, targets in pairs)))
        return {"right": ticketkit.Estimate(right / n, n)}


class Forgives(Looks):
    """Takes nothing for a figure of 0."""

    def evaluate(self, model: Any, data: Any, context: Any) -> Any:
        try:
            return super().evaluate(model, data, context)
        except ticketkit.EvaluationError:
            return {"right": ticketkit.Estimate(0.0, 1)}


class Prunes(Looks):
    """Halves a weight where no counter of versions sees it."""

    def evaluate(self, model: Any, data: Any, context: Any) -> Any:
        next(model.parameters()).data.mul_(0.5)
        return super().evaluate(model, data, context)


class SeedsNumPy(Looks):
    """Begins where NumPy begins."""

    def evaluate(self, model: Any, data: Any, context: Any) -> Any:
        np.random.seed(context.seed)
        return super().evaluate(model, data, context)


class Blackens(Looks):
    """Takes the light out of the pictures that it was given."""

    def evaluate(self, model: Any, data: Any, context: Any) -> Any:
        for inputs, _ in data if isinstance(data, list) else ():
            inputs.zero_()
        return super().evaluate(model, data, context)


class ByHand(Looks):
    """Asks for one picture after the other, as a data set has them."""

    def evaluate(self, model: Any, data: Any, context: Any) -> Any:
        answers = [model(data[at][0][None]).argmax() == data[at][1] for at in range(len(data))]
        return {"right": ticketkit.Estimate(sum(map(float, answers)) / len(data), len(data))}
