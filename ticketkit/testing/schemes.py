"""What every scheme promises."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

import ticketkit
from ticketkit.testing import cases
from ticketkit.testing.laws import DrawnLaws, promise


class SchemeLaws(DrawnLaws):
    """The laws of a scheme; those about blocks hold where it is a `BlockScheme`.

    A scheme that fixes its sparsity is tried at that one alone, and no layer that it spares counts.
    """

    kind = "scheme"
    part: ClassVar[ticketkit.Scheme]
    sparsities: ClassVar[tuple[float, ...]] = (0.25, 0.5, 0.7, 0.9)
    """What the laws ask for: in rising order, between 0 and 1."""

    def test_a_sparsity_of_its_own_is_a_fraction_and_met_in_each_layer(self) -> None:
        """`sparsity` is None, or a number in [0, 1), of which each layer loses just that much."""
        fixed = self.part.fixed_sparsity
        if fixed is None:
            return
        promise(
            isinstance(fixed, int | float) and 0 <= fixed < 1,
            f"sparsity is None or a number in [0, 1), found {fixed!r}",
        )
        mask = self.draw(cases.mixed(), fixed).mask
        for name, shape in mask.shapes.items():
            size, kept = math.prod(shape), int(mask[name].sum())
            budget = size - round(fixed * size)
            promise(kept == budget, f"{name} keeps {kept} of {size}, where {budget} are due")

    def test_it_spares_a_layer_for_a_reason_or_cuts_it(self) -> None:
        """`spares` tells a reason or None; a draw covers just the layers where it is None."""
        network = cases.mixed()
        layers = cases.layers_of(network)
        told = {name: self.part.spares(layer.shape) for name, layer in layers.items()}
        for name, reason in told.items():
            promise(
                reason is None or (isinstance(reason, str) and bool(reason)),
                f"spares tells why {name} is spared, or None: found {reason!r}",
            )
        mask = self.draw(network, 0.5).mask
        promise(
            set(mask) == {name for name, reason in told.items() if reason is None},
            f"of the reasons {told} those that are None belong to other layers than {set(mask)}",
        )

    def test_it_keeps_no_more_than_the_budget(self) -> None:
        """n - round(sparsity * n) weights at most, on every kind of layer."""
        for where, _, ticket in self._draws():
            size, sparsity = ticket.mask.size, ticket.provenance.sparsity
            budget = size - round(sparsity * size)
            kept = ticket.mask.kept
            promise(kept <= budget, f"{where}: a budget of {budget} of {size}, but {kept} are kept")

    def test_it_uses_the_budget_up(self) -> None:
        """A tiling keeps blocks until the next one does not fit."""
        for where, network, ticket in self._draws():
            if (largest := self._largest_block(network)) is None:
                return
            size, sparsity = ticket.mask.size, ticket.provenance.sparsity
            left = size - round(sparsity * size) - ticket.mask.kept
            promise(
                left < largest,
                f"{where}: {left} weights of the budget are left, but no block has more than "
                f"{largest}: the longest prefix of the ranking that fits is kept",
            )

    def test_a_block_lives_or_dies_as_a_whole(self) -> None:
        """Each block of the tiling, smaller ones at the edges too, is kept or removed entirely."""
        for where, network, ticket in self._draws():
            for name, layer in self._cut(network).items():
                keep = layer.present(ticket.mask[name])
                for block in self._blocks(layer.shape):
                    promise(
                        bool(keep[block].all()) or not bool(keep[block].any()),
                        f"{where}: block {block} of {name}, presented as {layer.shape}, is partly "
                        "kept: the weights of a block live and die together",
                    )

    def test_every_layer_keeps_something(self) -> None:
        """No layer dies unless empty layers are allowed."""
        for where, _, ticket in self._draws():
            for name in ticket.mask:
                kept = bool(ticket.mask[name].any())
                promise(kept, f"{where}: {name} keeps nothing, but empty layers were not allowed")

    def test_empty_layers_are_left_to_the_ranking_where_they_are_allowed(self) -> None:
        """With `allow_empty_layers` the budget holds, up to where the first block fills it."""
        network = cases.mixed()
        for sparsity in self._asked(0.99):
            ticket = self.draw(network, sparsity, allow_empty_layers=True)
            mask, asked = ticket.mask, ticket.provenance.sparsity
            budget = mask.size - round(asked * mask.size)
            promise(mask.kept <= budget, f"{mask.kept} are kept of a budget of {budget}")

    def test_a_higher_sparsity_keeps_a_part_of_what_a_lower_one_keeps(self) -> None:
        """Masks of the same weights are nested in sparsity."""
        asked = self._asked()
        for name, network in self._networks():
            masks = [self.draw(network, sparsity).mask for sparsity in asked]
            for (more, less), sparsity in zip(itertools.pairwise(masks), asked[1:], strict=True):
                promise(
                    more & less == less,
                    f"{name}: sparsity {sparsity} keeps weights that a lower one removed",
                )

    def test_sparsity_0_keeps_everything(self) -> None:
        """Sparsity 0 is a valid ticket of ones, unless the scheme has a sparsity of its own."""
        for name, network in self._networks() if self.part.fixed_sparsity is None else ():
            mask = self.draw(network, 0.0).mask
            removed = mask.size - mask.kept
            promise(removed == 0, f"{name}: sparsity 0 removed {removed} weights")

    def test_the_same_weights_give_the_same_mask(self) -> None:
        """Whatever their layout in memory and the order of the layers, and every time."""
        for name, network in self._networks():
            guises = {
                "a second draw": network,
                "layers in another order": cases.reordered(network),
                "channels last in memory": cases.channels_last(network),
                "weights that are not contiguous": cases.strided(network),
            }
            mask = self.draw(network, 0.5).mask
            for guise, other in guises.items():
                promise(self.draw(other, 0.5).mask == mask, f"{name}: another mask came of {guise}")

    def test_the_dtype_does_not_matter(self) -> None:
        """Weights in 16 or 64 bits, or complex, are cut like the same values in float32."""
        for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.complex64):
            network = cases.converted(cases.mixed(), dtype)
            mask = self.draw(network, 0.5).mask
            same = cases.magnitudes(network)
            promise(self.draw(same, 0.5).mask == mask, f"{dtype} weights gave another mask")

    def test_shares_bind_each_layer(self) -> None:
        """Where an allocation gives shares, no layer keeps more than its own."""
        scores = self._scores()
        part = 0.5 if self.part.fixed_sparsity is None else self.part.fixed_sparsity
        sizes = {name: values.numel() for name, values in scores.items()}
        shares = {name: size - round(part * size) or 1 for name, size in sizes.items()}
        budget = ticketkit.Budget(sum(shares.values()), shares, allow_empty_layers=True)
        mask = self.part.select(scores, budget, None)
        for name, share in shares.items():
            kept = int(mask[name].sum())
            promise(kept <= share, f"{name} keeps {kept}, but its share is {share}")

    def test_what_was_removed_stays_removed(self) -> None:
        """Positions outside `within` are in no ranking; scores may be negative."""
        scores = self._scores()
        generator = torch.Generator().manual_seed(0)
        within = ticketkit.Mask(
            {n: torch.rand(s.shape, generator=generator) < 0.7 for n, s in scores.items()}
        )
        total = within.kept // 2
        if self.part.fixed_sparsity is not None:
            total = within.size - round(self.part.fixed_sparsity * within.size)
        budget = ticketkit.Budget(total, allow_empty_layers=True)
        mask = self.part.select(scores, budget, within)
        promise(mask & within == mask, "a weight that an earlier round removed has come back")
        promise(mask.kept <= budget.total, f"{mask.kept} are kept of a budget of {budget.total}")

    def test_the_network_is_left_alone(self) -> None:
        """A draw changes no bit of the network, and takes no number from torch's generator."""
        for name, network in self._networks():
            for parameter in network.parameters():
                parameter.grad = torch.ones_like(parameter)
            before = cases.snapshot(network)
            self.draw(network, 0.5)
            after = cases.snapshot(network)
            changed = [what for what in before if before[what] != after[what]]
            promise(not changed, f"{name}: a draw changed {', '.join(changed)}")

    def test_a_ticket_comes_back_from_its_file(self, tmp_path: Path) -> None:
        """Saving and loading gives the same mask, and the same draw gives the same bytes."""
        path, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
        for name, network in self._networks():
            ticket = self.draw(network, 0.5)
            ticket.save(path)
            self.draw(network, 0.5).save(again)
            same = path.read_bytes() == again.read_bytes()
            promise(same, f"{name}: two draws of the same ticket gave files of different bytes")
            loaded = ticketkit.load_ticket(path)
            promise(loaded == ticket, f"{name}: another ticket came back from its file")

    def _draws(self) -> Iterator[tuple[str, nn.Module, ticketkit.Ticket]]:
        for (name, network), sparsity in itertools.product(self._networks(), self._asked()):
            ticket = self.draw(network, sparsity)
            yield f"{name} at sparsity {ticket.provenance.sparsity}", network, ticket

    def _asked(self, *more: float) -> tuple[float, ...]:
        """The sparsities that can be asked for."""
        fixed = self.part.fixed_sparsity
        return (*self.sparsities, *more) if fixed is None else (fixed,)

    def _networks(self) -> list[tuple[str, nn.ModuleDict]]:
        """The networks of which the scheme does not spare every layer."""
        return [(name, n) for name, n in cases.networks().items() if self._cut(n)]

    def _cut(self, network: nn.Module) -> dict[str, ticketkit.Layer]:
        """The layers that the scheme does not spare."""
        layers = cases.layers_of(network)
        return {n: layer for n, layer in layers.items() if self.part.spares(layer.shape) is None}

    def _scores(self) -> dict[str, torch.Tensor]:
        """Scores of every kind of layer that the scheme does not spare."""
        network = cases.mixed()
        return {n: s for n, s in cases.scores_of(network).items() if n in self._cut(network)}

    def _blocks(self, shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
        if isinstance(self.part, ticketkit.BlockScheme):
            sides = zip(self.part.block(shape), shape, strict=True)
            yield from itertools.product(
                *([slice(at, at + b) for at in range(0, side, b)] for b, side in sides)
            )

    def _largest_block(self, network: nn.Module) -> int | None:
        if not isinstance(self.part, ticketkit.BlockScheme):
            return None
        shapes = [layer.shape for layer in self._cut(network).values()]
        return max(math.prod(map(min, self.part.block(shape), shape)) for shape in shapes)
