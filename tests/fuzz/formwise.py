"""Mutations of a form: damage in one layer of a file, under outer layers that stay right.

A header's length, a ticket's digests and a zip file's checksums are computed again, so that what is
behind them is reached.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
import zipfile
from random import Random
from typing import Any

from tests.fuzz.bytewise import mutate_bytes
from tests.fuzz.jsonwise import Pairs, dump, mutate_tree, parse
from tests.fuzz.picklewise import mutate_pickle
from ticketkit.files import sha256
from ticketkit.ticketfile import digest_of


def mutate_form(random: Random, data: bytes) -> bytes:
    """The data damaged by what it is; any error where it is damaged already."""
    if data.startswith(b"PK"):
        return _mutate_zip(random, data)
    if data.startswith(b"{"):
        return dump(mutate_tree(random, parse(data))).encode()
    if data[8:9] == b"{":
        return _mutate_safetensors(random, data)
    return mutate_pickle(random, data)


def _mutate_safetensors(random: Random, data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header, body = parse(data[8 : 8 + length]), data[8 + length :]
    if random.random() < 0.2:
        header, body = _resized(random, header, body)
    metadata = header.get("__metadata__")
    if metadata and metadata.get("ticketkit") and random.random() < 0.8:
        if body and random.random() < 0.3:
            body = mutate_bytes(random, body)[: len(body)].ljust(len(body), b"\1")
        record = mutate_tree(random, parse(metadata.get("ticketkit")))
        if random.random() < 0.9 and isinstance(record, Pairs):
            _sign(record, header, body)
        metadata.put("ticketkit", dump(record))
    else:
        header = mutate_tree(random, header)
    text = dump(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def _resized(random: Random, header: Pairs, body: bytes) -> tuple[Pairs, bytes]:
    """One tensor longer or shorter, and those behind it moved."""
    entries = [pair for pair in header if pair[0] != "__metadata__"]
    chosen = random.choice(entries)[0]
    pieces, at = [], 0
    for name, entry in sorted(entries, key=lambda pair: pair[1].get("data_offsets")):
        start, stop = entry.get("data_offsets")
        piece = body[start:stop]
        if name == chosen:
            piece = (piece * 2 + b"\1" * 8)[: random.randint(0, 2 * len(piece) + 8)]
            entry.put("shape", [len(piece)])
            entry.put("dtype", random.choice(("U8", "U8", "BOOL", "F8_E5M2")))
        pieces.append(piece)
        entry.put("data_offsets", [at, at + len(piece)])
        at += len(piece)
    return header, b"".join(pieces)


def _sign(record: Pairs, header: Pairs, body: bytes) -> None:
    """Write the digests that a writer of this record would have written."""
    layers = record.get("layers")
    for name, layer in layers if isinstance(layers, Pairs) else ():
        entry = header.get(name)
        if isinstance(layer, Pairs) and layer.get("sha256") is not None and entry is not None:
            layer.put("sha256", sha256(body[slice(*entry.get("data_offsets"))]))
    with contextlib.suppress(ValueError, RecursionError):  # numbers too long, lists too deep
        unsigned: dict[str, Any] = json.loads(dump(record))
        unsigned.pop("sha256", None)
        record.put("sha256", digest_of(unsigned))


def _mutate_zip(random: Random, data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at = next((i for i, (name, _) in enumerate(members) if name.endswith("data.pkl")), 0)
    method = zipfile.ZIP_STORED
    if random.random() < 0.75:
        members[at] = (members[at][0], mutate_pickle(random, members[at][1]))
    elif random.random() < 0.5:
        at = random.randrange(len(members))
        name, content = members[at]
        members[at] = (name, mutate_bytes(random, content) if content else b"\0")
    elif random.random() < 0.1:
        method = zipfile.ZIP_DEFLATED
    else:
        _mutate_members(random, members)
    return _zipped(members, method)


def _mutate_members(random: Random, members: list[tuple[str, bytes]]) -> None:
    """A member of another name, twice, gone, or in another place."""
    at = random.randrange(len(members))
    name, content = members[at]
    root, _, last = name.partition("/")
    kind = random.randrange(4)
    if kind == 0:
        names = (f"{root}/..", f"/{name}", f"{root}/data/9", f"other/{last}", f"{root}/{last}x",
                 f"{root}/byteorder", f"{root}/\x1b", f"{root}/.data/version", "é模")  # fmt: skip
        members[at] = (random.choice(names), content)
    elif kind == 1:
        members.insert(random.randint(0, len(members)), (name, random.choice(members)[1]))
    elif kind == 2:
        del members[at]
    else:
        other = random.randrange(len(members))
        members[at], members[other] = (name, members[other][1]), (members[other][0], content)


def _zipped(members: list[tuple[str, bytes]], method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()
