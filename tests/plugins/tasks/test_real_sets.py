"""The tasks on real data sets, each on tiny files in its real format."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torchvision.datasets as sets
from torch import nn

import ticketkit
from tests.plugins.tasks.conftest import Made
from tests.plugins.tasks.real_files import WRITERS, folder, image_folders
from ticketkit.augmenting import as_evaluated
from ticketkit.datasets import data_of
from ticketkit.presets import schedule_of
from ticketkit.testing import TaskLaws

IN_MEMORY = ["cifar10", "cifar100", "fashion-mnist", "svhn"]
CROPS = "small:steps=2,augment=crop,size=16,batch=4"


def task(spec: str) -> ticketkit.Task:
    return cast("ticketkit.Task", ticketkit.resolve("task", spec))


class Laws(TaskLaws):
    """The laws, on files that are made once."""

    @pytest.fixture(autouse=True)
    def _files(self, made: Made) -> None:
        type(self).root = made(ticketkit.spec_of(self.part))


class TestAircraft(Laws):
    part = task("aircraft")


class TestBirdsnap(Laws):
    part = task("birdsnap")


class TestCaltech101(Laws):
    part = task("caltech101")


class TestCaltech256(Laws):
    part = task("caltech256")


class TestCars(Laws):
    part = task("cars")


class TestCifar10(Laws):
    part = task("cifar10")


class TestCifar100(Laws):
    part = task("cifar100")


class TestDtd(Laws):
    part = task("dtd")


class TestFashionMnist(Laws):
    part = task("fashion-mnist")


class TestFlowers(Laws):
    part = task("flowers")


class TestFolder(Laws):
    part = task("folder:path=mine")


class TestFood(Laws):
    part = task("food")


@pytest.mark.slow
class TestImagenet(Laws):
    part = task("imagenet")


class TestPets(Laws):
    part = task("pets")


class TestSun397(Laws):
    part = task("sun397")


class TestSvhn(Laws):
    part = task("svhn")


Item = tuple[bytes, tuple[int, ...], int]


def items(dataset: Any) -> list[Item]:
    """Pixels, shape and class of each item of one of our sets."""
    return [(i.numpy().tobytes(), tuple(i.shape), int(t)) for i, t in dataset]


def theirs(dataset: Any) -> list[Item]:
    """The same of one of torchvision's, read as everybody does."""
    found = []
    for image, target in dataset:
        array = np.asarray(image if image.mode == "L" else image.convert("RGB"))
        planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        found.append((planes.tobytes(), planes.shape, int(target)))
    return found


def firsts(found: list[Item], train: int, test: int | None = None) -> dict[str, list[Item]]:
    """The first of each class, and the others."""
    seen: Counter[int] = Counter()
    splits: dict[str, list[Item]] = {"train": [], "test": []}
    for item in found:
        place = seen[item[2]]
        seen[item[2]] += 1
        if place < train:
            splits["train"].append(item)
        elif test is None or place < train + test:
            splits["test"].append(item)
    return splits


def _both(reads: Callable[[str], Any], train: str = "train", test: str = "test") -> Any:
    return {"train": theirs(reads(train)), "test": theirs(reads(test))}


def _dtd(root: Path) -> dict[str, list[Item]]:
    # The classes of a list that lacks some are counted otherwise: the folders' names tell them.
    words = sorted(path.name for path in (root / "dtd/dtd/images").iterdir())
    found = {}
    for split in ("train", "val", "test"):
        dataset = sets.DTD(root, split)
        renamed = [words.index(word) for word in dataset.classes]
        found[split] = [(p, s, renamed[t]) for p, s, t in theirs(dataset)]
    return {"train": found["train"] + found["val"], "test": found["test"]}


def _birdsnap(root: Path) -> dict[str, list[Item]]:
    train, test = (sets.ImageFolder(root / "birdsnap" / split) for split in ("train", "test"))
    renamed = [train.classes.index(name) for name in test.classes]
    found = [(p, s, renamed[t]) for p, s, t in theirs(test)]
    return {"train": theirs(train), "test": found}


def _flowers(root: Path) -> dict[str, list[Item]]:
    train, val, test = (theirs(sets.Flowers102(root, split)) for split in ("train", "val", "test"))
    return {"train": train + val, "test": test}


def _sun397(root: Path) -> dict[str, list[Item]]:
    dataset = sets.SUN397(root)  # which has no order of its own
    order = sorted(range(len(dataset)), key=lambda place: str(dataset._image_files[place]))
    whole = theirs(dataset)
    by_class = sorted((whole[place] for place in order), key=lambda item: item[2])
    return firsts(by_class, 50, 50)


