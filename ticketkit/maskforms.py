"""The forms in which other tools keep masks, recognised by names and dtypes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ticketkit.bits import PackedBits, pack
from ticketkit.errors import CheckpointError, MismatchError, UsageError, printable, some
from ticketkit.mask import Mask
from ticketkit.subnets import cut, schemes
from ticketkit.views import View

SCORES = "hidden-networks"
# Finer ones first: where two have the same blocks, either is right.
_SCHEMES = ("unstructured", "row", "kernel", "channel")


@dataclass(frozen=True)
class Found:
    """A mask of another tool, and the weights that it is of."""

    form: str
    mask: Mask
    weights: View | None
    """The tensors of a plain state dict; None where the file holds masks alone."""
    scheme: str = "unknown"
    notes: list[str] = field(default_factory=list)


def recognised(view: View, sparsity: float | None) -> Found | None:
    """What a mapping of tensors holds; None for no form that is known.

    Raises a `UsageError` where a form needs a sparsity and has none, or has no use for it, and an
    `InputError` for what is not as its form has it.
    """
    found = [form for form, (has, _) in _FORMS.items() if has(view)]
    if len(found) > 1:
        raise CheckpointError(f"masks of more than one form: {' and '.join(found)}")
    if not found:
        return None
    (form,) = found
    if form != SCORES and sparsity is not None:
        raise UsageError(
            f"{printable(str(view.checkpoint.path))}: --sparsity is for scores, and this holds a "
            f"mask (form {form}), which is taken as it is"
        )
    result = _FORMS[form][1](view, sparsity)
    if result.weights is not None:
        result.mask.check_fits(result.weights.shapes)
    return result


def rewound(found: Found, weights: View) -> Found:
    """The same mask on the weights of another entry, to which its tool rewinds."""
    try:
        found.mask.check_fits(weights.shapes)
    except MismatchError as error:
        raise MismatchError(f"entry {weights.checkpoint.key!r}: {error}") from None
    return replace(found, form="cv-lth", weights=weights)


def _masks_in(view: View) -> dict[str, str]:
    """Parameter to the tensor that may be its mask."""
    return {n.removesuffix("_mask"): n for n in view if n.endswith("_mask")}


def _has_pairs(view: View) -> bool:
    masks = _masks_in(view)
    pairs = any(f"{name}_orig" in view or _is_parameter(name) for name in masks)
    return pairs and len(masks) < len(view)


def _is_parameter(name: str) -> bool:
    return name.endswith(("weight", "bias"))


def _pairs(view: View, sparsity: float | None) -> Found:
    """What torch.nn.utils.prune makes of a parameter: NAME_orig, and NAME_mask."""
    masks = _masks_in(view)
    pairs = {name: mask for name, mask in masks.items() if f"{name}_orig" in view}
    alone = [mask for name, mask in masks.items() if name not in pairs]
    if lost := [mask for mask in alone if _is_parameter(mask.removesuffix("_mask"))]:
        raise CheckpointError(f"{some(lost)}: a mask without its weights, NAME_orig")
    if both := [name for name in pairs if name in view]:
        raise CheckpointError(f"{some(both)}: both NAME and NAME_orig, where one was expected")
    names = {name: f"{name}_orig" for name in pairs}
    others = {*pairs.values(), *names.values()}
    plain = {name: name for name in view if name not in others} | names
    notes = [f"taken for buffers of the network: {some(alone)}"] if alone else []
    return Found("torch-prune", Mask(view.renamed(pairs)), view.renamed(plain), notes=notes)


def _has_masks_alone(view: View) -> bool:
    return bool(view) and len(_masks_in(view)) == len(view)


def _masks_alone(view: View, sparsity: float | None) -> Found:
    """What CV_LTH_Pre-training cuts out of a state dict: NAME_mask alone."""
    return Found("cv-lth", Mask(view.renamed(_masks_in(view))), None)


def _has_integers(view: View) -> bool:
    return bool(view) and not any(view.is_floating(n) or n.endswith("_mask") for n in view)


def _integers(view: View, sparsity: float | None) -> Found:
    """What open_lth saves as mask.pth: the parameter's name to integers, 0 and 1."""
    return Found("open-lth", Mask(view), None)


def _scored(view: View) -> dict[str, str]:
    """Weight to its scores."""
    return {f"{n.removesuffix('scores')}weight": n for n in view if n.endswith(".scores")}


def _has_scores(view: View) -> bool:
    return any(weight in view for weight in _scored(view))


def _scores(view: View, sparsity: float | None) -> Found:
    """What hidden-networks and Robust-Scratch-Ticket learn: NAME.scores beside NAME.weight."""
    scored = _scored(view)
    if lost := [scores for weight, scores in scored.items() if weight not in view]:
        raise CheckpointError(f"{some(lost)}: scores without a weight beside them")
    if sparsity is None:
        raise UsageError(
            f"{printable(str(view.checkpoint.path))}: holds scores, not a mask: say the fraction "
            "to remove with --sparsity; it is 1 - prune_rate (k) of hidden-networks and "
            "Robust-Scratch-Ticket, which name the fraction that remains"
        )
    names = set(scored.values())
    weights = view.renamed({name: name for name in view if name not in names})
    shapes, bits = weights.shapes, dict[str, PackedBits]()
    possible, tied = set(_SCHEMES), list[str]()
    for weight, name in scored.items():
        shape, scores = shapes[weight], view[name]
        keep, is_tied = cut(name, scores, shape, sparsity)
        bits[weight] = PackedBits(shape, pack(keep.numpy()))
        possible &= schemes(tuple(scores.shape), shape)
        tied += [name] if is_tied else []
    told = f"equal scores at the cut, removed by position; their tool leaves it open: {some(tied)}"
    scheme = next((scheme for scheme in _SCHEMES if scheme in possible), "unknown")
    return Found(SCORES, Mask(bits), weights, scheme, [told] if tied else [])


# Form: whether a file is of it, and how it is read.
_FORMS: Mapping[str, tuple[Callable[[View], bool], Callable[[View, float | None], Found]]] = {
    "torch-prune": (_has_pairs, _pairs),
    "cv-lth": (_has_masks_alone, _masks_alone),
    "open-lth": (_has_integers, _integers),
    SCORES: (_has_scores, _scores),
}
