"""From a checkpoint on disk to a pruned one and its ticket: the work behind the command line."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ticketkit.checkpoint import Checkpoint, open_checkpoint
from ticketkit.describe import notes_on, ticket_document
from ticketkit.drawing import Parts, check_sparsity, draw
from ticketkit.errors import UsageError, printable, some
from ticketkit.files import check_input, reserve
from ticketkit.parts import BlockScheme
from ticketkit.prunable import Survey, natural, survey
from ticketkit.ticket import Ticket, load_ticket
from ticketkit.tiling import Tiling

SPEED = "zeros alone speed nothing up: a pruned file has the size and the speed of the dense one"


@dataclass(frozen=True)
class Request:
    """What `ticketkit prune` was asked for."""

    input: Path
    output: Path | None
    """Where the pruned checkpoint goes; None for none."""
    ticket: Path
    sparsity: float
    scheme: str = "unstructured"
    criterion: str = "magnitude"
    allocation: str = "global"
    strategy: str = "omp"
    seed: int = 0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_empty_layers: bool = False
    checkpoint_key: str | None = None
    force: bool = False
    outputs: tuple[Path, ...] = field(init=False)

    def __post_init__(self) -> None:
        outputs = (self.ticket,) if self.output is None else (self.output, self.ticket)
        object.__setattr__(self, "outputs", outputs)


def prune(request: Request) -> dict[str, Any]:
    """Draw a ticket from a file, write what was asked for, and return what was done."""
    check_sparsity(request.sparsity)
    check_outputs(request.input, request.outputs, force=request.force)
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(reserve(path)) for path in request.outputs]
        checkpoint = open_checkpoint(request.input, request.checkpoint_key)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ticket = draw(checkpoint, **_draw_options(request))
        spared = survey(checkpoint.tensors(), request.include, request.exclude).spared
        zeros = _zeros_before(checkpoint, ticket)
        left = checkpoint.write(places[0], ticket.mask_for(checkpoint)) if request.output else []
        ticket.write(places[-1])
    notes = (
        [str(w.message) for w in caught] + zeros + notes_on(ticket) + _conversion(left) + [SPEED]
    )
    return {
        "schema": "ticketkit.prune/1",
        "input": _described(checkpoint),
        "output": request.output and str(request.output),
        "ticket": str(request.ticket),
        **ticket_document(ticket),
        "spared": [{"name": name, "reason": reason} for name, reason in spared.items()],
        "notes": notes,
    }


def plan(request: Request) -> dict[str, Any]:
    """What `prune` would do, from names and shapes alone; reads no weights and writes nothing."""
    check_sparsity(request.sparsity)
    check_outputs(request.input, request.outputs, force=request.force)
    chosen = Parts.resolve(request.scheme, request.criterion, request.allocation, request.strategy)
    checkpoint = open_checkpoint(request.input, request.checkpoint_key)
    found = survey(checkpoint.tensors(), request.include, request.exclude)
    prunable = found.counts.prunable
    blocks = _blocks(chosen, found)
    mask_bytes = sum(-(-count // 8) for count in blocks.values())
    size = check_input(request.input)
    return {
        "schema": "ticketkit.plan/1",
        "input": _described(checkpoint),
        "output": request.output and str(request.output),
        "ticket": str(request.ticket),
        "parts": chosen.specs(),
        "sparsity": {"requested": request.sparsity},
        "counts": {**vars(found.counts), "kept": prunable - round(request.sparsity * prunable)},
        "layers": [
            {"name": n, "shape": list(x.shape), "weights": x.size, "blocks": blocks[n]}
            for n, x in sorted(found.layers.items(), key=lambda item: natural(item[0]))
        ],
        "spared": [{"name": name, "reason": why} for name, why in found.spared.items()],
        "bytes": {
            "checkpoint": size if request.output else 0,
            "ticket": mask_bytes + 200 * len(blocks),
            "peak_memory": size + prunable // 8 + 2**25,
        },
    }


def apply(
    ticket_path: Path,
    input_path: Path,
    output_path: Path,
    *,
    checkpoint_key: str | None = None,
    verify: bool = True,
    force: bool = False,
) -> dict[str, Any]:
    """Write a checkpoint with a ticket's removed weights zero.

    Refuses weights that the ticket was not drawn from, unless `verify` is false.
    """
    check_outputs(input_path, (output_path,), force=force)
    if output_path.resolve() == ticket_path.resolve():
        raise UsageError(f"the output {printable(str(output_path))} is the ticket")
    with reserve(output_path) as place:
        ticket = load_ticket(ticket_path, verify)
        checkpoint = open_checkpoint(input_path, checkpoint_key)
        mask = ticket.mask_for(checkpoint)
        mask.check_fits(checkpoint.shapes)
        if verify and ticket.provenance.source is not None:
            ticket.check_source(checkpoint.digest())
        left = checkpoint.write(place, mask)
    return {
        "schema": "ticketkit.apply/1",
        "input": _described(checkpoint),
        "ticket": str(ticket_path),
        "output": str(output_path),
        "sparsity": {"reached": ticket.reached()},
        "counts": {"kept": ticket.mask.kept, "removed": ticket.removed},
        "notes": [*_conversion(left), SPEED],
    }


def check_outputs(source: Path, outputs: tuple[Path, ...], *, force: bool) -> None:
    """Refuse outputs that would replace the input, one another, or (without `force`) anything."""
    resolved = [path.resolve() for path in outputs]
    if source.resolve() in resolved:
        raise UsageError(f"the output would replace its input {printable(str(source))}")
    if len(set(resolved)) < len(resolved):
        raise UsageError(f"two outputs are one file: {printable(str(outputs[0]))}")
    there = [str(path) for path in outputs if path.exists() or path.is_symlink()]
    if there and not force:
        raise UsageError(f"already there: {some(there)}; --force replaces it")
    if any(path.is_dir() for path in outputs):
        raise UsageError(f"a folder, where a file is to be written: {some(there)}")
    check_input(source)
    if source.suffix == ".safetensors" and outputs[0].suffix != ".safetensors":
        raise UsageError("a safetensors file stays one: give the output the suffix .safetensors")


def _draw_options(request: Request) -> dict[str, Any]:
    names = ("scheme", "sparsity", "criterion", "allocation", "strategy", "seed")
    others = ("include", "exclude", "allow_empty_layers")
    return {name: getattr(request, name) for name in (*names, *others)}


def _described(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "path": str(checkpoint.path),
        "form": checkpoint.description,
        "tensors": len(checkpoint),
    }


def _blocks(chosen: Parts, found: Survey) -> dict[str, int]:
    scheme = chosen.scheme
    if not isinstance(scheme, BlockScheme):
        return {name: layer.size for name, layer in found.layers.items()}
    return {
        name: Tiling.of(name, layer.shape, scheme.block(layer.shape)).count
        for name, layer in found.layers.items()
    }


def _zeros_before(checkpoint: Checkpoint, ticket: Ticket) -> list[str]:
    """A note on weights that were zero already."""
    zeros = {name: int((checkpoint[name] == 0).sum()) for name in ticket.mask}
    whole = [name for name, count in zeros.items() if count == ticket.mask.packed(name).size]
    if not (total := sum(zeros.values())):
        return []
    note = f"{total:,} of the prunable weights were zero already"
    return [note + (f"; all of {some(whole)}" if whole else "")]


def _conversion(left: list[str]) -> list[str]:
    return [f"left behind in the conversion to safetensors: {some(left, 20)}"] if left else []
