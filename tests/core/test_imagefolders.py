"""Pictures that lie in a folder for each class."""

from __future__ import annotations

from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from tests.plugins.tasks.real_files import image_folders as write
from tests.plugins.tasks.real_files import jpeg
from ticketkit import ImageFiles, InputError
from ticketkit.imagefolders import class_folders, image_folders, split_classes

TWO = {"a": ["2.jpg", "1.JPEG"], "b": ["x/y.png"]}


def listed(found: ImageFiles) -> list[tuple[str, int]]:
    return list(zip(found.names, found.targets.tolist(), strict=True))


def test_it_lists_what_torchvision_lists(tmp_path: Path) -> None:
    names = ["ä.jpg", "B.webp", "a/b/c.tiff", "no.txt", "z.PNG"]
    write(tmp_path, train={"Z": names, "a b": names, "ö": names}, val={"a b": ["1.jpg"]})
    found = image_folders(tmp_path)["train"]
    theirs = ImageFolder(tmp_path / "train")
    samples = [(str(Path(path).relative_to(tmp_path)), target) for path, target in theirs.samples]
    assert listed(found) == samples
    assert class_folders(tmp_path / "train") == theirs.classes


def test_what_is_hidden_is_no_class_and_no_picture(tmp_path: Path) -> None:
    write(tmp_path, train={**TWO, ".hidden": ["1.jpg"]}, test={"b": ["1.jpg", "._1.jpg"]})
    (tmp_path / "train" / "readme.jpg").write_bytes(b"")
    assert listed(image_folders(tmp_path)["train"]) == [
        ("train/a/1.JPEG", 0),
        ("train/a/2.jpg", 0),
        ("train/b/x/y.png", 1),
    ]
    assert listed(image_folders(tmp_path)["test"]) == [("test/b/1.jpg", 1)]


@pytest.mark.parametrize("name", ["test", "val", "valid"])
def test_the_test_set_has_one_of_three_names(name: str, tmp_path: Path) -> None:
    write(tmp_path, train=TWO, **{name: {"a": ["1.jpg"]}})
    assert image_folders(tmp_path)["test"].names == [f"{name}/a/1.jpg"]
    write(tmp_path, valid={"b": ["2.jpg"]}, test={"b": ["3.jpg"]})
    assert image_folders(tmp_path)["test"].names[-1] == "test/b/3.jpg"
    assert image_folders(tmp_path, tests=["valid"])["test"].names[-1] == "valid/b/2.jpg"


# Fault row 46
def test_folders_that_are_no_data_set_are_told(tmp_path: Path) -> None:
    def refused() -> str:
        with pytest.raises(InputError) as caught:
            image_folders(tmp_path, 2)
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(str(tmp_path))

    expected = ": expected the folders train and test or val or valid there, with a folder for each"
    assert refused().startswith(expected)
    (tmp_path / "train").mkdir()
    assert refused().startswith(expected)
    (tmp_path / "test").mkdir()
    assert refused() == "/train: there is no folder of a class in it"
    (tmp_path / "train" / "a").mkdir()
    assert refused() == "/train: expected 2 classes, found 1"
    (tmp_path / "train" / "b").mkdir()
    assert refused() == "/test: there is no folder of a class in it"
    (tmp_path / "test" / "c").mkdir()
    assert refused() == ": test has classes that train has not: c"
    (tmp_path / "test" / "c").rename(tmp_path / "test" / "b")
    assert refused() == "/train: no picture in a, b"
    write(tmp_path, train=TWO)
    assert refused() == ": there are no pictures"
    write(tmp_path, test={"b": ["1.jpg"]})
    assert len(image_folders(tmp_path, 2)["test"]) == 1


def test_the_first_of_each_class_are_trained_on(tmp_path: Path) -> None:
    for name, count in {"b/c": 5, "b": 3, "a": 1}.items():
        for number in range(count):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / name / f"{number}.jpg").write_bytes(jpeg(number))
    found = split_classes(tmp_path, ["b/c", "b", "a"], 2, 2)
    assert listed(found["train"]) == [
        *[("b/c/0.jpg", 0), ("b/c/1.jpg", 0), ("b/0.jpg", 1), ("b/1.jpg", 1), ("a/0.jpg", 2)]
    ]
    assert listed(found["test"]) == [("b/c/2.jpg", 0), ("b/c/3.jpg", 0), ("b/2.jpg", 1)]
    assert len(split_classes(tmp_path, ["b/c"], 2)["test"]) == 3


# Fault row 46
def test_a_class_whose_folder_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/none: No such file or directory$"):
        split_classes(tmp_path, ["none"], 2)
    with pytest.raises(InputError, match=r"/none: No such file or directory$"):
        class_folders(tmp_path / "none")
