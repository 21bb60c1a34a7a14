"""Data sets that torchvision fetches, here from a server of the tests' own."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import torchvision.datasets as sets

from tests.plugins.tasks.real_files import cifar10, svhn
from tests.samples import names
from ticketkit import OutputError, Task, resolve
from ticketkit.datasets import data_of
from ticketkit.locks import beside, locked

CIFAR10 = cast("Task", resolve("task", "cifar10"))
FOLDER = "cifar-10-batches-py"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files torchvision downloads."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(sets.CIFAR10, "url", f"{url}/cifar.tar.gz")
    files = {s: [f"{url}/{s}_32x32.mat", f"{s}_32x32.mat", None] for s in ("train", "test")}
    monkeypatch.setattr(sets.SVHN, "split_list", files)
    monkeypatch.setattr(sets.cifar, "check_integrity", lambda path, *_: Path(path).is_file())
    try:
        yield folder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def archive(folder: Path, monkeypatch: pytest.MonkeyPatch, member: str = FOLDER) -> None:
    """Serve CIFAR-10, its folder under another name."""
    cifar10(folder / "made")
    with tarfile.open(folder / "cifar.tar.gz", "w:gz") as file:
        file.add(folder / "made" / FOLDER, member)
    digest = hashlib.md5((folder / "cifar.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setattr(sets.CIFAR10, "tgz_md5", digest)


def test_what_is_downloaded_can_be_read_and_nothing_else_is_left(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(served, monkeypatch)
    root = tmp_path / "new" / "data"
    data = data_of(CIFAR10, root, download=True)
    assert len(data.train) == 15  # type: ignore[arg-type]
    assert names(root) == [FOLDER, "cifar-10-python.tar.gz"]
    (served / "cifar.tar.gz").unlink()
    assert len(data_of(CIFAR10, root, download=True).test) == 4  # type: ignore[arg-type]


def test_what_a_killed_download_left_is_removed(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(served, monkeypatch)
    root = tmp_path / "data"
    left = root / ".cifar10.ticketkit-download" / FOLDER
    left.mkdir(parents=True)
    (left / "data_batch_1").write_bytes(b"half")
    data_of(CIFAR10, root, download=True)
    assert names(root) == [FOLDER, "cifar-10-python.tar.gz"]


def test_each_file_that_is_missing_is_fetched(served: Path, tmp_path: Path) -> None:
    svhn(served)
    root = tmp_path / "data"
    root.mkdir()
    shutil.copy(served / "train_32x32.mat", root)
    (served / "train_32x32.mat").unlink()
    part = cast("Task", resolve("task", "svhn"))
    assert len(data_of(part, root, download=True).test) == 3  # type: ignore[arg-type]


def refused(root: Path) -> str:
    with pytest.raises(OutputError) as caught:
        data_of(CIFAR10, root, download=True)
    told = str(caught.value)
    assert "\n" not in told
    return told


@pytest.mark.usefixtures("served")
def test_a_download_that_fails_is_a_line_and_leaves_nothing(tmp_path: Path) -> None:
    told = refused(tmp_path / "data")
    assert told.startswith(f"cifar10 could not be downloaded to {tmp_path / 'data'}: HTTPError: ")
    assert names(tmp_path / "data") == []


def test_an_archive_that_is_not_what_it_should_be_leaves_nothing(
    served: Path, tmp_path: Path
) -> None:
    (served / "cifar.tar.gz").write_bytes(b"something else")
    assert "RuntimeError: File not found or corrupted." in refused(tmp_path / "data")
    assert names(tmp_path / "data") == []


def test_an_archive_writes_nowhere_else(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(served, monkeypatch, "../../outside")
    before = tarfile.TarFile.extraction_filter
    assert "OutsideDestinationError" in refused(tmp_path / "data")
    assert names(tmp_path) == ["data", "served"]
    assert tarfile.TarFile.extraction_filter is before


def test_of_two_downloads_at_once_the_second_is_told(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive(served, monkeypatch)
    with locked(beside(tmp_path / "cifar10", "lock"), tmp_path / "cifar10"):
        assert "another run is writing it" in refused(tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    assert "FileExistsError" in refused(tmp_path / "file")


def test_half_of_a_data_set_is_not_overwritten(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets.DTD, "_URL", sets.CIFAR10.url)
    archive(served, monkeypatch, "dtd")
    monkeypatch.setattr(sets.DTD, "_MD5", sets.CIFAR10.tgz_md5)
    (tmp_path / "data" / "dtd" / "mine").mkdir(parents=True)
    part = cast("Task", resolve("task", "dtd"))
    monkeypatch.setattr(sets.DTD, "_URL", "http://nowhere.invalid/")  # it is not even asked
    with pytest.raises(OutputError, match=r"dtd could not be downloaded: .* is there already"):
        data_of(part, tmp_path / "data", download=True)
    assert names(tmp_path / "data" / "dtd") == ["mine"]