ORACLES: dict[str, Callable[[Path], dict[str, list[Item]]]] = {
    "aircraft": lambda root: _both(lambda s: sets.FGVCAircraft(root, s), "trainval"),
    "birdsnap": _birdsnap,
    "caltech101": lambda root: firsts(theirs(sets.Caltech101(root)), 30),
    "caltech256": lambda root: firsts(theirs(sets.Caltech256(str(root))), 60),
    "cars": lambda root: _both(lambda s: sets.StanfordCars(root, s)),
    "cifar10": lambda root: _both(lambda s: sets.CIFAR10(root, s == "train")),
    "cifar100": lambda root: _both(lambda s: sets.CIFAR100(root, s == "train")),
    "dtd": _dtd,
    "fashion-mnist": lambda root: _both(lambda s: sets.FashionMNIST(root, s == "train")),
    "flowers": _flowers,
    "folder:path=mine": lambda root: _both(lambda s: sets.ImageFolder(root / "mine" / s)),
    "food": lambda root: _both(lambda s: sets.Food101(root, s)),
    "imagenet": lambda root: _both(
        lambda s: sets.ImageFolder(root / "imagenet" / s), "train", "val"
    ),
    "pets": lambda root: _both(lambda s: sets.OxfordIIITPet(root, s), "trainval"),
    "sun397": _sun397,
    "svhn": lambda root: _both(lambda s: sets.SVHN(root, s)),
}


