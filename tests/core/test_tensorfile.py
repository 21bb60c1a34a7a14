"""Safetensors files: read without torch, as the safetensors library reads them, or refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples import bit_flips, check_message, little_memory, raw_safetensors, save, state
from ticketkit import CheckpointError
from ticketkit.tensorfile import DTYPES, TensorFile, in_order, itemsize

ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DATA = np.array([1, 2], np.float32).tobytes()


def opened(tmp_path: Path, content: bytes) -> TensorFile:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    return TensorFile(path)


def refusal(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(CheckpointError) as caught:
        opened(tmp_path, content)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{tmp_path / 'x.safetensors'}: ")
    return message.removeprefix(f"{tmp_path / 'x.safetensors'}: ")


# --- as the library reads


def test_torchs_tensors_are_read_as_the_library_reads_them(tmp_path: Path) -> None:
    path = save(state(), tmp_path, "safetensors")
    file = TensorFile(path)
    theirs = safetensors.torch.load_file(path)
    assert set(file.entries) == set(theirs)
    assert file.metadata == {"format": "pt", "made for": "a test"}
    for name, tensor in theirs.items():
        assert file.tensor(name).equal(tensor)
        assert file.tensor(name).dtype == tensor.dtype
        assert bytes(file.bytes_of(name)) == tensor.numpy().tobytes()


@pytest.mark.parametrize("dtype", ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"])
def test_numpys_integers_are_read_as_the_library_reads_them(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    array = np.arange(12).reshape(3, 4).astype(dtype)
    safetensors.numpy.save_file({"x": array}, path)
    file = TensorFile(path)
    assert (file.raw("x").view(dtype) == array).all()
    assert (file.tensor("x").numpy() == array).all()


@pytest.mark.parametrize("name", sorted(set(DTYPES) - {"C128"}))
def test_every_dtype_that_torch_can_save_keeps_its_bits(name: str, tmp_path: Path) -> None:
    dtype = getattr(torch, DTYPES[name])
    bits = torch.arange(48, dtype=torch.uint8).reshape(3, 16)
    tensor = (bits % 2).bool() if name == "BOOL" else bits.view(dtype)
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"x": tensor}, path)
    file = TensorFile(path)
    assert file.entries["x"].dtype == name
    assert file.tensor("x").dtype == dtype
    assert file.tensor("x").view(torch.uint8).equal(tensor.view(torch.uint8))
    raw = file.raw("x")
    assert raw.dtype.kind == "u"
    assert raw.tobytes() == bytes(file.bytes_of("x"))
    assert raw.shape == ((*tensor.shape, 2) if name == "C64" else tuple(tensor.shape))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (1, 1, 1, 1, 1, 1)])
def test_empty_and_0d_tensors_are_read(shape: tuple[int, ...], tmp_path: Path) -> None:
    # fault row 27
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"x": torch.ones(shape), "y": torch.ones(2)}, path)
    file = TensorFile(path)
    assert file.tensor("x").equal(torch.ones(shape))
    assert file.raw("x").shape == shape


def test_a_file_without_tensors_is_read(tmp_path: Path) -> None:
    assert opened(tmp_path, raw_safetensors({})).entries == {}


def test_tensors_are_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    header = {
        "b": {**ONE, "data_offsets": [8, 16]},
        "a": {**ONE, "data_offsets": [16, 24]},
        "c": ONE,
    }
    assert list(opened(tmp_path, raw_safetensors(header, DATA * 3)).entries) == ["c", "b", "a"]


def test_a_tensor_at_an_odd_place_is_read(tmp_path: Path) -> None:
    header = {
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {**ONE, "data_offsets": [3, 11]},
    }
    file = opened(tmp_path, raw_safetensors(header, b"abc" + DATA))
    assert file.tensor("b").tolist() == [1, 2]
    assert file.raw("b").tolist() == np.array([1, 2], np.float32).view(np.uint32).tolist()


def test_a_tensor_of_our_reader_can_be_changed_and_the_file_stays(tmp_path: Path) -> None:
    file = opened(tmp_path, raw_safetensors({"x": ONE}, DATA))
    file.tensor("x").zero_()
    assert (tmp_path / "x.safetensors").read_bytes()[-8:] == DATA


def test_half_bytes_stay_packed(tmp_path: Path) -> None:
    header = {"x": {"dtype": "F4", "shape": [2, 4], "data_offsets": [0, 4]}}
    file = opened(tmp_path, raw_safetensors(header, b"abcd"))
    assert file.raw("x").tobytes() == b"abcd"
    with pytest.raises(CheckpointError, match=r"x\.safetensors: x: dtype F4 is not supported"):
        file.tensor("x")


def test_metadata_may_speak_of_a_dtype(tmp_path: Path) -> None:
    header = {"__metadata__": {"dtype": "F32", "shape": "any"}, "x": ONE}
    assert opened(tmp_path, raw_safetensors(header, DATA)).metadata["dtype"] == "F32"


def test_no_metadata_is_no_metadata(tmp_path: Path) -> None:
    header = {"__metadata__": None, "x": ONE}
    assert opened(tmp_path, raw_safetensors(header, DATA)).metadata == {}


# --- fault row 9: malformed files


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            raw_safetensors(
                b'{"a":%(one)s,"a":%(one)s}' % {b"one": json.dumps(ONE).encode()}, DATA
            ),
            "malformed safetensors: the header has twice: a",
        ),
        (
            raw_safetensors(
                b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', DATA
            ),
            "malformed safetensors: the header has twice: dtype",
        ),
        (
            raw_safetensors({"__metadata__": ONE}, DATA),
            "malformed safetensors: a tensor named '__metadata__'",
        ),
        (
            raw_safetensors({"__metadata__": {"a": 3}, "x": ONE}, DATA),
            "malformed safetensors: Error while deserializing header",
        ),
        (
            raw_safetensors({"__metadata__": 3, "x": ONE}, DATA),
            "malformed safetensors: Error while deserializing header",
        ),
        (
            raw_safetensors(b'{"x":1}', length=2**40),
            "malformed safetensors: the header is over 100 MiB",
        ),
        (
            raw_safetensors({"x": ONE}, DATA + b"more"),
            "malformed safetensors: Error while deserializing header: ",
        ),
        (
            raw_safetensors({"x": ONE}, DATA[:-1]),
            "truncated: expected 77 bytes, found 76; fetch it again",
        ),
        (
            raw_safetensors(b'{"\xff\xfe":1}', DATA),
            "malformed safetensors: the header is no JSON: 'utf-8' codec",
        ),
        (
            raw_safetensors(b'{"x": ', DATA),
            "malformed safetensors: the header is no JSON: ",
        ),
        (
            raw_safetensors({"a": ONE, "b": {**ONE, "data_offsets": [4, 12]}}, DATA + DATA[:4]),
            "malformed safetensors: Error while deserializing header: invalid offset",
        ),
        (
            raw_safetensors({"a": ONE, "b": {**ONE, "data_offsets": [16, 24]}}, DATA * 3),
            "malformed safetensors: Error while deserializing header: invalid offset",
        ),
        (
            raw_safetensors({"x": {**ONE, "shape": [3]}}, DATA),
            "malformed safetensors: Error while deserializing header: ",
        ),
        (
            raw_safetensors({"x": {**ONE, "shape": [2**40, 2**40]}}, DATA),
            "malformed safetensors: Error while deserializing header: ",
        ),
        (
            raw_safetensors({"x": {**ONE, "shape": [-2]}}, DATA),
            "malformed safetensors: Error while deserializing header: ",
        ),
        (
            raw_safetensors({"x": {**ONE, "data_offsets": [8, 0]}}, DATA),
            "malformed safetensors: Error while deserializing header: ",
        ),
        (
            raw_safetensors({"x": {**ONE, "data_offsets": [0, 10**30]}}, DATA),
            "truncated: expected 1,000,000,000,000,000,000,000,000,000,",
        ),
        (
            raw_safetensors({"x": {**ONE, "dtype": "F128"}}, DATA),
            "malformed safetensors: Error while deserializing header: ",
        ),
        (
            raw_safetensors({"x": 3}, DATA),
            "malformed safetensors: Error while deserializing header: ",
        ),
        (
            raw_safetensors({"x": {"dtype": "F32"}}, DATA),
            "malformed safetensors: Error while deserializing header: ",
        ),
        (
            raw_safetensors(b'{"a":' + b"[" * 100_000, DATA),
            "malformed safetensors: the header is no JSON: ",
        ),
        (
            raw_safetensors({"new\nline \x1b[31m": ONE}, DATA),
            "expected tensor names of printable text, at most 512 characters; found 'new",
        ),
        (
            raw_safetensors({"x" * 513: ONE}, DATA),
            "expected tensor names of printable text, at most 512 characters; found 'xxx",
        ),
        (raw_safetensors([], DATA), "malformed safetensors: the header is no JSON object"),
    ],
)
def test_a_malformed_file_is_refused_in_one_line(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, content).startswith(reason)


def test_a_longest_name_is_a_name(tmp_path: Path) -> None:
    assert "ö" * 512 in opened(tmp_path, raw_safetensors({"ö" * 512: ONE}, DATA)).entries


def test_a_promised_giant_takes_no_memory(tmp_path: Path) -> None:
    # fault row 7
    with little_memory():
        refusal(tmp_path, raw_safetensors(b'{"x":1}', length=99 * 2**20))
        refusal(tmp_path, raw_safetensors({"x": {**ONE, "shape": [2**31, 2**31]}}, DATA))


def test_every_flipped_bit_of_a_header_is_refused_or_harmless(tmp_path: Path) -> None:
    content = raw_safetensors({"__metadata__": {"a": "b"}, "x": ONE}, DATA)
    for flipped in bit_flips(content[:-8]):
        try:
            file = opened(tmp_path, flipped + DATA)
        except CheckpointError:
            continue
        for name in file.entries:
            assert file.raw(name).tobytes() == DATA


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    header=st.dictionaries(
        st.sampled_from(["x", "y", "__metadata__"]),
        JSON
        | st.fixed_dictionaries(
            {"dtype": st.sampled_from(["F32", "U8", "F4"]), "shape": JSON, "data_offsets": JSON}
        ),
    )
)
def test_whatever_the_header_holds_the_answer_is_one_of_ours(
    header: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(raw_safetensors(header, DATA))
    try:
        file = TensorFile(path)
    except CheckpointError as error:
        check_message(error)
    else:
        with safetensors.safe_open(path, framework="numpy") as theirs:
            assert set(theirs.keys()) == set(file.entries)


def test_a_header_length_beyond_any_file_is_refused(tmp_path: Path) -> None:
    assert "100 MiB" in refusal(tmp_path, struct.pack("<Q", 2**64 - 1) + b"{}")


@given(st.dictionaries(st.text("ab.", min_size=1), st.sampled_from(sorted(DTYPES)), min_size=1))
def test_in_order_every_tensor_is_aligned_and_the_order_is_that_of_no_mapping(
    dtypes: dict[str, str],
) -> None:
    names = in_order(dtypes)
    assert names == in_order(dict(reversed(dtypes.items())))
    assert sorted(names) == sorted(dtypes)
    start = 0
    for name in names:
        assert start % itemsize(dtypes[name]) == 0
        start += 3 * itemsize(dtypes[name])
