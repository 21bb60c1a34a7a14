"""Pictures in files."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets.folder import default_loader

from ticketkit import ImageFiles, InputError

PIXELS = np.random.RandomState(0).randint(0, 256, (9, 7, 4)).astype(np.uint8)
FORMS = {
    "grey.png": Image.fromarray(PIXELS[..., 0]),
    "bits.png": Image.fromarray(PIXELS[..., 0]).convert("1"),
    "colour.png": Image.fromarray(PIXELS[..., :3]),
    "colour.jpg": Image.fromarray(PIXELS[..., :3]),
    "grey.jpg": Image.fromarray(PIXELS[..., 0]),
    "cmyk.jpg": Image.new("CMYK", (7, 9), (9, 99, 199, 50)),
    "alpha.png": Image.fromarray(PIXELS),
    "palette.png": Image.fromarray(PIXELS[..., :3]).quantize(16),
    "palette.gif": Image.fromarray(PIXELS[..., :3]).quantize(16),
    "colour.bmp": Image.fromarray(PIXELS[..., :3]),
    "colour.webp": Image.fromarray(PIXELS[..., :3]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, image in FORMS.items():
        image.save(tmp_path / name)
    return tmp_path


def files(folder: Path, *names: str) -> ImageFiles:
    return ImageFiles(folder, names, [0] * len(names), 2)


@pytest.mark.parametrize("name", FORMS)
def test_pictures_of_any_form_become_rgb_as_torchvision_reads_them(name: str, folder: Path) -> None:
    picture, target = files(folder, name)[0]
    assert (picture.dtype, tuple(picture.shape), target) == (torch.uint8, (3, 9, 7), 0)
    assert np.array_equal(
        picture.permute(1, 2, 0).numpy(), np.asarray(default_loader(folder / name))
    )
    assert picture.is_contiguous()


def test_a_picture_without_loss_is_as_it_was(folder: Path) -> None:
    picture, _ = files(folder, "colour.png")[0]
    assert np.array_equal(picture.permute(1, 2, 0).numpy(), PIXELS[..., :3])


def test_odd_metadata_is_no_warning(folder: Path) -> None:
    with Image.open(folder / "palette.png") as image:
        image.save(folder / "clear.png", transparency=b"\x00\x80")
    with Image.open(folder / "clear.png") as image, pytest.warns(UserWarning, match="Transparency"):
        image.convert("RGB")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert files(folder, "clear.png")[0][0].shape == (3, 9, 7)


def test_it_is_a_data_set_that_workers_can_be_given(folder: Path) -> None:
    made = ImageFiles(folder, FORMS, list(range(len(FORMS))), 99)
    again = pickle.loads(pickle.dumps(made))
    assert len(again) == len(FORMS)
    assert again.digest() == made.digest()
    assert [target for _, target in again] == list(range(len(FORMS)))


# Fault row 46
def test_a_picture_that_cannot_be_read_is_told_by_index_and_path(folder: Path) -> None:
    whole = (folder / "colour.png").read_bytes()
    bad = {"empty.png": b"", "text.jpg": b"no picture", "half.png": whole[: len(whole) // 2]}
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    (folder / "folder.png").mkdir()
    for name in (*bad, "folder.png", "none.png", "new\nline.png"):
        with pytest.raises(InputError) as caught:
            files(folder, "colour.png", name)[1]
        told = str(caught.value)
        assert told.startswith(f"picture 1, {folder}/{name}: ".replace("\n", "\\n"))
        assert "\n" not in told


def test_a_giant_that_a_small_file_claims_to_be_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with pytest.raises(
        InputError, match=r"picture 0, .*: cannot be read: Image size \(63 pixels\)"
    ):
        files(folder, "colour.png")[0]


def test_no_pictures_or_classes_that_there_are_not_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="there are no pictures"):
        ImageFiles(folder, [], [], 2)
    for target in (-1, 2):
        with pytest.raises(InputError, match=f"item 1 has class {target}, of 0 to 1"):
            ImageFiles(folder, ["a", "b"], [0, target], 2)


def test_the_digest_tells_other_files_other_classes_and_other_sizes(folder: Path) -> None:
    names = ["colour.png", "grey.png"]
    made = ImageFiles(folder, names, [0, 1], 2)
    others = [
        ImageFiles(folder, names, [0, 0], 2),
        ImageFiles(folder, names[::-1], [0, 1], 2),
        ImageFiles(folder, names[:1], [0], 2),
        ImageFiles(folder, ["colour.png", "grey.jpg"], [0, 1], 2),
    ]
    assert made.digest() == ImageFiles(folder, names, [0, 1], 9).digest()
    assert len({made.digest(), *(other.digest() for other in others)}) == 5
    before = made.digest()
    with (folder / "grey.png").open("ab") as file:
        file.write(b"1")
    assert made.digest() != before


def test_the_digest_does_not_depend_on_where_the_folder_is(folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    os.utime(moved / "grey.png", (0, 0))
    digest = files(moved, "grey.png").digest()
    moved.rename(folder)
    assert files(folder, "grey.png").digest() == digest


# Fault row 46
def test_the_digest_misses_what_is_missing(folder: Path) -> None:
    with pytest.raises(InputError, match=r"^picture 1, .*/none\.png: no such file$"):
        files(folder, "grey.png", "none.png").digest()
    for name in ("a\0b.png", "\ud800.png"):
        with pytest.raises(InputError, match=r"^picture 0, .*png: cannot be read: "):
            files(folder, name).digest()
        with pytest.raises(InputError, match=r"^picture 0, .*png: cannot be read: "):
            files(folder, name)[0]


def test_pictures_of_more_than_eight_bits_are_refused_rather_than_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 20000, np.uint16)).save(tmp_path / "deep.png")
    data = ImageFiles(tmp_path, ["deep.png"], [0], 2)
    with pytest.raises(InputError, match=r"picture 0, .*deep\.png: .*8 bits a channel"):
        data[0]
