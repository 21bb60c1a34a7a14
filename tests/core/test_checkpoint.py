"""Checkpoints in every form: the same names, tensors and digest, and written as they came."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.samples import FORMS, PRUNABLE, load, raw_safetensors, save, state
from ticketkit import CheckpointError, InputError, Mask, UsageError, open_checkpoint
from ticketkit.checkpoint import Checkpoint
from ticketkit.files import reserve


def halves(weights: dict[str, torch.Tensor] | OrderedDict[str, torch.Tensor]) -> Mask:
    """A mask that removes every other weight of what is prunable."""
    return Mask({n: (torch.arange(t.numel()) % 2 == 0).reshape(t.shape) for n, t in weights.items()
                 if n in PRUNABLE})  # fmt: skip


def write(checkpoint: Checkpoint, path: Path, mask: Mask) -> list[str]:
    with reserve(path) as output:
        return checkpoint.write(output, mask)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_the_tensors_are_those_that_were_saved(form: str, tmp_path: Path) -> None:
    # fault row 6
    weights = state()
    checkpoint = open_checkpoint(save(weights, tmp_path, form))
    assert len(checkpoint) == len(weights)
    assert set(checkpoint) == set(weights)
    if form != "safetensors":  # whose library sorts them
        assert list(checkpoint) == list(weights)
    for name, tensor in weights.items():
        assert checkpoint[name].equal(tensor)
        assert checkpoint.shapes[name] == tuple(tensor.shape)
        assert checkpoint.raw(name).tobytes() == bits(tensor)
    assert checkpoint.dtypes["stem.weight"] == "F32"
    assert checkpoint.dtypes["bn.num_batches_tracked"] == "I64"


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("safetensors", "safetensors"),
        ("zip", "PyTorch (zip)"),
        ("legacy", "PyTorch (legacy)"),
        ("wrapped-zip", "PyTorch (zip), entry 'state_dict'"),
        ("wrapped-legacy", "PyTorch (legacy), entry 'state_dict'"),
    ],
)
def test_the_form_is_told_in_words(form: str, words: str, tmp_path: Path) -> None:
    assert open_checkpoint(save(state(), tmp_path, form)).description == words


def test_the_digest_is_that_of_the_tensors_in_whatever_form(tmp_path: Path) -> None:
    weights = state()
    expected = hashlib.sha256()
    for name in sorted(weights):
        dtype = {torch.float32: "F32", torch.int64: "I64"}[weights[name].dtype]
        expected.update(f"{name}\0{dtype}\0{list(weights[name].shape)}\0".encode())
        expected.update(bits(weights[name]))
    digests = {open_checkpoint(save(weights, tmp_path, form)).digest() for form in FORMS}
    assert digests == {expected.hexdigest()}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "complex64", "uint16"])
def test_the_digest_does_not_depend_on_the_form_for_any_dtype(dtype: str, tmp_path: Path) -> None:
    weights = {"x": torch.arange(8, dtype=torch.float32).to(getattr(torch, dtype)).reshape(2, 4)}
    young = dtype in ("float8_e4m3fn", "uint16")  # than the legacy form
    forms = [form for form in FORMS if not (young and "legacy" in form)]
    assert len({open_checkpoint(save(weights, tmp_path, form)).digest() for form in forms}) == 1


def test_the_digest_tells_names_shapes_dtypes_and_bits_apart(tmp_path: Path) -> None:
    zeros = torch.zeros(4)
    variants: list[dict[str, torch.Tensor]] = [
        {"x": zeros},
        {"y": zeros},
        {"x": zeros.reshape(2, 2)},
        {"x": zeros.view(torch.int32)},
        {"x": -zeros},
        {"x": zeros, "y": zeros.clone()},
    ]
    digests = {open_checkpoint(save(v, tmp_path, "safetensors")).digest() for v in variants}
    assert len(digests) == len(variants)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_has_the_form_names_order_and_bits_of_what_was_read(
    form: str, tmp_path: Path
) -> None:
    weights = state()
    source = save(weights, tmp_path, form)
    checkpoint = open_checkpoint(source)
    mask = halves(weights)
    assert sorted(mask) == PRUNABLE
    target = tmp_path / f"pruned{source.suffix}"
    assert write(checkpoint, target, mask) == []
    written = load(target)
    assert list(written) == list(load(source))
    for name, tensor in weights.items():
        expected = tensor * mask[name] + 0.0 if name in mask else tensor
        assert bits(written[name]) == bits(expected)
    again = open_checkpoint(target)
    assert (again.form, again.key) == (checkpoint.form, checkpoint.key)


def test_a_safetensors_file_keeps_its_header_byte_for_byte(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"b": "1", "a": "ö", "c": "\n"},
        "z.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "a": {"dtype": "F4", "shape": [2], "data_offsets": [16, 17]},
        "b.weight": {"dtype": "F16", "shape": [1, 2], "data_offsets": [17, 21]},
        "empty": {"dtype": "F32", "shape": [0, 7], "data_offsets": [21, 21]},
    }
    text = json.dumps(header, ensure_ascii=False, indent=1).encode() + b"   "
    numbers = np.array([1, -2, np.nan, -np.inf], np.float32).tobytes()
    half = np.array([3, 4], np.float16).tobytes()
    source = tmp_path / "x.safetensors"
    source.write_bytes(raw_safetensors(text, numbers + b"\xaa" + half))
    mask = Mask({"z.weight": [[1, 0], [0, 1]], "b.weight": [[0, 1]]})
    write(open_checkpoint(source), tmp_path / "y.safetensors", mask)
    kept = np.array([1, 0, 0, -np.inf], np.float32).tobytes()
    expected = raw_safetensors(text, kept + b"\xaa" + np.array([0, 4], np.float16).tobytes())
    assert (tmp_path / "y.safetensors").read_bytes() == expected


def test_a_removed_weight_is_plus_zero_whatever_it_was(tmp_path: Path) -> None:
    # fault row 22
    odd = torch.tensor([[float("nan"), -0.0, float("-inf"), 1e-45]])
    for form in FORMS:
        source = save({"x.weight": odd}, tmp_path, form)
        write(open_checkpoint(source), source, Mask({"x.weight": [[0, 0, 0, 0]]}))
        assert bits(load(source)["x.weight"]) == bytes(16)


def test_whether_a_name_is_there_is_told_without_reading_a_tensor(tmp_path: Path) -> None:
    path = save(state(), tmp_path, "safetensors")
    code = (
        "import sys, ticketkit\n"
        f"c = ticketkit.open_checkpoint({str(path)!r})\n"
        "assert 'fc.weight' in c and 'fc.nothing' not in c and 3 not in c\n"
        "c.digest(), c.tensors(), list(c.items)\n"
        "assert 'torch' not in sys.modules"
    ).replace(", list(c.items)", "")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("form", FORMS)
def test_a_name_that_is_not_there_is_a_key_error(form: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save(state(), tmp_path, form))
    assert "nothing" not in checkpoint
    assert checkpoint.get("nothing") is None
    with pytest.raises(KeyError):
        checkpoint["nothing"]


@pytest.mark.parametrize("form", FORMS)
def test_parameters_are_told_from_buffers(form: str, tmp_path: Path) -> None:
    found = {tensor.name for tensor in open_checkpoint(save(state(), tmp_path, form)).tensors()}
    assert found == {name for name in state() if "running" not in name and "num_" not in name}


def test_an_integer_where_a_weight_should_be_counts_as_one(tmp_path: Path) -> None:
    # fault row 29
    weights = {"a.weight": torch.ones(2, 2, dtype=torch.int8), "index": torch.tensor([[1]])}
    checkpoint = open_checkpoint(save(weights, tmp_path, "safetensors"))
    assert [tensor.name for tensor in checkpoint.tensors()] == ["a.weight"]


def test_a_safetensors_file_has_no_entries_to_choose(tmp_path: Path) -> None:
    path = save(state(), tmp_path, "safetensors")
    with pytest.raises(
        UsageError, match="is a safetensors checkpoint: it has no entries to choose"
    ):
        open_checkpoint(path, "model")


def test_a_file_of_torch_under_the_wrong_name_is_told(tmp_path: Path) -> None:
    path = save(state(), tmp_path, "zip").rename(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"rename it to \.pt"):
        open_checkpoint(path)


def test_a_path_may_be_text(tmp_path: Path) -> None:
    path = save(state(), tmp_path, "safetensors")
    assert open_checkpoint(str(path)).digest() == open_checkpoint(path).digest()


def test_what_is_not_there_is_told_before_torch_is_needed(tmp_path: Path) -> None:
    # fault row 1
    with pytest.raises(InputError, match=r"nothing\.pt: no such file"):
        open_checkpoint(tmp_path / "nothing.pt")


def test_a_file_that_is_removed_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    # fault row 50
    for form in FORMS:
        source = save(state(), tmp_path, form)
        checkpoint = open_checkpoint(source)
        digest = checkpoint.digest()
        source.unlink()
        target = tmp_path / f"y{source.suffix}"
        write(checkpoint, target, Mask({}))
        assert open_checkpoint(target).digest() == digest


def test_a_large_number_of_tensors_is_no_burden(tmp_path: Path) -> None:
    weights = {f"layer{i}.weight": torch.ones(1, 1) for i in range(3000)}
    save_file(weights, tmp_path / "x.safetensors")
    checkpoint = open_checkpoint(tmp_path / "x.safetensors")
    assert len(checkpoint.tensors()) == 3000