@pytest.fixture
def any_md5(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision takes our small files for the real ones."""
    for module in (sets.cifar, sets.flowers102, sets.svhn):
        monkeypatch.setattr(module, "check_integrity", lambda path, *_: Path(path).is_file())


@pytest.mark.usefixtures("any_md5")
@pytest.mark.parametrize("spec", WRITERS)
def test_torchvision_reads_the_same_pictures_and_classes(spec: str, made: Made) -> None:
    found = task(spec).splits(made(spec))
    expected = ORACLES[spec](made(spec))
    for split in ("train", "test"):
        assert items(found[split]) == expected[split]


@pytest.mark.parametrize("spec", IN_MEMORY)
def test_small_pictures_are_in_memory(spec: str, made: Made) -> None:
    for found in task(spec).splits(made(spec)).values():
        assert isinstance(found, ticketkit.Pictures)


@pytest.mark.parametrize(
    ("spec", "train", "test"),
    [
        ("caltech101", {0: 30, 1: 30, 2: 30}, {0: 3, 1: 1}),
        ("caltech256", {0: 60, 256: 60}, {0: 3, 256: 1}),
        ("sun397", {0: 50, 1: 50}, {0: 50, 1: 2}),
    ],
)
def test_sets_without_splits_are_split_by_count(
    spec: str, train: dict[int, int], test: dict[int, int], made: Made
) -> None:
    found = cast("dict[str, ticketkit.ImageFiles]", task(spec).splits(made(spec)))
    counts = {split: Counter(each.targets.tolist()) for split, each in found.items()}
    others = range(task(spec).classes)
    assert counts["train"] == {target: train.get(target, 1) for target in others}
    assert counts["test"] == test


@pytest.mark.parametrize("spec", WRITERS)
def test_it_trains_two_steps_and_is_evaluated(spec: str, made: Made) -> None:
    data = data_of(task(spec), made(spec))
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(data.shape[0], 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    head = nn.Linear(8, data.classes)
    model = nn.Sequential(body, nn.Flatten(), head)
    before = head.weight.detach().clone()
    done = ticketkit.fit(model, data.train, schedule=CROPS)
    assert done.steps == 2
    assert not torch.equal(before, head.weight)
    test = as_evaluated(data.test, schedule_of(CROPS, "pretrain"))
    assert ticketkit.evaluate(model, test, ["accuracy"])["accuracy"]["top1"].n == len(test)


# Fault row 46
@pytest.mark.parametrize("spec", WRITERS)
def test_without_its_data_it_is_a_line(spec: str, tmp_path: Path) -> None:
    part = task(spec)
    with pytest.raises(ticketkit.InputError) as caught:
        data_of(part, tmp_path / "nothing")
    told = str(caught.value)
    assert told.startswith(f"no data of {part.name}: there is no {tmp_path / 'nothing'}/")
    offered = "--download fetches it" in told
    assert offered == (part.name not in ("birdsnap", "cars", "folder", "imagenet"))
    assert "\n" not in told
    assert not (tmp_path / "nothing").exists()


DAMAGED = [
    ("aircraft", "fgvc-aircraft-2013b/data/variants.txt"),
    ("aircraft", "fgvc-aircraft-2013b/data/images_variant_trainval.txt"),
    ("cars", "stanford_cars/devkit/cars_train_annos.mat"),
    ("cars", "stanford_cars/cars_test_annos_withlabels.mat"),
    ("cifar10", "cifar-10-batches-py/data_batch_3"),
    ("cifar10", "cifar-10-batches-py/test_batch"),
    ("cifar100", "cifar-100-python/train"),
    ("dtd", "dtd/dtd/labels/train1.txt"),
    ("fashion-mnist", "FashionMNIST/raw/train-images-idx3-ubyte"),
    ("fashion-mnist", "FashionMNIST/raw/t10k-labels-idx1-ubyte"),
    ("flowers", "flowers-102/imagelabels.mat"),
    ("flowers", "flowers-102/setid.mat"),
    ("food", "food-101/meta/test.json"),
    ("pets", "oxford-iiit-pet/annotations/test.txt"),
    ("sun397", "SUN397/ClassName.txt"),
    ("svhn", "test_32x32.mat"),
]


# Fault row 46
@pytest.mark.parametrize("how", ["empty", "half", "garbage", "missing"])
@pytest.mark.parametrize(("spec", "name"), DAMAGED)
def test_a_damaged_file_is_named(
    spec: str, name: str, how: str, made: Made, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(made(spec), tmp_path / "all"))
    whole = (root / name).read_bytes()
    data = {"empty": b"", "half": whole[: len(whole) // 2], "garbage": b"\xff\x00 garbage\n"}
    if how == "missing":
        (root / name).unlink()
        (root / f"{name}.gz").unlink(missing_ok=True)
    else:
        (root / name).write_bytes(data[how])
    with pytest.raises(ticketkit.InputError) as caught:
        data_of(task(spec), root)
    told = str(caught.value)
    assert str(root / name) in told
    assert "\n" not in told


# Fault row 46
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("data", [b"", b"no picture", "half"])
def test_an_unreadable_picture_is_named_in_training(
    workers: int, data: bytes | str, made: Made, tmp_path: Path
) -> None:
    found = data_of(task("pets"), made("pets")).train
    assert isinstance(found, ticketkit.ImageFiles)
    name = found.names[1]
    whole = (found.root / name).read_bytes()
    bad = whole[: len(whole) // 2] if isinstance(data, str) else data
    root = tmp_path / "all"
    for each in found.names[:4]:
        (root / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found.root / each, root / each)
    (root / name).write_bytes(bad)
    few = ticketkit.ImageFiles(root, found.names[:4], found.targets[:4].tolist(), 1000)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 1000))
    with pytest.raises(ticketkit.InputError) as caught:
        ticketkit.fit(model, few, schedule=CROPS, workers=workers)
    told = str(caught.value)
    assert told.startswith(f"picture 1, {root / name}: ")
    assert "\n" not in told


def test_fashion_mnist_may_be_packed(made: Made, tmp_path: Path) -> None:
    root = Path(shutil.copytree(made("fashion-mnist"), tmp_path / "all"))
    for path in (root / "FashionMNIST" / "raw").iterdir():
        if not path.suffix:
            path.unlink()
    part = task("fashion-mnist")
    packed, whole = part.splits(root), part.splits(made("fashion-mnist"))
    for split in ("train", "test"):
        assert items(packed[split]) == items(whole[split])


def test_imagenet_is_whole(tmp_path: Path) -> None:
    image_folders(
        tmp_path / "imagenet", train={"n01440764": ["a.JPEG"]}, val={"n01440764": ["b.JPEG"]}
    )
    with pytest.raises(
        ticketkit.InputError, match=r"imagenet/train: expected 1000 classes, found 1$"
    ):
        data_of(task("imagenet"), tmp_path)


def test_a_folder_counts_its_classes_and_may_lie_anywhere(tmp_path: Path) -> None:
    folder(tmp_path)
    for spec, root in ((f"folder:path={tmp_path / 'mine'}", None), ("folder:path=mine", tmp_path)):
        data = data_of(task(spec), root)
        assert (data.classes, data.shape[0]) == (2, 3)


def test_salman_s_rate_is_that_of_each_task() -> None:
    fast = {
        spec: schedule_of("salman", "finetune", task=task(spec).name).lr == 0.01 for spec in WRITERS
    }
    assert {name for name, high in fast.items() if high} == {
        "aircraft",
        "birdsnap",
        "cars",
        "flowers",
    }


def test_the_metric_is_that_of_the_paper_s_tables() -> None:
    per_class = {spec for spec in WRITERS if task(spec).metric == "accuracy.per_class"}
    assert per_class == {"aircraft", "caltech101", "caltech256", "flowers", "pets"}
