"""The batches of CIFAR: nothing in them is run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.plugins.tasks.real_files import pixels, python2_pickle
from ticketkit import InputError
from ticketkit.cifar import cifar_pictures

DATA = pixels(0, 2, 3072)


def read(path: Path, value: Any) -> Any:
    path.write_bytes(value if isinstance(value, bytes) else python2_pickle(value))
    return cifar_pictures(path.parent, [path.name], "labels", 3)


def test_batches_follow_one_another(tmp_path: Path) -> None:
    for number in range(2):
        batch = {"data": pixels(number, 2, 3072), "labels": [number, 2]}
        (tmp_path / str(number)).write_bytes(python2_pickle(batch))
    made = cifar_pictures(tmp_path, ["0", "1"], "labels", 3)
    assert made.targets.tolist() == [0, 2, 1, 2]
    # A row of 3072 is all of red, then of green, then of blue.
    red = pixels(1, 2, 3072)[1, :1024].reshape(32, 32)
    assert np.array_equal(made.images[3, 0].numpy(), red)


class Canary:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


# Fault rows 5, 46
def test_a_batch_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    for protocol in (0, 2, 4):
        batch = {"data": DATA, "labels": Canary(tmp_path / "made")}
        with pytest.raises(InputError, match=r"batch: not as it was expected: UnpicklingError: .*"):
            read(tmp_path / "batch", pickle.dumps(batch, protocol))
    told = r"it holds (posix|nt)\.mkdir, and is not loaded"
    with pytest.raises(InputError, match=told):
        read(tmp_path / "batch", pickle.dumps(Canary(tmp_path / "made"), 2))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cnumpy\nndarray\n((I1000000000000\nttR.",  # an array of a terabyte
        b"cnumpy\ndtype\n(S'O8'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntS'b'\ntR.",
        b"\x80\x02]q\x00h\x00a.",
        b"",
        b"\x80\x02.",
    ],
)
def test_pickles_by_hand_are_refused(code: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path / "batch", code)
    assert str(caught.value).startswith(f"{tmp_path / 'batch'}: ")
    assert "\n" not in str(caught.value)


def test_a_number_s_kind_is_not_changed_for_everybody(tmp_path: Path) -> None:
    swapped = b"cnumpy\ndtype\n(S'i4'\nI0\nI1\ntR(I3\nS'>'\nNNNI-1\nI-1\nI0\ntb."
    with pytest.raises(InputError):
        read(tmp_path / "batch", swapped)
    assert np.dtype("i4") == np.int32
    assert np.dtype("i4").isnative


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        {"data": DATA},
        {"labels": [0, 1]},
        {"data": DATA[:, :3071], "labels": [0, 1]},
        {"data": DATA.astype(np.float32), "labels": [0, 1]},
        {"data": DATA, "labels": [0]},
        {"data": DATA, "labels": [0, 3]},
        {"data": DATA, "labels": ["a", "b"]},
        {"data": "text", "labels": [0, 1]},
    ],
    ids=str,
)
def test_what_is_no_batch_is_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path / "batch", value)
    assert str(caught.value).startswith(f"{tmp_path / 'batch'}: ")
