"""How the files of the corpus are made. A function returns them by the end of their path: `""` for
a single file, `"/NAME"` for one in a folder."""

from __future__ import annotations

import io
import json
import math
import os
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.torch
import torch

from tests.samples import quantised
from ticketkit import Counts, Layer, Mask, Provenance, Ticket
from ticketkit.bits import BlockBits, pack

Weights = Mapping[str, torch.Tensor]


def weights(seed: int = 0) -> Weights:
    """A convolution, a normalisation, a linear layer and a head."""
    generator = torch.Generator().manual_seed(seed)
    return OrderedDict(
        {
            "stem.weight": torch.randn(3, 2, 2, 2, generator=generator),
            "bn.running_mean": torch.zeros(3),
            "bn.num_batches_tracked": torch.tensor(7),
            "mid.weight": torch.randn(4, 3, generator=generator),
            "fc.weight": torch.randn(2, 4, generator=generator),
            "fc.bias": torch.randn(2, generator=generator),
        }
    )


def halves() -> Weights:
    """Numbers of two bytes and of one."""
    kinds = [torch.bfloat16, torch.float16, torch.float8_e4m3fn]
    return {f"{i}.weight": weights(i)["stem.weight"].to(kind) for i, kind in enumerate(kinds)}


def integers() -> Weights:
    """Numbers that are no weights, beside a weight."""
    kinds = [torch.int64, torch.uint8, torch.int16, torch.bool]
    numbers = {f"count{i}": torch.arange(3).to(kind) for i, kind in enumerate(kinds)}
    return {**numbers, "a.weight": weights()["mid.weight"].double()}


def wrapped() -> dict[str, Any]:
    """A training checkpoint."""
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(4)}}, "param_groups": [{"lr": 0.1}]}
    return {"epoch": 3, "state_dict": weights(), "optimizer": optimizer, "best": 0.5}


def prefixed() -> dict[str, Any]:
    """A compiled network in DataParallel."""
    return {"model": {f"module._orig_mod.{k}": v for k, v in weights().items()}}


def pairs() -> dict[str, Any]:
    """What torch.nn.utils.prune makes of two weights, and CV_LTH_Pre-training keeps beside."""
    found: dict[str, torch.Tensor] = {}
    for name, tensor in weights().items():
        cut = name.endswith(".weight") and tensor.dim() > 1
        found |= (
            {f"{name}_orig": tensor, f"{name}_mask": tensor.gt(0).float()}
            if cut
            else {name: tensor}
        )
    return {"state_dict": found, "init_weight": weights()}


def scores() -> dict[str, Any]:
    """What hidden-networks keeps: scores beside weights."""
    learnt = {f"{n}.scores": weights(1)[f"{n}.weight"] for n in ("stem", "mid")}
    found = {**weights(), **learnt}
    return {"state_dict": {f"module.{name}": tensor for name, tensor in found.items()}}


def robustness() -> dict[str, Any]:
    """The layout of the robustness library: a network, its copy, and two normalisers."""
    found: dict[str, torch.Tensor] = {}
    for start in ("module.model.", "module.attacker.model."):
        found |= {start + name: tensor for name, tensor in weights().items()}
    for start in ("module.normalizer.", "module.attacker.normalize."):
        found |= {start + "new_mean": torch.zeros(3, 1, 1), start + "new_std": torch.ones(3, 1, 1)}
    return {"model": found, "epoch": 3}


def odd() -> dict[str, Any]:
    """Tensors of every kind that torch lets a file of weights hold."""
    whole, tied = torch.arange(12.0).reshape(3, 4), torch.ones(2, 3)
    return {
        "a.weight": tied,
        "b.weight": tied,
        "rows": whole[:2],
        "turned": whole.t(),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "complex": torch.tensor([1 + 2j, 3 - 4j]).conj(),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.ones(2, 2, device="meta"),
        "quantised": quantised(),
        "empty": torch.zeros(0, 3),
        "extra": {"set": {1}, "bytes": bytearray(b"x"), "size": torch.Size([2])},
    }


