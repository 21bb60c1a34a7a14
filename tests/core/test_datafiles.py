"""Files that data sets come with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from ticketkit.datafiles import check_classes, labelled, read_lines, read_mat, reading
from ticketkit.errors import InputError

IMAGES = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)


def test_lines_are_read_without_what_surrounds_them(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(" one\r\n\n two words \nÜ\n".encode())
    assert read_lines(tmp_path / "list") == ["one", "two words", "Ü"]


def test_arrays_are_read_without_axes_of_length_1_but_one(tmp_path: Path) -> None:
    rows = np.array([[3, 1, 2]], np.uint16)
    savemat(tmp_path / "m.mat", {"rows": rows, "one": np.array([[7]]), "other": rows})
    found, one = read_mat(tmp_path / "m.mat", "rows", "one")
    assert (found.tolist(), one.tolist()) == ([3, 1, 2], [7])
    with pytest.raises(InputError, match=r"m\.mat: not as it was expected: KeyError: 'none'"):
        read_mat(tmp_path / "m.mat", "none")


def test_pictures_go_with_their_labels(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"1")
    made = labelled(tmp_path / "p", IMAGES, [1, 0], 2)
    assert np.array_equal(made.images.numpy(), IMAGES)
    assert made.targets.tolist() == [1, 0]
    assert made.targets.dtype == torch.int64


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (IMAGES, [0, 2], "item 1 has class 2, of 0 to 1"),
        (IMAGES, [-1, 0], "item 0 has class -1"),
        (IMAGES, [0], "targets are int64"),
        (IMAGES, ["a", "b"], "labels are whole numbers"),
        (IMAGES, [0.0, 1.0], "labels are whole numbers"),
        (IMAGES[0], [0, 1], "images are uint8"),
        (IMAGES.astype(np.float32), [0, 1], "images are uint8"),
        (None, [0, 1], "TypeError"),
    ],
)
def test_what_are_no_pictures_with_classes_is_told_with_the_file(
    images: Any, labels: Any, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "batch"
    path.write_bytes(b"1")
    with pytest.raises(InputError, match=told) as caught, reading(path):
        labelled(path, images, labels, 2)
    assert "\n" not in str(caught.value)


# Fault row 46
def test_whatever_goes_wrong_with_a_file_is_a_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"1")
    with pytest.raises(InputError, match=r"none: no such file$"), reading(tmp_path / "none"):
        pass
    told = r"there: not as it was expected: IndexError: 1\\n2$"
    with pytest.raises(InputError, match=told), reading(tmp_path / "there"):
        raise IndexError("1\n2")
    with pytest.raises(InputError, match=r"^mine$"), reading(tmp_path / "there"):
        raise InputError("mine")


def test_classes_are_counted(tmp_path: Path) -> None:
    check_classes(tmp_path, 3, 3)
    with pytest.raises(InputError, match=r": expected 3 classes, found 2$"):
        check_classes(tmp_path, 2, 3)
