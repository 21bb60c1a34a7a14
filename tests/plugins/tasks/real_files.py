"""Tiny data sets, written in the real ones' own formats."""

from __future__ import annotations

import gzip
import io
import json
import pickle
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

Array = np.ndarray[Any, Any]


def pixels(seed: int, *shape: int) -> Array:
    """Some uint8 pixels."""
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def jpeg(seed: int) -> bytes:
    """A JPEG file of a picture whose size, too, depends on the seed."""
    file = io.BytesIO()
    Image.fromarray(pixels(seed, 17 + seed % 7, 18 + seed % 5, 3)).save(file, "JPEG")
    return file.getvalue()


def write(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def photos(folder: Path, names: Iterable[str], seed: int = 0) -> None:
    for number, name in enumerate(names):
        write(folder / name, jpeg(seed + number))


_InPython: Any = pickle._Pickler


class _Python2(_InPython):  # type: ignore[misc]
    """Pickles as Python 2 did, which the batches were made by: text and bytes are one."""

    def _save_text(self, text: str | bytes) -> None:
        data = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)

    dispatch = {**_InPython.dispatch, str: _save_text, bytes: _save_text}  # noqa: RUF012


def python2_pickle(value: object) -> bytes:
    """A pickle of NumPy arrays, text and numbers, as Python 2 and NumPy 1 wrote it."""
    file = io.BytesIO()
    _Python2(file, 2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def _batch(path: Path, labels: Sequence[int], key: str, seed: int) -> None:
    names = [f"thing_s_{number:06d}.png" for number in range(len(labels))]
    batch = {
        "data": pixels(seed, len(labels), 3072),
        key: list(labels),
        "batch_label": "a batch",
        "filenames": names,
    }
    write(path, python2_pickle(batch))


def cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    for number in range(1, 6):
        _batch(folder / f"data_batch_{number}", [number, 9, 0], "labels", number)
    _batch(folder / "test_batch", [3, 1, 9, 0], "labels", 6)
    meta = {"label_names": [f"kind {number}" for number in range(10)], "num_vis": 3072}
    write(folder / "batches.meta", python2_pickle(meta))


def cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    _batch(folder / "train", [99, 0, 7, 50, 3], "fine_labels", 1)
    _batch(folder / "test", [7, 99, 3], "fine_labels", 2)
    meta = {"fine_label_names": [f"kind {number}" for number in range(100)]}
    write(folder / "meta", python2_pickle(meta))


def svhn(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for split, labels in (("train", [10, 1, 9, 2, 3]), ("test", [2, 10, 1])):
        images = pixels(len(labels), 32, 32, 3, len(labels))
        column = np.array(labels, np.uint8)[:, None]
        savemat(root / f"{split}_32x32.mat", {"X": images, "y": column})


def fashion_mnist(root: Path) -> None:
    folder = root / "FashionMNIST" / "raw"
    for split, labels in (("train", [9, 0, 3, 4, 4]), ("t10k", [3, 0, 9])):
        count = len(labels)
        head = b"".join(n.to_bytes(4, "big") for n in (0x803, count, 28, 28))
        images = head + pixels(count, count, 28, 28).tobytes()
        numbers = (0x801).to_bytes(4, "big") + count.to_bytes(4, "big") + bytes(labels)
        for name, data in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", numbers)):
            write(folder / f"{split}-{name}", data)
            write(folder / f"{split}-{name}.gz", gzip.compress(data))


def aircraft(root: Path) -> None:
    folder = root / "fgvc-aircraft-2013b" / "data"
    variants = ["707-320", "Boeing 717", "F/A-18", *(f"Model {n}" for n in range(97))]
    write(folder / "variants.txt", "\n".join(variants) + "\n")
    lists = {"train": [0, 1, 99], "val": [2, 1], "trainval": [0, 1, 99, 2, 1], "test": [2, 0, 99]}
    for split, classes in lists.items():
        numbers = [f"{len(split)}{place:06d}" for place in range(len(classes))]
        lines = [f"{n} {variants[c]}\n" for n, c in zip(numbers, classes, strict=True)]
        write(folder / f"images_variant_{split}.txt", "".join(lines))
        photos(folder / "images", [f"{number}.jpg" for number in numbers], len(split))


def pets(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    for split, labels in (("trainval", [1, 1, 2, 37, 12]), ("test", [37, 2, 1])):
        names = [f"{split}_Breed_{label}_{place}" for place, label in enumerate(labels)]
        lines = [f"{n} {label} {1 + label % 2} 1\n" for n, label in zip(names, labels, strict=True)]
        write(folder / "annotations" / f"{split}.txt", "".join(lines))
        photos(folder / "images", [f"{name}.jpg" for name in names], len(split))


def flowers(root: Path) -> None:
    folder = root / "flowers-102"
    photos(folder / "jpg", [f"image_{number:05d}.jpg" for number in range(1, 11)])
    labels = np.array([[102, 1, 3, 50, 1, 3, 102, 1, 3, 50]], np.uint8)
    savemat(folder / "imagelabels.mat", {"labels": labels})
    sets = {"trnid": [1, 2, 9], "valid": [4, 5], "tstid": [3, 6, 7, 8, 10]}
    arrays = {name: np.array([numbers], np.uint16) for name, numbers in sets.items()}
    savemat(folder / "setid.mat", arrays)


def cars(root: Path) -> None:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    corners = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]
    kinds = [(name, object) for name in (*corners, "class", "fname")]
    for split, labels in (("train", [196, 1, 14, 3]), ("test", [14, 196, 1])):
        names = [f"{number:05d}.jpg" for number in range(1, len(labels) + 1)]
        rows = [(1, 2, 9, 9, c, n) for c, n in zip(labels, names, strict=True)]
        place = "devkit/cars_train_annos" if split == "train" else "cars_test_annos_withlabels"
        savemat(folder / f"{place}.mat", {"annotations": np.array([rows], kinds)})
        photos(folder / f"cars_{split}", names, len(labels))
    models = np.array([[f"Model {number}" for number in range(196)]], object)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": models})


def food(root: Path) -> None:
    folder = root / "food-101"
    dishes = ["apple_pie", "baby_back_ribs", *(f"dish_{number:03d}" for number in range(99))]
    train = {dish: [f"{dish}/{1000 + place}"] for place, dish in enumerate(reversed(dishes))}
    test = {dish: [f"{dish}/2{number}" for number in range(2)] for dish in dishes[:2]}
    test |= {dish: [] for dish in dishes[2:]}
    for split, listed in (("train", train), ("test", test)):
        write(folder / "meta" / f"{split}.json", json.dumps(listed))
        names = [name for each in listed.values() for name in each]
        write(folder / "meta" / f"{split}.txt", "\n".join(names) + "\n")
        photos(folder / "images", [f"{name}.jpg" for name in names], len(split))


def dtd(root: Path) -> None:
    folder = root / "dtd" / "dtd"
    words = ["banded", "blotchy", *(f"word{number:02d}" for number in range(45))]
    lists = {"train": words, "val": words[1::9], "test": words[::9]}
    for split, chosen in lists.items():
        names = [f"{word}/{word}_{len(split):04d}.jpg" for word in chosen]
        # torchvision reads the classes of each list from that list alone.
        write(folder / "labels" / f"{split}1.txt", "\n".join(names) + "\n")
        photos(folder / "images", names, len(split))


def sun397(root: Path) -> None:
    folder = root / "SUN397"
    names = ["/a/abbey", "/a/apse/indoor", "/a/apse/outdoor"]
    names += [f"/b/place{number:03d}" for number in range(394)]
    write(folder / "ClassName.txt", "\n".join(names) + "\n")
    counts = {"/a/abbey": 103, "/a/apse/indoor": 52}
    for number, name in enumerate(names):
        pictures = [
            f"sun_{(n * 7919 + number) % 99991:05d}.jpg" for n in range(counts.get(name, 1))
        ]
        photos(folder / name[1:], pictures, number)


def caltech101(root: Path) -> None:
    folder = root / "caltech101" / "101_ObjectCategories"
    counts = {"Faces": 33, "Leopards": 31, "accordion": 30}
    names = [*counts, *(f"thing_{number:02d}" for number in range(98)), "BACKGROUND_Google"]
    for number, name in enumerate(names):
        many = range(1, 1 + counts.get(name, 1))
        photos(folder / name, [f"image_{n:04d}.jpg" for n in many], number)


def caltech256(root: Path) -> None:
    folder = root / "caltech256" / "256_ObjectCategories"
    names = [f"{number:03d}.thing" for number in range(1, 257)] + ["257.clutter"]
    counts = {"001.thing": 63, "257.clutter": 61}
    for number, name in enumerate(names):
        many = range(1, 1 + counts.get(name, 1))
        photos(folder / name, [f"{number + 1:03d}_{n:04d}.jpg" for n in many], number)
    # These two are in the real one.
    write(folder / "256.thing" / "RENAME2", "no picture")
    photos(folder / "056.thing" / "greg", ["056_0099.jpg"])


def image_folders(folder: Path, **splits: dict[str, list[str]]) -> None:
    """Folders of classes: of each split the classes, of each of these the pictures."""
    for place, (split, classes) in enumerate(splits.items()):
        for number, (name, pictures) in enumerate(classes.items()):
            photos(folder / split / name, pictures, 100 * place + number)


def imagenet(root: Path) -> None:
    names = [f"n{1440764 + 11 * number:08d}" for number in range(1000)]
    train = {name: [f"{name}_{number}.JPEG"] for number, name in enumerate(names)}
    val = {name: [f"ILSVRC2012_val_{number:08d}.JPEG"] for number, name in enumerate(names)}
    image_folders(root / "imagenet", train=train, val=val)


def birdsnap(root: Path) -> None:
    names = [f"Species_{number:03d}" for number in range(500)]
    train = {name: ["1.jpg"] for name in names}
    image_folders(root / "birdsnap", train=train, test={name: ["2.jpg"] for name in names[::100]})


def folder(root: Path) -> None:
    train = {"cat": ["1.jpg", "2.jpg", "deep/er/3.jpg"], "dog": ["1.jpg", "b.JPEG"]}
    image_folders(root / "mine", train=train, test={"cat": ["4.jpg"], "dog": ["5.jpg"]})


WRITERS: dict[str, Callable[[Path], None]] = {
    "aircraft": aircraft,
    "birdsnap": birdsnap,
    "caltech101": caltech101,
    "caltech256": caltech256,
    "cars": cars,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "dtd": dtd,
    "fashion-mnist": fashion_mnist,
    "flowers": flowers,
    "folder:path=mine": folder,
    "food": food,
    "imagenet": imagenet,
    "pets": pets,
    "sun397": sun397,
    "svhn": svhn,
}
"""What writes each task's data, in a folder of all data."""
