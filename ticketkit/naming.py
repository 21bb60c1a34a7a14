"""What the keys of a checkpoint mean: the names of the network's tensors, and what is beside them.

Training wraps a network, and its checkpoints tell: `module.` of DataParallel and
DistributedDataParallel, `_orig_mod.` of torch.compile, `_fsdp_wrapped_module.` of FSDP. Files of
the robustness library hold a network twice, `model.*` and `attacker.model.*`, beside the mean and
the standard deviation that it normalises its inputs by; networks of torchvision's it holds as
`model.model.*`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

_WRAPPERS = ("module.", "_orig_mod.", "_fsdp_wrapped_module.")
_NETWORK, _COPY = "model.", "attacker.model."
_BESIDE = ("normalizer.", "attacker.normalize.")


@dataclass(frozen=True)
class Naming:
    """How a file calls a network's tensors."""

    keys: Mapping[str, tuple[str, ...]]
    """The name of each tensor, and the keys that the file has it under; the first one is read."""
    prefix: str = ""
    """What was stripped from every key."""
    beside: tuple[str, ...] = ()
    """Keys of tensors that are none of the network's."""
    normalisation: Mapping[str, str] = field(default_factory=dict)
    """The keys of the `mean` and the `std` that inputs are normalised by, if the file has both."""

    @cached_property
    def names(self) -> dict[str, str]:
        """The name that each key stands for."""
        return {key: name for name, keys in self.keys.items() for key in keys}

    @property
    def copies(self) -> int:
        """How many keys hold a tensor once more."""
        return sum(len(keys) - 1 for keys in self.keys.values())

    @classmethod
    def of(cls, keys: Iterable[str]) -> Naming:
        """What these keys, all of one file, mean."""
        keys = list(keys)
        prefix = common_prefix(keys)
        if _is_robustness([key.removeprefix(prefix) for key in keys]):
            return _of_robustness(keys, prefix)
        return cls({key.removeprefix(prefix): (key,) for key in keys}, prefix)


def common_prefix(keys: Iterable[str]) -> str:
    """The wrappers' prefixes that all keys share, in whatever order they come; `""` for none."""
    left, prefix = list(keys), ""
    while found := next((wrapper for wrapper in _WRAPPERS if _shared(wrapper, left)), ""):
        left = [key.removeprefix(found) for key in left]
        prefix += found
    return prefix


def _shared(wrapper: str, keys: list[str]) -> bool:
    """Whether all keys start so, and go on."""
    return bool(keys) and all(key.startswith(wrapper) and key != wrapper for key in keys)


def _is_robustness(keys: list[str]) -> bool:
    network = any(key.startswith(_NETWORK) for key in keys)
    other = any(key.startswith((_COPY, *_BESIDE)) for key in keys)
    return network and other and all(k.startswith((_NETWORK, _COPY, *_BESIDE)) for k in keys)


def _of_robustness(keys: list[str], prefix: str) -> Naming:
    known = set(keys)
    network = [key for key in keys if key.startswith(prefix + _NETWORK)]
    # The library wraps what is none of its own networks, to call it as it calls those.
    inner = _NETWORK if all(key.startswith(prefix + 2 * _NETWORK) for key in network) else ""
    named: dict[str, tuple[str, ...]] = {}
    for key in network:
        name = key.removeprefix(prefix + _NETWORK + inner)
        copy = prefix + _COPY + inner + name
        named[name] = (key, copy) if copy in known else (key,)
    taken = {key for each in named.values() for key in each}
    ends = {what: f"{prefix}normalizer.new_{what}" for what in ("mean", "std")}
    return Naming(
        named,
        prefix + _NETWORK + inner,
        tuple(key for key in keys if key not in taken),
        ends if known.issuperset(ends.values()) else {},
    )
