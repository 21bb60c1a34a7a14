"""Weights and masks of a checkpoint in a live network, by name; nothing is left out in silence.

A segmenter takes those of its backbone's classifier under `backbone.`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from ticketkit.checkpoint import Checkpoint
from ticketkit.errors import MismatchError, WeightsError, near, printable, some
from ticketkit.heads import has_head, heads_of
from ticketkit.loading import is_plain
from ticketkit.mask import Mask, unwrap
from ticketkit.masking import count_revived
from ticketkit.prunable import find_head
from ticketkit.ticket import Ticket
from ticketkit.torchfile import raw_of

_BACKBONE = "backbone."
# What torchvision's backbones of segmenters are called in its classifiers, where that differs.
_FEATURES = "features."
_CLASSIFIER = f"{_BACKBONE}classifier.*"
# A head that training alone looks at: files have it, and networks are built without.
_AUXILIARY = "aux_classifier."
# A counter that files of torch before 0.4.1 do not have.
_COUNTER = "num_batches_tracked"

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Loaded:
    """What came of loading a checkpoint into a network."""

    matched: int
    """How many of the network's tensors were loaded."""
    fresh: tuple[str, ...] = ()
    """The network's tensors that are as they were before."""
    unused: tuple[str, ...] = ()
    """The checkpoint's tensors that went nowhere."""

    def notes(self) -> list[str]:
        """A sentence each on what was not loaded, for people to read."""
        total = self.matched + len(self.fresh)
        told = {
            f"{self.matched} of the network's {total} tensors were loaded; new are": self.fresh,
            "in the checkpoint and not loaded": self.unused,
        }
        return [f"{words}: {some(names)}" for words, names in told.items() if names]


def load_into(
    model: nn.Module,
    checkpoint: Checkpoint,
    *,
    skip_head: bool = False,
    allow_missing: Iterable[str] = (),
) -> Loaded:
    """Load a checkpoint's weights into a network, whose dtypes and devices stay.

    With `skip_head` the task head keeps the network's own weights. Names that a glob of
    `allow_missing` matches may be missing on either side. Raises a `MismatchError` that lists what
    else does not fit (names, shapes, a head of another size) before anything has changed.
    """
    inner = unwrap(model)
    own = {n: t for n, t in inner.state_dict().items() if torch.is_tensor(t)}
    places = placed(checkpoint, own)
    here, there = _heads(inner, own, checkpoint, places) if skip_head else ((), ())
    globs = (f"{_AUXILIARY}*", f"*{_COUNTER}", *allow_missing)
    found = {
        place: name
        for name, place in places.items()
        if place in own and not place.startswith(here) and not name.startswith(there)
    }
    lacking = [n for n in own if n not in found and not n.startswith(here)]
    unused = [name for name, place in places.items() if place not in found]
    astray = [n for n in unused if not n.startswith(there) and not places[n].startswith(here)]
    _check_names(checkpoint, own, len(found), _but(lacking, globs), _but(astray, globs))
    _check_tensors(inner, own, checkpoint, found)
    loaded = {place: checkpoint[name] for place, name in found.items()}
    inner.load_state_dict(loaded, strict=False)  # what is missing was told or allowed above
    return Loaded(len(found), tuple(n for n in own if n not in found), tuple(unused))


def revived_in(model: nn.Module, mask: Mask) -> int:
    """How many weights of a network that a mask removes are not zero."""
    tensors = mask.tensors_of(model)
    return sum(count_revived(raw_of(t), mask.packed(name)) for name, t in tensors.items())


def mask_of(ticket: Ticket, model: nn.Module) -> Mask:
    """A ticket's mask on a network, moved under `backbone.` for a segmenter of what it is of.

    Layers of the classifier beside its head are then left out: a segmenter has none of them.
    Raises a `MismatchError` that counts and lists what does not fit.
    """
    named = unwrap(model).named_parameters(remove_duplicate=False)
    shapes = {name: tuple(parameter.shape) for name, parameter in named}
    tied = [other for others in ticket.aliases.values() for other in others]
    places = placed([*ticket.mask, *tied], shapes)
    moved = replace(
        ticket,
        mask=Mask({places[name]: ticket.mask.packed(name) for name in ticket.mask}),
        aliases={places[n]: tuple(places[o] for o in os) for n, os in ticket.aliases.items()},
        values={},
    )
    shifted = any(name != place for name, place in places.items())
    return moved.mask_on(shapes, [_CLASSIFIER] if shifted else [])


