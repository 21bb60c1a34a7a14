"""What a legacy file claims to hold, told before anything is allocated."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from tests.samples import little_memory, quantised, save, state
from ticketkit import CheckpointError, open_checkpoint
from ticketkit.claims import check_claims

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def legacy(folder: Path, *names: object) -> Path:
    """A legacy file, by hand, that names these storages and has no bytes for any."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> object:
            return obj[1] if isinstance(obj, tuple) and obj[:1] == ("named",) else None

    file = io.BytesIO()
    for each in (MAGIC, PROTOCOL, {"little_endian": True}):
        pickle.dump(each, file, 2)
    Pickler(file, 2).dump(OrderedDict({str(i): ("named", name) for i, name in enumerate(names)}))
    pickle.dump([], file, 2)
    path = folder / "x.pt"
    path.write_bytes(file.getvalue())
    return path


def storage(length: object, *rest: object, key: str = "7") -> tuple[object, ...]:
    return ("storage", torch.FloatStorage, key, "cpu", length, *(rest or (None,)))


@pytest.mark.parametrize("length", [10**4, 2**31, 2**40, 2**63])
def test_a_storage_that_cannot_be_in_the_file_is_refused(length: int, tmp_path: Path) -> None:
    # fault row 8
    path = legacy(tmp_path, storage(3), storage(3), storage(length, key="8"))
    with little_memory(), pytest.raises(CheckpointError) as caught:
        check_claims(path)
    size = path.stat().st_size
    assert str(caught.value) == (
        f"{path}: its storages claim {length + 3:,} numbers or more, but the file has {size} bytes"
    )
    with pytest.raises(CheckpointError, match="its storages claim"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    "name",
    [storage(3, (1, 2)), storage(3, "x"), storage("3"), storage(None), "7", 7, ("storage", 3)],
)
def test_a_name_whose_length_is_not_to_be_seen_is_refused(name: object, tmp_path: Path) -> None:
    path = legacy(tmp_path, name)
    with pytest.raises(pickle.UnpicklingError):
        check_claims(path)
    with pytest.raises(CheckpointError, match=r"it names a storage as torch\.save never does"):
        open_checkpoint(path)


@pytest.mark.parametrize("form", ["legacy", "wrapped-legacy"])
def test_what_torch_saves_passes(form: str, tmp_path: Path) -> None:
    odd = {
        "half": torch.ones(3).half(),
        "view": torch.arange(12.0).reshape(3, 4)[:, 1:],
        "empty": torch.empty(0),
        "quantised": quantised(),
        "sparse": torch.eye(3).to_sparse(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    check_claims(save({**state(), **odd}, tmp_path, form))


def test_a_storage_that_many_tensors_view_counts_once(tmp_path: Path) -> None:
    whole = torch.arange(1000.0)
    views = {str(i): whole[100 * i : 100 * (i + 1)].reshape(10, 10) for i in range(10)}
    halves = {name: tensor.half() for name, tensor in state().items()}
    flat = torch.nn.LSTM(20, 30, 2, bidirectional=True).state_dict()
    for each in (views, flat, {"state_dict": halves, "state_dict_ema": halves, "best": halves}):
        path = save(each, tmp_path, "legacy")  # type: ignore[arg-type]
        check_claims(path)
        assert len(open_checkpoint(path))


def test_what_is_no_pickle_is_left_to_torch(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for content in (b"", b"\x80\x02", b"\x80\x02S'\\q'\n.", b"\x80\x02}q\x00."):
        path.write_bytes(content)
        check_claims(path)
