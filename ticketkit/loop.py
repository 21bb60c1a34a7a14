"""The loop that trains: a mask held, inputs perturbed, stopped and resumed to the same bits."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ticketkit import progress
from ticketkit.augmenting import in_one_size
from ticketkit.batchnorm import frozen_statistics, recalibrate
from ticketkit.blame import blamed
from ticketkit.distributed import meet, world
from ticketkit.errors import Stopped, TrainingError, printable
from ticketkit.feeding import Batch, Feed, LoaderFeed
from ticketkit.mishaps import check_inputs, check_loss, told
from ticketkit.modes import same_generators, training
from ticketkit.optimizers import optimizer_of
from ticketkit.parts import Robustifier, StepContext
from ticketkit.replicating import replicated
from ticketkit.saver import Position, Saver
from ticketkit.schedules import Schedule
from ticketkit.seeds import seed_of
from ticketkit.sharing import agree, gathered, share_tensors
from ticketkit.sources import digest_of_tensors
from ticketkit.stacking import pixels
from ticketkit.stopping import Requested, steps

if TYPE_CHECKING:
    from ticketkit.mask import Mask
    from ticketkit.parts import Loss
    from ticketkit.progress import Advance

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Fitted:
    """What a training came to."""

    steps: int
    """Batches trained on; of a resumed run, the earlier ones too."""
    loss: float | None
    """The mean loss of the last whole epoch; None where there was none."""


class Loop:
    """One training of one network. Of many processes, the leading one saves and reports."""

    def __init__(
        self,
        model: nn.Module,
        feed: Feed | LoaderFeed,
        schedule: Schedule,
        *,
        loss: Loss,
        robustifier: Robustifier | None,
        seed: int,
        saver: Saver,
        report: Report | None,
    ) -> None:
        self._model = model
        self._network = model  # with what makes it one of many
        self._feed = feed
        self._schedule = schedule
        self._loss = loss
        self._robustifier = robustifier
        self._seed = seed
        self._saver = saver
        self._report = report
        self._world = world()
        self._optimizer = optimizer_of(model, schedule)
        self._total = schedule.total(feed.batches)
        self._stop = self._total
        first = next(model.parameters())
        self._device = first.device
        self._format = _memory_format(model)

    def run(self, mask: Mask | None, data: Any, first: int = 0) -> Fitted:
        """Train, from where the saver has it; to the end, or for the `first` steps alone."""
        self._stop = min(first or self._total, self._total)
        with contextlib.ExitStack() as stack:
            stack.enter_context(same_generators(self._model.parameters()))
            if mask is not None:
                stack.enter_context(mask.hold(self._model, self._optimizer))
            position = self._saver.restore(self._model, self._optimizer)
            if self._schedule.batchnorm == "recalibrate" and not position.step:
                recalibrate(self._model, in_one_size(data, self._schedule))
            stack.enter_context(training(self._model))
            if self._schedule.batchnorm != "train":
                stack.enter_context(frozen_statistics(self._model))
            if self._world.size > 1:
                self._network = stack.enter_context(replicated(self._model))
                stack.callback(setattr, self, "_network", self._model)
            self._tell("fit", step=position.step, steps=self._stop, batches=self._feed.batches)
            requested = stack.enter_context(steps())
            advance = stack.enter_context(progress.stage("training", self._stop, "batches"))
            advance(position.step)
            while position.step < self._stop:
                position = self._epoch(position, requested, advance)
            self._optimizer.zero_grad()
        return Fitted(position.step, position.mean)

    def _epoch(self, position: Position, requested: Requested, advance: Advance) -> Position:
        """What is left of an epoch, or of the training."""
        left = self._stop - position.step
        batches = self._feed.epoch(position.epoch, position.batch)
        for batch in itertools.islice(batches, left):
            ours = self._batch(batch, position) * batch.weight
            losses, asked = zip(*gathered((ours, requested() or 0), self._device), strict=True)
            position = position.after(sum(losses) / len(losses), self._feed.batches)
            advance(1)
            finished = position.step == self._stop
            if finished or not position.batch:
                self._end_epoch(position)
            status = int(max(asked))
            if finished or status or self._saver.due(position):
                self._save(position)
            if status:
                meet()  # it may be saved by another process, which has to finish that
                place = f"after step {position.step:,} of {self._stop:,}"
                raise Stopped(f"stopped {place}; {self._saver.where}", status)
        return position

    def _batch(self, batch: Batch, position: Position) -> float:
        """The step, or the steps, of one batch; its loss."""
        if self._robustifier is not None:  # it looks at the network in eval mode: at one for all
            share_tensors(dict(self._model.named_buffers()))
        rate = self._schedule.rate(position.step, self._feed.batches)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        seed = seed_of(self._seed, "step", position.step, self._world.rank)
        torch.manual_seed(seed)
        done = position.step / self._total
        context = StepContext(
            self._loss,
            torch.Generator().manual_seed(seed_of(seed, "perturb")),
            done,
            self._schedule.strength(done),
        )
        inputs = self._placed(pixels(batch.inputs))
        targets = self._placed(batch.targets)
        losses = [
            self._step(perturbed, targets, batch.weight, position, rate)
            for perturbed in self._perturbed(inputs, targets, context)
        ]
        return sum(losses) / len(losses)

    def _perturbed(
        self, inputs: torch.Tensor, targets: Any, context: StepContext
    ) -> Iterator[torch.Tensor]:
        """The inputs of each step: what the robustifier makes of the batch, or the batch itself."""
        if self._robustifier is None:
            yield inputs
            return
        with blamed(self._robustifier):
            made = iter(self._robustifier.batches(self._model, inputs, targets, context))
        for count in itertools.count():
            with blamed(self._robustifier), self._autocast():
                found = next(made, None)
                if found is None and not count:
                    raise ValueError("it made no step of a batch")
                if found is not None:
                    check_inputs(found, inputs)
            if found is None:
                return
            yield found

    def _step(
        self, inputs: Any, targets: Any, weight: float, position: Position, rate: float
    ) -> float:
        self._optimizer.zero_grad()
        with told(position), self._autocast():
            loss = self._loss(self._network(inputs), targets)
        check_loss(loss, position, rate, self._saver.last)
        with told(position):
            (loss * weight).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach())

    def _end_epoch(self, position: Position) -> None:
        if self._world.size > 1:
            # Running statistics are of each process's own share of the last batch.
            share_tensors(dict(self._model.named_buffers()))
            agree("the weights", digest_of_tensors(dict(self._model.named_parameters())))
        self._tell(
            "epoch",
            epoch=-(-position.step // self._feed.batches),
            epochs=-(-self._total // self._feed.batches),
            step=position.step,
            loss=position.mean,
            rate=self._schedule.rate(position.step - 1, self._feed.batches),
        )

    def _save(self, position: Position) -> None:
        """Save, unless the data cannot be begun here: then the last end of an epoch is saved."""
        if self._feed.seeks or not position.batch or position.step == self._stop:
            self._check_weights(position)
            self._saver.save(self._model, self._optimizer, position)

    def _check_weights(self, position: Position) -> None:
        """Refuse to save what a gradient that was not finite has spoilt."""
        for name, weight in self._model.named_parameters():
            if not torch.isfinite(weight).all():
                raise TrainingError(
                    f"{printable(name)} is not finite after step {position.step:,} of "
                    f"{self._total:,}: a lower learning rate may do; {self._saver.last}"
                )

    def _tell(self, event: str, **fields: Any) -> None:
        if self._world.leads:
            fields |= self._saver.about
            self._saver.tell(event, **fields)
            if self._report is not None:
                self._report({"event": event, **fields})

    def _placed(self, values: Any) -> Any:
        """On the network's device, and in its memory format."""
        if not isinstance(values, torch.Tensor):
            return values
        if values.dim() == 4:
            return values.to(self._device, memory_format=self._format)
        return values.to(self._device)

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        bf16 = self._schedule.precision == "bf16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=bf16)


def _memory_format(model: nn.Module) -> torch.memory_format:
    """Channels last where the network's weights are."""
    for weight in model.parameters():
        if weight.dim() == 4 and not weight.is_contiguous():
            return torch.channels_last
    return torch.preserve_format