def placed(names: Iterable[str], own: Iterable[str]) -> dict[str, str]:
    """Where each name stands in a network that has the names `own`.

    That is the name itself; in a network with a backbone, for names that know nothing of one, it
    is under `backbone.`.
    """
    names, own = list(names), set(own)
    inside = any(name.startswith(_BACKBONE) for name in own)
    if not inside or any(name.startswith(_BACKBONE) for name in names):
        return {name: name for name in names}
    return {name: _in_backbone(name, own) for name in names}


def _in_backbone(name: str, own: set[str]) -> str:
    bare = _BACKBONE + name.removeprefix(_FEATURES)
    return bare if bare in own else _BACKBONE + name


def _heads(
    model: nn.Module, own: State, checkpoint: Checkpoint, places: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How the names of head tensors begin, in the network and in the checkpoint."""
    weights = [t.name for t in checkpoint.tensors() if t.reason is None]
    path = (find_head(weights) or "").rpartition(".")[0]
    if all(name == place for name, place in places.items()):
        return tuple(f"{head}." for head in heads_of(model)), (f"{path}.",) if path else ()
    # Of a classifier, a segmenter takes nothing but the backbone.
    here = tuple(name for name in own if not name.startswith(_BACKBONE))
    return here, (f"{path.partition('.')[0]}.",) if path else ()


def _but(names: Iterable[str], globs: Iterable[str]) -> list[str]:
    """The names that no glob matches."""
    return [name for name in names if not any(fnmatch.fnmatchcase(name, glob) for glob in globs)]


def _check_names(
    checkpoint: Checkpoint, own: State, matched: int, lacking: list[str], astray: list[str]
) -> None:
    """Raise a `MismatchError` where nothing matches, or something is missing on either side."""
    shown = printable(str(checkpoint.path))
    if not matched:
        first = next(iter(own), "")
        raise MismatchError(
            f"{shown}: none of its {len(checkpoint)} tensors is one of the network's {len(own)}: "
            f"found {some(checkpoint, 3)}; expected {some(own, 3)}{near(first, checkpoint)}"
        )
    if lacking or astray:
        told = [f"{n} (not in the checkpoint{near(n, checkpoint, 1)})" for n in lacking[:5]]
        told += [*lacking[5:], *(f"{name} (not in the network)" for name in astray)]
        raise MismatchError(
            f"{shown}: the checkpoint is of another network: of {len(own)} tensors {matched} match,"
            f" {len(lacking)} are missing, and {len(astray)} more have no place: {some(told)}"
        )


def _check_tensors(
    model: nn.Module, own: State, checkpoint: Checkpoint, found: Mapping[str, str]
) -> None:
    """Raise an `InputError` for tensors that do not fit into the network's."""
    shown = printable(str(checkpoint.path))
    wrong = [n for n, name in found.items() if checkpoint.shapes[name] != tuple(own[n].shape)]
    for head in heads_of(model) if wrong and has_head(model) else ():
        if (weight := f"{head}.weight") in wrong:
            there, here = checkpoint.shapes[found[weight]][:1], own[weight].shape[0]
            raise MismatchError(
                f"{shown}: its head {printable(head)} is for {some(map(str, there))} classes, the "
                f"network's for {here}"
            )
    if wrong:
        told = [
            f"{name}: {list(checkpoint.shapes[found[name]])} in the checkpoint, "
            f"{list(own[name].shape)} in the network"
            for name in wrong
        ]
        raise MismatchError(f"{shown}: {len(wrong)} tensors have another shape: {some(told)}")
    for place, name in found.items():
        floating = checkpoint.is_floating(name)
        if not is_plain(checkpoint[name]) or (own[place].is_floating_point() and not floating):
            raise WeightsError(
                f"{shown}: {printable(name)}: {checkpoint.dtypes[name]} where a dense tensor of "
                f"{own[place].dtype} is expected"
            )