class Code:
    """A pickle that makes a folder beside it where it is run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("canary",)


def saved(whole: object, *, zipped: bool = True) -> dict[str, bytes]:
    """What torch.save writes."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of quantised tensors
        torch.save(whole, file, _use_new_zipfile_serialization=zipped)
    return {"": file.getvalue()}


def stored(found: Weights) -> dict[str, bytes]:
    """A safetensors file."""
    return {"": safetensors.torch.save(dict(found), {"format": "pt"})}


def shards() -> dict[str, bytes]:
    """A folder of two safetensors files, their index, and a file beside them."""
    found = weights()
    parts = {"a.safetensors": list(found)[:2], "b.safetensors": list(found)[2:]}
    placed = {key: name for name, keys in parts.items() for key in keys}
    index = {"metadata": {"total_size": 1}, "weight_map": placed}
    files = {f"/{name}": stored({k: found[k] for k in keys})[""] for name, keys in parts.items()}
    files["/model.safetensors.index.json"] = json.dumps(index).encode()
    return {**files, "/config.json": b"{}"}


def single_bits() -> Ticket:
    """One bit a weight, and names of tied weights."""
    rng = np.random.default_rng(0)
    keeps = {"a.weight": rng.random((3, 5)) < 0.5, "größe.weight": rng.random((2, 2, 3)) < 0.5}
    return _ticket(Mask(keeps), {"a.weight": ("tied.weight", "模.weight")})


def many_bits() -> Ticket:
    """Rows long enough for codes of their gaps: survivors are rare in one, zeros in another."""
    rng = np.random.default_rng(3)
    keeps = {"a.weight": rng.random((9, 50)) < 0.05, "b.weight": rng.random((9, 50)) < 0.95}
    return _ticket(Mask(keeps), {})


def valued() -> Ticket:
    """A ticket that carries the surviving weights, of two dtypes."""
    made = single_bits()
    shapes = made.mask.shapes
    source = {n: torch.arange(1.0, math.prod(s) + 1).reshape(s) for n, s in shapes.items()}
    source["a.weight"] = source["a.weight"].bfloat16()
    return made.with_values(source)


def blocks() -> Ticket:
    """One bit a block, where blocks divide the layer and where they do not."""
    rng = np.random.default_rng(1)
    row, edge = Layer.of("row.weight", (4, 3, 3, 3)), Layer.of("edge.weight", (5, 7))
    found = {
        "row.weight": BlockBits(row, (1, 1, 1, 3), pack(rng.random(36) < 0.5)),
        "edge.weight": BlockBits(edge, (2, 3), pack(rng.random(9) < 0.5)),
    }
    return _ticket(Mask(found), {})


def transposed() -> Ticket:
    """Blocks of a transposed convolution in two groups, and single bits."""
    rng = np.random.default_rng(2)
    up = Layer.of("up.weight", (4, 3, 2), transposed=2)
    found = {
        "up.weight": BlockBits(up, (1, 2, 2), pack(rng.random(6) < 0.5)),
        "fc.weight": rng.random((4, 4)) < 0.5,
    }
    return _ticket(Mask(found), {})


def ticket(made: Ticket, encoding: str = "packed") -> dict[str, bytes]:
    """A ticket's file."""
    return {"": made.encoded(encoding)}


def _ticket(mask: Mask, aliases: Mapping[str, tuple[str, ...]]) -> Ticket:
    provenance = Provenance(
        *("row", "magnitude", "global", "omp", 0.5, 3),
        include=("a*",),
        source="f" * 64,
        versions={"ticketkit": "0.1.0"},
    )
    return Ticket(mask, provenance, Counts(mask.size, 200, 300), aliases, "0.1.0", {"newer": [1]})
