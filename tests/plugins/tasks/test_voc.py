"""Task `voc`, on tiny files in its real format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets as sets
from PIL import Image

import ticketkit
from tests.plugins.tasks.real_files import jpeg, write
from ticketkit.cli import main
from ticketkit.datasets import data_of
from ticketkit.networks import network_of
from ticketkit.testing import TaskLaws
from ticketkit_plugins.tasks.voc import Voc

PALETTE = [value for index in range(256) for value in (index, 255 - index, index // 2)]
SIZES = [(20, 26), (26, 20), (20, 26), (23, 31), (18, 18), (40, 22), (20, 26)]
TRAIN, VAL = range(4), range(4, 7)


def write_voc(root: Path) -> None:
    """Photos of several sizes, maps with a palette as the challenge has them, lists."""
    folder = root / "VOCdevkit" / "VOC2012"
    for number, (height, width) in enumerate(SIZES):
        lots = np.random.RandomState(number)
        classes = lots.choice([0, 1, 7, 20, 255], (height, width)).astype(np.uint8)
        for name in ("JPEGImages", "SegmentationClass"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        grey = (classes % 255 * 12).astype(np.uint8)
        Image.fromarray(np.stack([grey] * 3, 2)).save(folder / f"JPEGImages/2007_{number}.jpg")
        made = Image.fromarray(classes)
        made.putpalette(PALETTE)
        made.save(folder / f"SegmentationClass/2007_{number}.png")
    for split, numbers in (("train", TRAIN), ("val", VAL)):
        names = "".join(f"2007_{number}\n" for number in numbers)
        write(folder / "ImageSets" / "Segmentation" / f"{split}.txt", names)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_voc(tmp_path / "data")
    return tmp_path / "data"


class TestVoc(TaskLaws):
    part = Voc()

    @pytest.fixture(autouse=True)
    def _files(self, root: Path) -> None:
        type(self).root = root


def test_the_photos_and_maps_are_those_that_torchvision_reads(root: Path) -> None:
    splits = Voc().splits(root)
    for name, theirs in (("train", "train"), ("test", "val")):
        expected = sets.VOCSegmentation(str(root), image_set=theirs)
        assert len(splits[name]) == len(expected)
        for (picture, classes), (photo, mapped) in zip(
            (splits[name][i] for i in range(len(expected))), expected, strict=True
        ):
            assert np.array_equal(picture.permute(1, 2, 0), np.asarray(photo.convert("RGB")))
            assert np.array_equal(classes, np.asarray(mapped))


def test_it_trains_two_steps_and_is_measured_on_pictures_of_any_size(root: Path) -> None:
    data = data_of(Voc(), root)
    model = network_of("fcn_resnet10:width=8,stem=small", 21)
    schedule = "small:steps=2,epochs=0,batch=2,augment=crop,size=16,batchnorm=recalibrate"
    fitted = ticketkit.fit(model, data.train, schedule=schedule, stage="finetune")
    assert fitted.steps == 2
    whole, alone = (
        ticketkit.evaluate(model, data.test, ["miou"], batch=batch)["miou"] for batch in (8, 1)
    )
    assert whole == alone
    assert whole["miou"].n == len(VAL)


def test_a_ticket_of_a_classifier_is_transferred_to_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = network_of("resnet10:width=8,stem=small", 10)
    torch.save(model.state_dict(), "m.pt")
    assert main(["prune", "m.pt", "--sparsity", "0.8", "--ticket", "t.safetensors", "-q"]) == 0
    words = ["--task", "voc", "--data", str(root), "--arch", "resnet10:width=8,stem=small"]
    fit = ["--fit", "paper:steps=2,batch=2,size=16", "--mode", "finetune", "--attack", "steps=1"]
    assert main(["transfer", "t.safetensors", "m.pt", *words, *fit]) == 0
    printed = capsys.readouterr().out
    assert "4 training and 3 test pictures" in printed
    assert "adversarial.pgd1-8" in printed


# Fault row 46
def test_data_that_is_not_there_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(ticketkit.InputError, match=r"no data of voc: .*VOC2012; --data"):
        Voc().splits(tmp_path)


# Fault row 46
@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("JPEGImages/2007_1.jpg", b"no jpeg", "picture 1, .*2007_1.jpg: no picture of a form"),
        ("SegmentationClass/2007_1.png", b"", "picture 1, .*2007_1.png: no picture of a form"),
        ("SegmentationClass/2007_1.png", None, "picture 1, .*2007_1.png: no such file"),
        ("JPEGImages/2007_1.jpg", jpeg(3), "a map of 26 x 20 pixels .* for a picture of 20 x 21"),
    ],
)
def test_a_file_that_is_damaged_is_named_with_its_place(
    name: str, data: bytes | None, words: str, root: Path
) -> None:
    path = root / "VOCdevkit" / "VOC2012" / name
    path.unlink() if data is None else path.write_bytes(data)
    train = Voc().splits(root)["train"]
    with pytest.raises(ticketkit.InputError, match=words):
        train[1]


def test_a_class_that_there_is_not_is_told(root: Path) -> None:
    path = root / "VOCdevkit/VOC2012/SegmentationClass/2007_1.png"
    Image.fromarray(np.full((26, 20), 21, np.uint8)).save(path)
    with pytest.raises(ticketkit.InputError, match=r"classes are 0 to 20, or 255 .* found 21"):
        Voc().splits(root)["train"][1]


def test_another_list_of_files_is_another_digest(root: Path) -> None:
    before = Voc().splits(root)["train"].digest()
    assert Voc().splits(root)["train"].digest() == before
    path = root / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
    path.write_text("2007_0\n2007_1\n")
    assert Voc().splits(root)["train"].digest() != before


def test_another_map_is_another_digest_and_a_missing_one_is_told(root: Path) -> None:
    path = root / "VOCdevkit/VOC2012/SegmentationClass/2007_1.png"
    train = Voc().splits(root)["train"]
    before = train.digest()
    Image.fromarray(np.zeros((26, 20), np.uint8)).save(path)
    assert train.digest() != before
    path.unlink()
    with pytest.raises(ticketkit.InputError, match=r"picture 1, .*/2007_1\.png: no such file"):
        train.digest()


def test_a_schedule_that_does_not_crop_is_refused_in_a_line(root: Path) -> None:
    train = data_of(Voc(), root).train
    model = network_of("fcn_resnet10:width=8,stem=small", 21)
    for rest in ("", ",batchnorm=recalibrate,augment=none"):
        with pytest.raises(ticketkit.InputError, match=r"differ in shape.* a schedule that crops"):
            ticketkit.fit(model, train, schedule=f"small:epochs=1{rest}", stage="finetune")
