"""Files of torch.save: read without running code, and written in the form in which they came."""

from __future__ import annotations

import argparse
import builtins
import os
import pickle
import re
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import ticketkit
from tests.samples import check_message, quantised, rezip, save, state
from ticketkit import CheckpointError, Mask, TicketkitError, UsageError, WeightsError
from ticketkit.archive import form_of
from ticketkit.checkpoint import Checkpoint, open_checkpoint
from ticketkit.files import reserve
from ticketkit.loading import load
from ticketkit.pruning import prune
from ticketkit.request import Request
from ticketkit.torchfile import raw_of

ZIPPED = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def saved(whole: object, tmp_path: Path, *, zipped: bool = True, protocol: int = 2) -> Path:
    path = tmp_path / "x.pt"
    torch.save(whole, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    return path


def opened(whole: object, tmp_path: Path, *, zipped: bool = True) -> Checkpoint:
    return open_checkpoint(saved(whole, tmp_path, zipped=zipped))


def refusal(path: Path, key: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path, key)
    message = str(caught.value)
    assert "\n" not in message
    assert "weights_only" not in message  # torch's advice is to let the file run code
    return message.removeprefix(f"{path}: ")


def rewritten(checkpoint: Checkpoint, mask: Mask, name: str = "y.pt") -> Any:
    path = checkpoint.path.with_name(name)
    with reserve(path) as output:
        checkpoint.write(output, mask)
    return torch.load(path, weights_only=True)


# --- which entry holds the weights: fault row 14


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_the_usual_wrappers_are_seen_through(key: str, tmp_path: Path) -> None:
    checkpoint = opened({"epoch": 1, key: state(), "ema": state(1)}, tmp_path)
    assert checkpoint.key == key
    assert checkpoint["fc.weight"].equal(state()["fc.weight"])


def test_of_two_wrappers_the_better_known_is_taken(tmp_path: Path) -> None:
    assert opened({"net": state(), "model": state(1)}, tmp_path).key == "model"


def test_another_entry_is_taken_on_request(tmp_path: Path) -> None:
    path = saved({"state_dict": state(), "state_dict_ema": state(1)}, tmp_path)
    assert open_checkpoint(path).key == "state_dict"
    checkpoint = open_checkpoint(path, "state_dict_ema")
    assert checkpoint["fc.weight"].equal(state(1)["fc.weight"])
    assert checkpoint.description == "PyTorch (zip), entry 'state_dict_ema'"


def test_an_entry_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    path = saved({"state_dict": state(), "state_dict_ema": state(1), "epoch": 2}, tmp_path)
    with pytest.raises(UsageError) as caught:
        open_checkpoint(path, "state_dict_emo")
    assert str(caught.value) == (
        f"{path}: no weights under 'state_dict_emo'; its entries with weights: state_dict, "
        "state_dict_ema; did you mean 'state_dict_ema' or 'state_dict'?"
    )
    with pytest.raises(UsageError, match="'epoch'; its entries with weights"):
        open_checkpoint(path, "epoch")


def test_a_plain_file_has_no_entries(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no weights under 'model'; it is a plain state dict"):
        open_checkpoint(saved(state(), tmp_path), "model")


def test_unknown_entries_are_listed_and_none_is_guessed(tmp_path: Path) -> None:
    path = saved({"teacher": state(), "student": state()}, tmp_path)
    assert refusal(path) == "choose an entry with --checkpoint-key: teacher, student"
    assert open_checkpoint(path, "student").key == "student"


@pytest.mark.parametrize(
    ("whole", "reason"),
    [
        ({"lr": 0.1, "epoch": 3}, "no weights in it, nor in one of its entries: 'lr', 'epoch'"),
        ({}, "no weights in it, nor in one of its entries: none"),
        ([torch.ones(2)], "holds a list, where a mapping of names was expected"),
        (torch.ones(2), "holds a Tensor, where a mapping of names was expected"),
        (3, "holds a int, where a mapping of names was expected"),
        (
            {0: torch.ones(2)},
            "expected tensor names of printable text, at most 512 characters; found 0",
        ),
        (
            {"a\x1b[31m\n": torch.ones(2)},
            "expected tensor names of printable text, at most 512 characters; found 'a\\x1b",
        ),
        (
            {"x" * 513: torch.ones(2)},
            "expected tensor names of printable text, at most 512 characters; found 'xxxx",
        ),
    ],
)
def test_a_file_without_a_state_dict_is_told_what_it_holds(
    whole: object, reason: str, tmp_path: Path
) -> None:
    for zipped in (True, False):
        assert refusal(saved(whole, tmp_path, zipped=zipped)).startswith(reason)


# --- fault row 5: code


class Canary:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return builtins.open, (str(self.path), "w")


class Command(Canary):
    def __reduce__(self) -> tuple[object, tuple[str]]:  # type: ignore[override]
        return os.system, (f"touch {self.path}",)


@ZIPPED
@pytest.mark.parametrize(
    ("kind", "asked"), [(Canary, r"io\.open|open"), (Command, r"posix\.system")]
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_file_is_named_and_never_run(
    kind: type[Canary], asked: str, zipped: bool, protocol: int, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    whole = {"state_dict": state(), "extra": kind(canary)}
    path = saved(whole, tmp_path, zipped=zipped, protocol=protocol)
    assert re.match(f"refused: .* code would have to run: it asks for .*({asked})", refusal(path))
    assert not canary.exists()


def test_a_bare_pickle_that_runs_code_is_not_run(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "x.pt"
    path.write_bytes(pickle.dumps(Command(canary), 2))
    assert refusal(path).startswith("refused: to read it, code would have to run")
    assert not canary.exists()


@ZIPPED
def test_a_whole_module_is_refused_with_the_way_to_convert_it(zipped: bool, tmp_path: Path) -> None:
    assert refusal(saved(torch.nn.Linear(2, 2), tmp_path, zipped=zipped)) == (
        "refused: to read it, code would have to run: it asks for torch.nn.modules.linear.Linear. "
        "Where it was made, save the weights alone: torch.save(model.state_dict(), PATH)"
    )


@ZIPPED
def test_what_stands_beside_the_weights_is_refused_by_name(zipped: bool, tmp_path: Path) -> None:
    whole = {"model": state(), "args": argparse.Namespace(lr=1), "best": np.ones(2)}
    message = refusal(saved(whole, tmp_path, zipped=zipped))
    assert re.search(r"it asks for argparse.Namespace, numpy.*multiarray._reconstruct", message)


@ZIPPED
def test_numpy_scalars_beside_the_weights_are_kept(zipped: bool, tmp_path: Path) -> None:
    beside = {"best": np.float64(0.5), "epoch": np.int64(3), "done": np.bool_(True)}
    path = saved({"model": state(), **beside}, tmp_path, zipped=zipped)
    prune(Request(path, tmp_path / "p.pt", tmp_path / "t.safetensors", 0.5))
    whole = load(tmp_path / "p.pt", form_of(tmp_path / "p.pt"))
    for name, value in beside.items():
        assert type(whole[name]) is type(value)
        assert whole[name] == value


def test_a_pickle_that_torch_does_not_read_is_told(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "x.pt", pickle_protocol=4)
    with pytest.raises(CheckpointError, match="a pickle of protocol 4 or newer, which torch"):
        open_checkpoint(tmp_path / "x.pt")


def test_a_tensor_without_elements_has_no_absurd_sides(tmp_path: Path) -> None:
    path = saved({"a.weight": torch.ones(2, 2), "b": torch.empty(0, 2**31, 2**31)}, tmp_path)
    assert refusal(path).endswith("b: shape [0, 2147483648, 2147483648] is that of no tensor")


def test_no_source_lets_a_file_run_code() -> None:
    # fault row 5: no way back to a pickle that runs code, not even one that nobody takes
    root = Path(ticketkit.__file__).parent
    sources = [*root.rglob("*.py"), *(root.parent / "examples").rglob("*.py")]
    sources += Path(__import__("ticketkit_plugins").__file__ or "").parent.rglob("*.py")
    assert len(sources) > 30
    for source in sources:
        text = source.read_text(encoding="utf-8")
        assert not re.search(r"weights_only\s*=\s*(?!True)", text), source
        assert text.count("torch.load(") == text.count("weights_only=True"), source
        assert not re.search(r"pickle\.loads?\(|jit\.load\(|add_safe_globals", text), source


# --- fault rows 3 and 8: damage, and tensors larger than their file


@ZIPPED
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(share: float, zipped: bool, tmp_path: Path) -> None:
    path = saved(state(), tmp_path, zipped=zipped)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert re.match("damaged or truncated|truncated or damaged", refusal(path))


@pytest.mark.parametrize("data", [{"a": 1}, [1, 2], "text"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_of_something_else_is_no_checkpoint(
    data: object, protocol: int, tmp_path: Path
) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(pickle.dumps(data, protocol))
    assert refusal(path) == "a pickle, but not one of torch.save"


@ZIPPED
@pytest.mark.parametrize("side", [1000, 10**6])
def test_an_expanded_tensor_is_refused(side: int, zipped: bool, tmp_path: Path) -> None:
    giant = {"x.weight": torch.ones(1).expand(side, side)}
    path = saved(giant, tmp_path, zipped=zipped)
    assert path.stat().st_size < 5000
    assert refusal(path) == (
        f"x.weight: shape [{side}, {side}] claims {4 * side**2:,} bytes, but 4 are stored "
        "(an expanded tensor)"
    )


def test_a_shape_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    def grow(name: str, data: bytes) -> bytes:
        return data.replace(b"QK\x00K\x06K\x05\x86", b"QK\x00K\x60K\x05\x86")

    path = rezip(saved({"x.weight": torch.ones(6, 5)}, tmp_path), tmp_path / "y.pt", grow)
    assert refusal(path).startswith("damaged or truncated: ")


def test_a_storage_that_reaches_into_its_neighbours_is_refused(tmp_path: Path) -> None:
    def grow(name: str, data: bytes) -> bytes:
        data = data.replace(b"cpuq\x06K\x1et", b"cpuq\x06M\xf4\x01t")
        return data.replace(b"QK\x00K\x06K\x05\x86q\x08", b"QK\x00K\x64K\x05\x86q\x08")

    whole = {"x.weight": torch.ones(6, 5), "y.weight": torch.ones(100, 5)}
    path = rezip(saved(whole, tmp_path), tmp_path / "y.pt", grow)
    assert refusal(path) == "its tensors claim 4,000 bytes, but 2,120 are stored"


@pytest.fixture(scope="module", params=[True, False], ids=["zip", "legacy"])
def whole_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    weights = {"a.weight": torch.ones(3, 3), "b": torch.nn.Parameter(torch.ones(1))}
    return saved(weights, tmp_path_factory.mktemp("whole"), zipped=request.param).read_bytes()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_happens_to_a_file_the_answer_is_one_of_ours(
    data: st.DataObject, whole_file: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.pt"
    damaged = bytearray(whole_file)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        checkpoint = open_checkpoint(path)
        checkpoint.digest()
    except TicketkitError as error:
        check_message(error)


# --- tensors of other kinds: fault rows 29 and 32


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: torch.ones(2, 2).to_sparse(), "sparse"),
        (lambda: torch.ones(2, 2, device="meta"), "meta"),
        (quantised, "quantised"),
    ],
)
def test_tensors_without_plain_values_are_listed_but_not_read(
    make: Any, kind: str, tmp_path: Path
) -> None:
    checkpoint = opened({"x": make(), "y.weight": torch.ones(2, 2)}, tmp_path)
    assert checkpoint.shapes["x"] == (2, 2)
    with pytest.raises(WeightsError, match=f"^x: a {kind} tensor has no plain values to read"):
        checkpoint.digest()


def test_nested_tensors_are_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are a prototype
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    assert refusal(saved({"x": nested}, tmp_path)) == "x: a nested tensor has no one shape"


def test_bits_are_those_of_the_values_and_not_of_a_view(tmp_path: Path) -> None:
    complexes = torch.tensor([1 + 2j, 3 - 4j])
    assert (raw_of(complexes.conj()) == raw_of(complexes.conj().resolve_conj())).all()
    assert raw_of(complexes).shape == (2, 2)
    assert (raw_of(complexes.conj().imag) == raw_of(-complexes.imag)).all()
    assert raw_of(torch.tensor(1.0)).shape == ()
    assert raw_of(torch.zeros(0, 3)).shape == (0, 3)


# --- written as it came


@ZIPPED
def test_the_type_order_and_attributes_of_every_mapping_stay(zipped: bool, tmp_path: Path) -> None:
    weights = state()
    whole = OrderedDict(
        {
            "epoch": 3,
            "model": weights,
            "optimizer": {"state": {0: {"step": torch.tensor(5.0)}}, "groups": [{"lr": 0.1}]},
            "names": ("a", None, 1.5, {"set"}),
            "ema": OrderedDict(state(1)),
        }
    )
    mask = Mask({"fc.weight": torch.zeros(5, 8)})
    written = rewritten(opened(whole, tmp_path, zipped=zipped), mask)
    assert type(written) is OrderedDict
    assert list(written) == list(whole)
    assert type(written["model"]) is OrderedDict
    assert list(written["model"]) == list(weights)
    assert written["model"]._metadata == weights._metadata  # type: ignore[attr-defined]
    assert written["epoch"] == 3
    assert written["names"] == whole["names"]
    assert written["optimizer"]["state"][0]["step"].equal(torch.tensor(5.0))
    assert written["model"]["fc.weight"].count_nonzero() == 0
    for name in set(weights) - set(mask):
        assert written["model"][name].equal(weights[name])
    assert written["ema"]["fc.weight"].equal(state(1)["fc.weight"])


def test_other_things_in_a_state_dict_stay_in_their_place(tmp_path: Path) -> None:
    whole = {"a.weight": torch.ones(2, 2), "extra_state": {"k": 1}, "b.weight": torch.ones(2, 2)}
    checkpoint = opened(whole, tmp_path)
    assert list(checkpoint) == ["a.weight", "b.weight"]
    written = rewritten(checkpoint, Mask({"a.weight": [[0, 1], [1, 0]]}))
    assert list(written) == list(whole)
    assert written["extra_state"] == {"k": 1}


@ZIPPED
def test_parameters_stay_parameters(zipped: bool, tmp_path: Path) -> None:
    weights = {
        "frozen": torch.nn.Parameter(torch.ones(2, 2), requires_grad=False),
        "free": torch.nn.Parameter(torch.ones(2, 2)),
        "leaf": torch.ones(2, 2, requires_grad=True),
        "plain": torch.ones(2, 2),
    }
    mask = Mask({name: [[0, 1], [1, 0]] for name in weights})
    written = rewritten(opened(weights, tmp_path, zipped=zipped), mask)
    for name, tensor in weights.items():
        assert type(written[name]) is type(tensor)
        assert written[name].requires_grad == tensor.requires_grad
        assert written[name].tolist() == [[0, 1], [1, 0]]


@ZIPPED
def test_tied_tensors_stay_tied(zipped: bool, tmp_path: Path) -> None:
    # fault row 31
    tied, spared = torch.ones(3, 2), torch.ones(4)
    whole = {"b.weight": tied, "x": spared, "a.weight": tied, "y": spared, "c": tied.clone()}
    checkpoint = opened(whole, tmp_path, zipped=zipped)
    assert checkpoint.aliases == {"a.weight": ("b.weight",), "x": ("y",)}
    mask = Mask({"a.weight": torch.eye(3, 2), "b.weight": torch.eye(3, 2)})
    written = rewritten(checkpoint, mask)
    for one, other in [("a.weight", "b.weight"), ("x", "y")]:
        assert written[one].data_ptr() == written[other].data_ptr()
    assert written["c"].data_ptr() != written["a.weight"].data_ptr()
    assert written["a.weight"].equal(torch.eye(3, 2))
    assert written["c"].equal(torch.ones(3, 2))


def test_views_of_one_storage_that_differ_are_not_tied(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    checkpoint = opened({"rows": whole[:2], "all": whole, "turned": whole.t()}, tmp_path)
    assert checkpoint.aliases == {}
    written = rewritten(checkpoint, Mask({"rows": torch.zeros(2, 4)}))
    assert written["rows"].equal(torch.zeros(2, 4))
    assert written["all"].equal(whole)
    assert written["turned"].equal(whole.t())


@ZIPPED
def test_the_layout_in_memory_stays(zipped: bool, tmp_path: Path) -> None:
    # fault row 30
    weights = {
        "last": torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
        "turned": torch.randn(3, 4).t(),
        "plain": torch.randn(3, 4),
    }
    mask = Mask({name: torch.rand(tensor.shape) < 0.5 for name, tensor in weights.items()})
    written = rewritten(opened(weights, tmp_path, zipped=zipped), mask)
    for name, tensor in weights.items():
        assert written[name].stride() == tensor.stride()
        assert written[name].equal(torch.where(mask[name], tensor, 0))


@ZIPPED
@pytest.mark.parametrize("name", ["wörk 模 😀.pt", "a b.pt", os.fsdecode(b"latin-\xf6.pt")])
def test_any_name_of_a_file_will_do(name: str, zipped: bool, tmp_path: Path) -> None:
    # fault row 55
    path = saved(state(), tmp_path, zipped=zipped).rename(tmp_path / name)
    assert open_checkpoint(path)["fc.weight"].equal(state()["fc.weight"])


# --- converted


def converted(checkpoint: Checkpoint, mask: Mask) -> tuple[dict[str, torch.Tensor], list[str]]:
    path = checkpoint.path.with_name("y.safetensors")
    with reserve(path) as output:
        left = checkpoint.write(output, mask)
    return load_file(path), left


def test_a_conversion_lists_what_it_leaves_behind(tmp_path: Path) -> None:
    weights = state()
    whole = {"epoch": 3, "state_dict": {**weights, "extra_state": "x"}, "optimizer": {"lr": 1}}
    found, left = converted(opened(whole, tmp_path), Mask({"fc.weight": torch.zeros(5, 8)}))
    assert left == ["extra_state", "epoch", "optimizer"]
    assert set(found) == set(weights)
    assert found["fc.weight"].count_nonzero() == 0
    assert found["stem.weight"].equal(weights["stem.weight"])


def test_a_conversion_unties_and_lays_out_what_safetensors_cannot_hold(tmp_path: Path) -> None:
    tied = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    checkpoint = opened({"a.weight": tied, "b.weight": tied}, tmp_path)
    found, left = converted(checkpoint, Mask({}))
    assert left == []
    assert found["a.weight"].equal(tied)
    assert found["b.weight"].equal(tied)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("x", lambda: torch.ones(2, 2).to_sparse()),
        ("x", lambda: torch.ones(2, dtype=torch.complex128)),
        ("__metadata__", lambda: torch.ones(2)),
    ],
)
def test_what_cannot_be_converted_is_named(name: str, make: Any, tmp_path: Path) -> None:
    checkpoint = opened({"a": torch.ones(2), name: make()}, tmp_path)
    with pytest.raises(CheckpointError, match=f"safetensors cannot hold {name}; keep the form"):
        converted(checkpoint, Mask({}))
    assert not (tmp_path / "y.safetensors").exists()


def test_the_conversion_has_the_digest_of_its_source(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save(state(), tmp_path, "wrapped-zip"))
    converted(checkpoint, Mask({}))
    assert open_checkpoint(tmp_path / "y.safetensors").digest() == checkpoint.digest()
