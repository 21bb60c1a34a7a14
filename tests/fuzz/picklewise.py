"""Mutations of pickles, an instruction at a time: what comes out reaches far into an unpickler."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from collections.abc import Callable
from random import Random

from tests.fuzz.bytewise import INTERESTING

# A legacy file is so many pickles, then raw data.
_PICKLES = 5
# What torch lets a file of weights ask for, and a little that it does not.
_GLOBALS = (
    *("torch _utils", "torch FloatStorage", "torch LongStorage", "torch QInt8Storage"),
    *("torch Tensor", "torch Size", "torch device", "torch float64", "torch int4", "torch qint8"),
    *("torch.storage UntypedStorage", "torch.storage TypedStorage", "torch.cuda FloatStorage"),
    *("torch.serialization _get_layout", "torch.nn.parameter Parameter", "torch FloatTensor"),
    *("collections OrderedDict", "collections Counter", "_codecs encode", "builtins bytearray"),
    *("builtins set", "builtins complex", "builtins getattr", "os system", "__builtin__ set"),
    *(
        "torch.sparse FloatTensor",
        "torch bits8",
        "torch per_channel_affine",
        "torch float4_e2m1fn_x2",
    ),
    "torch._tensor _rebuild_from_type_v2",
)
_REBUILD = (
    *("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state", "qtensor"),
    *("sparse_tensor", "nested_tensor", "wrapper_subclass", "meta_tensor_no_storage"),
    *("device_tensor_from_numpy", "device_tensor_from_cpu_tensor"),
)


def _int(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _global(name: str) -> bytes:
    module, _, attribute = name.partition(" ")
    return f"c{module}\n{attribute}\n".encode()


_ATOMS = (
    *map(_int, (*INTERESTING, -(2**40), 10**18)),
    *map(_text, ("", "x", "0", "cpu", "meta", "cuda:0", "storage", "x" * 600, "\x1b", "latin1")),
    *map(_global, (*_GLOBALS, *(f"torch._utils _rebuild_{name}" for name in _REBUILD))),
    *(b"N", b"\x88", b"\x89", b")", b"]", b"}", b"G\x7f\xf8\0\0\0\0\0\0"),  # None to NaN
)
# Instructions that push one value, and so may stand where another one did.
_PUSHING = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "GLOBAL"),
    *("NONE", "NEWTRUE", "NEWFALSE", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "BINFLOAT"),
    *("BINGET", "LONG_BINGET"),
}
_STACK = (b"0", b"1", b"2", b"(", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"s", b"u", b"Q",
          b"e", b"a", b"\x81", b".")  # fmt: skip

Codes = list[tuple[str, bytes]]


def instructions(data: bytes) -> tuple[Codes, bytes]:
    """The names and bytes of the instructions of the pickles in the data, and what follows them."""
    codes: Codes = []
    start = 0
    for _ in range(_PICKLES):
        if data[start : start + 1] != pickle.PROTO:
            break
        file = io.BytesIO(data[start:])
        found = [(code.name, at) for code, _, at in pickletools.genops(file) if at is not None]
        ends = [at for _, at in found[1:]] + [file.tell()]
        codes += [
            (name, data[start + at : start + end])
            for (name, at), end in zip(found, ends, strict=True)
        ]
        start += file.tell()
    return codes, data[start:]


def mutate_pickle(random: Random, data: bytes) -> bytes:
    """The data with one instruction changed, or a few; a `ValueError` where there are none."""
    codes, rest = instructions(data)
    if not codes:
        raise ValueError("no pickle")
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        at = random.randrange(len(codes))
        random.choice(_MUTATIONS)(random, codes, at)
    return b"".join(code for _, code in codes) + rest


def _replace(random: Random, codes: Codes, at: int) -> None:
    """Another value where one was pushed."""
    pushing = [i for i, (name, _) in enumerate(codes) if name in _PUSHING]
    if pushing:
        codes[random.choice(pushing)] = ("", random.choice(_ATOMS))


def _of_its_kind(random: Random, codes: Codes, at: int) -> None:
    """A value that was pushed elsewhere in the file, of the same kind: a shape, a key, a name."""
    pushing = [i for i, (name, _) in enumerate(codes) if name in _PUSHING]
    if pushing:
        here = random.choice(pushing)
        alike = [code for code in codes if code[0] == codes[here][0]]
        codes[here] = random.choice(alike)


def _nudge(random: Random, codes: Codes, at: int) -> None:
    """A small number a little larger or smaller: a dimension, a stride, a memory of the pickle."""
    small = [i for i, (name, _) in enumerate(codes) if name in ("BININT1", "BINGET")]
    if small:
        here = random.choice(small)
        name, code = codes[here]
        codes[here] = (name, code[:1] + bytes([(code[1] + random.choice((-1, 1, 2, 8))) % 256]))


def _delete(random: Random, codes: Codes, at: int) -> None:
    del codes[at : at + random.choice((1, 1, 2, 5))]


def _repeat(random: Random, codes: Codes, at: int) -> None:
    codes[at:at] = codes[at : at + random.choice((1, 1, 2, 5, 20))]


def _move(random: Random, codes: Codes, at: int) -> None:
    codes.insert(random.randint(0, len(codes) - 1), codes.pop(at))


def _insert(random: Random, codes: Codes, at: int) -> None:
    codes.insert(at, ("", random.choice((*_STACK, *_ATOMS))))


def _nest(random: Random, codes: Codes, at: int) -> None:
    """A list in a list in a list, instead of a value."""
    depth = random.choice((1, 100, 5000))
    codes.insert(at, ("", b"]" * depth + b"a" * (depth - 1)))


_MUTATIONS: tuple[Callable[[Random, Codes, int], None], ...] = (
    *(_replace, _replace, _replace, _of_its_kind, _of_its_kind, _nudge, _nudge),
    *(_delete, _repeat, _move, _insert, _nest),
)
