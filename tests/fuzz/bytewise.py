"""Mutations that know nothing of a form: bits, chunks, lengths, and integers."""

from __future__ import annotations

from random import Random

# What code is most often wrong about, in whatever width it is written.
INTERESTING = (
    *(0, 1, -1, 2, 7, 8, 100, 127, 128, 255, 256, 1000, 2**15 - 1, 2**15, 2**16 - 1, 2**16),
    *(10**6, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
)


def mutate_bytes(random: Random, data: bytes) -> bytes:
    """The data, damaged in one place or a few."""
    return random.choice(_MUTATIONS)(random, data)


def _flip(random: Random, data: bytes) -> bytes:
    flipped = bytearray(data)
    for _ in range(random.randint(1, 4)):
        flipped[_place(random, data)] ^= 1 << random.randrange(8)
    return bytes(flipped)


def _overwrite(random: Random, data: bytes) -> bytes:
    at = _place(random, data)
    length = random.choice((1, 1, 2, 4, 16))
    return data[:at] + random.randbytes(length) + data[at + length :]


def _integer(random: Random, data: bytes) -> bytes:
    """A number in a header: one of the usual suspects, or nearly the length of the file."""
    at, width = _place(random, data), random.choice((1, 2, 4, 8))
    value = random.choice((*INTERESTING, len(data) + random.randint(-9, 9)))
    written = (value % (1 << 8 * width)).to_bytes(width, random.choice(("little", "big")))
    return data[:at] + written + data[at + width :]


def _copy(random: Random, data: bytes) -> bytes:
    """A chunk once more, between or over others."""
    chunk, at = _chunk(random, data), _place(random, data)
    return data[:at] + chunk + data[at + random.choice((0, len(chunk))) :]


def _delete(random: Random, data: bytes) -> bytes:
    at = _place(random, data)
    return data[:at] + data[at + random.choice((1, 2, 4, 8, 64)) :]


def _insert(random: Random, data: bytes) -> bytes:
    at = _place(random, data)
    chunk = random.choice((random.randbytes(random.randint(1, 16)), b"\0" * 64, b"[" * 2000))
    return data[:at] + chunk + data[at:]


def _truncate(random: Random, data: bytes) -> bytes:
    return data[: _place(random, data)]


def _extend(random: Random, data: bytes) -> bytes:
    return data + random.choice((b"\0", b"\0" * 64, random.randbytes(32), _chunk(random, data)))


_MUTATIONS = (_flip, _flip, _overwrite, _integer, _integer, _copy, _delete, _insert, _truncate,
              _extend)  # fmt: skip


def _place(random: Random, data: bytes) -> int:
    """A place in the data: often where headers and directories are, at its start or its end."""
    if not data:
        raise ValueError("nothing to mutate")
    start, stop = random.choice(((0, len(data)), (0, len(data)), (0, 64), (len(data) - 96, None)))
    return random.randrange(max(0, start), min(len(data), stop or len(data)))


def _chunk(random: Random, data: bytes) -> bytes:
    start = _place(random, data)
    return data[start : start + random.choice((1, 4, 8, 32, 256))]
