"""Prior `salman`."""

from __future__ import annotations

from pathlib import Path

import pytest

import ticketkit
from ticketkit_plugins.priors.salman import Salman

# Salman et al.'s table as METHODS has it: R18 full / R18 fixed / R50 full / R50 fixed.
TABLE = {
    "cifar10": (3, 3, 3, 3),
    "cifar100": (1, 3, 3, 3),
    "aircraft": (0, 0.5, 0.01, 1),
    "birdsnap": (0.01, 0.01, 0.25, 0.1),
    "caltech101": (0, 0.1, 0.03, 1),
    "caltech256": (0.05, 0.05, 0.05, 0.05),
    "dtd": (0, 0, 0.01, 0.01),
    "flowers": (0, 0.1, 0.01, 0.1),
    "food": (0.01, 0.03, 0, 0.05),
    "pets": (0, 0, 0.05, 0.03),
    "cars": (0, 0.1, 0, 0.5),
    "sun397": (0, 0, 0, 0.01),
}
CASES = [
    (task, arch, mode, eps)
    for task, row in TABLE.items()
    for (arch, mode), eps in zip(
        [(arch, mode) for arch in ("resnet18", "resnet50") for mode in ("finetune", "linear")],
        row,
        strict=True,
    )
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The published names, as files."""
    for arch in ("resnet18", "resnet50"):
        for eps in ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5"):
            (tmp_path / f"{arch}_l2_eps{eps}.ckpt").touch()
        for eps in ("0.5", "1.0", "2.0", "4.0", "8.0"):
            (tmp_path / f"{arch}_linf_eps{eps}.ckpt").touch()
    return tmp_path


@pytest.mark.parametrize(("task", "arch", "mode", "eps"), CASES)
def test_the_best_eps_is_that_of_the_authors_table(
    task: str, arch: str, mode: str, eps: float, folder: Path
) -> None:
    found = Salman(path=str(folder)).choose(task, arch, mode)
    assert found.path == folder / f"{arch}_l2_eps{eps or 0.01:g}.ckpt"
    assert "robust-models-transfer" in found.why
    assert ("natural" in found.why) == (not eps)


def test_eps_may_be_asked_for_and_0_is_the_natural_twin(folder: Path) -> None:
    twin = Salman(path=str(folder), eps=0).choose("digits", "resnet18", "linear")
    assert twin.path.name == "resnet18_l2_eps0.ckpt"
    linf = ticketkit.resolve("prior", f"salman:path={folder},norm=linf,eps=4/255")
    assert isinstance(linf, Salman)
    assert linf.choose("digits", "resnet50", "linear").path.name == "resnet50_linf_eps4.0.ckpt"


@pytest.mark.parametrize(
    ("norm", "eps", "words"), [("l2", 0.2, "one of 0, 0.01,"), ("linf", 4, "one of 0.5/255, 1/255")]
)
def test_a_strength_that_was_not_published_is_refused(norm: str, eps: float, words: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=words):
        Salman(path="x", norm=norm, eps=eps)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "arch", "norm"),
    [("digits", "resnet18", "l2"), ("cifar10", "vgg16_bn", "l2"), ("cifar10", "resnet18", "linf")],
)
def test_what_the_table_does_not_tell_is_asked_for(
    task: str, arch: str, norm: str, folder: Path
) -> None:
    prior = Salman(path=str(folder), norm=norm)  # type: ignore[arg-type]
    with pytest.raises(ticketkit.UsageError, match=r"no best eps is known.*give eps="):
        prior.choose(task, arch, "linear")


def test_a_missing_file_is_named_beside_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "resnet18_l2_eps1.ckpt").touch()
    words = r"no resnet18_l2_eps3\.ckpt in the folder .*there are resnet18_l2_eps1\.ckpt"
    with pytest.raises(ticketkit.InputError, match=words):
        Salman(path=str(tmp_path)).choose("cifar10", "resnet18", "linear")
    with pytest.raises(ticketkit.InputError, match=r"no resnet18_l2_eps3\.ckpt in the folder"):
        Salman(path=str(tmp_path / "nowhere")).choose("cifar10", "resnet18:stem=small", "linear")
