"""Writing +0.0 where a mask removes a weight, whatever stood there: the one kernel behind masks."""

from __future__ import annotations

import torch

# Elements per step: the operands stay in cache, and type promotion copies no more than this.
_CHUNK = 2**18
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def layout(keep: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """An int8 mask, -1 (all bits) where kept and 0 where removed, laid out in memory as `like`."""
    mask = torch.empty_like(like, dtype=torch.int8, requires_grad=False)
    return mask.copy_(keep).neg_()


def zero_(tensor: torch.Tensor, mask: torch.Tensor) -> None:
    """Fill `tensor` with +0.0 where `mask`, made by `layout`, is 0; touch nothing else.

    A bitwise AND of the number's bits: NaN and -0.0 become +0.0 too, which a product would not do.
    """
    if tensor.is_complex():
        tensor.masked_fill_(mask == 0, 0)
        return
    bits = tensor.detach().view(_INTEGERS[tensor.element_size()])
    if not _same_dense_memory(bits, mask):
        bits.bitwise_and_(mask)
        return
    size = bits.numel()
    flat, flat_mask = bits.as_strided((size,), (1,)), mask.as_strided((size,), (1,))
    for start in range(0, size, _CHUNK):
        flat[start : start + _CHUNK].bitwise_and_(flat_mask[start : start + _CHUNK])


def _same_dense_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether both fill one run of memory without gaps, their elements in the same order."""
    if a.stride() != b.stride():
        return False
    span = sum((size - 1) * stride for size, stride in zip(a.shape, a.stride(), strict=True)) + 1
    return a.numel() > 0 and span == a.numel()
