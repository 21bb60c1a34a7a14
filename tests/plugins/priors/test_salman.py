"""Prior `salman`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ticketkit
from ticketkit.testing import PriorLaws
from ticketkit_plugins.priors.salman import Salman

# The table as it is printed: ResNet-18 full, fixed, ResNet-50 full, fixed.
TABLE = {
    "cifar10": "3/3/3/3",
    "cifar100": "1/3/3/3",
    "aircraft": "0/.5/.01/1",
    "birdsnap": ".01/.01/.25/.1",
    "caltech101": "0/.1/.03/1",
    "caltech256": ".05/.05/.05/.05",
    "dtd": "0/0/.01/.01",
    "flowers": "0/.1/.01/.1",
    "food": ".01/.03/0/.05",
    "pets": "0/0/.05/.03",
    "cars": "0/.1/0/.5",
    "sun397": "0/0/0/.01",
}
COLUMNS = [(arch, mode) for arch in ("resnet18", "resnet50") for mode in ("finetune", "linear")]
BEST = {
    (task, arch, mode): float(eps)
    for task, row in TABLE.items()
    for (arch, mode), eps in zip(COLUMNS, row.split("/"), strict=True)
}
PUBLISHED = ["0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5"]


class TestSalman(PriorLaws):
    part = Salman("models")


class TestSalmanInLinf(PriorLaws):
    part = Salman("models", "linf", 4 / 255)
    asked = (None, "wide_resnet50_2", "finetune")


def prior(spec: str) -> Salman:
    return cast("Salman", ticketkit.resolve("prior", f"salman:path=models{spec}"))


@pytest.mark.parametrize(("question", "best"), BEST.items())
def test_the_table_tells_the_eps(question: Any, best: float) -> None:
    task, arch, mode = question
    choice = prior("").checkpoint(task, arch, mode)
    assert choice.eps == (best or 0.01)
    assert choice.path == Path(f"models/{arch}_l2_eps{choice.eps:g}.ckpt")
    assert choice.path.name.removeprefix(f"{arch}_l2_eps").removesuffix(".ckpt") in PUBLISHED
    assert f"{arch} on {task}, {mode}, by Salman et al. 2020" in choice.reason
    assert "best_params_per_dataset_per_arch.md" in choice.reason


@pytest.mark.parametrize(("question", "best"), BEST.items())
def test_where_the_best_is_0_the_least_robust_network_is_taken_and_that_is_said(
    question: Any, best: float
) -> None:
    notes = prior("").checkpoint(*question).notes
    assert bool(notes) == (best == 0)
    for note in notes:
        assert re.search(r"is 0, so that robust = natural; .* the least, 0\.01, is taken", note)


@given(st.sampled_from(PUBLISHED), st.sampled_from([None, *TABLE]), st.sampled_from(COLUMNS))
def test_an_eps_that_is_given_needs_no_table(eps: str, task: str | None, column: Any) -> None:
    choice = prior(f",eps={eps}").checkpoint(task, *column)
    assert choice.path == Path(f"models/{column[0]}_l2_eps{eps}.ckpt")
    assert (choice.eps, choice.notes) == (float(eps), ())
    assert choice.reason.endswith("as asked")


@pytest.mark.parametrize(
    ("arch", "options", "file"),
    [
        ("resnet18", "norm=linf,eps=0.5/255", "resnet18_linf_eps0.5.ckpt"),
        ("resnet50", "norm=linf,eps=1/255", "resnet50_linf_eps1.0.ckpt"),
        ("wide_resnet50_2", "norm=linf,eps=8/255", "wide_resnet50_2_linf_eps8.0.ckpt"),
        ("resnet18", "norm=linf,eps=0", "resnet18_l2_eps0.ckpt"),
        ("densenet161", "eps=3", "densenet_l2_eps3.ckpt"),
        ("mnasnet1_0", "eps=0", "mnasnet_l2_eps0.ckpt"),
        ("mobilenet_v2", "eps=3", "mobilenet_l2_eps3.ckpt"),
        ("shufflenet_v2_x1_0", "eps=3", "shufflenet_l2_eps3.ckpt"),
        ("vgg16_bn", "eps=3.0", "vgg16_bn_l2_eps3.ckpt"),
        ("resnet10:width=16,stem=small", "eps=3", "resnet10_l2_eps3.ckpt"),
        ("timm:resnet18:in_chans=1", "eps=3", "resnet18_l2_eps3.ckpt"),
        ("my.nets:wide_resnet50_4", "eps=0.05", "wide_resnet50_4_l2_eps0.05.ckpt"),
    ],
)
def test_files_bear_their_published_names(arch: str, options: str, file: str) -> None:
    assert prior(f",{options}").checkpoint(None, arch, "linear").path == Path("models", file)


def test_a_network_s_options_do_not_change_its_row() -> None:
    plain, small = (
        prior("").checkpoint("cars", arch, "linear") for arch in ("resnet18", "resnet18:stem=small")
    )
    assert plain == small


def test_the_folder_may_be_in_the_user_s_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of/someone")
    path = Salman("~/models", eps=3).checkpoint(None, "resnet18", "linear").path
    assert path == Path("/home/of/someone/models/resnet18_l2_eps3.ckpt")


@pytest.mark.parametrize(
    ("task", "arch", "message"),
    [
        (None, "resnet18", "by the downstream task: give it with --task, or eps=, as in salman:"),
        (
            "glyphs",
            "resnet18",
            f"no eps for task 'glyphs': its table has {', '.join(TABLE)}; eps=, as in salman:",
        ),
        (
            "cars",
            "resnet34",
            "no eps for network 'resnet34': its table has resnet18, resnet50; eps=, as in salman:",
        ),
        ("cars", None, "finds a file by the network: give it with --arch, such as --arch resnet18"),
    ],
)
def test_what_it_lacks_is_told(task: str | None, arch: str | None, message: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=re.escape(message)):
        prior("").checkpoint(task, arch, "linear")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("salman", "'salman' needs an option path="),
        ("salman:path=", "path is the folder of their files, found ''"),
        ("salman:path=m,eps=-1", r"eps is a finite number of 0 or more; found -1\.0"),
        ("salman:path=m,eps=inf", "eps is a number, found 'inf'"),
        ("salman:path=m,eps=big", "eps is a number, found 'big'"),
        ("salman:path=m,norm=l1", "norm is one of l2, linf, found 'l1'"),
        ("salman:path=m,norm=linf", "norm=linf needs an eps, such as eps=4/255"),
        ("salman:path=m,norm=linf,eps=4", r"in pixels from 0 to 1, such as 4/255; found 4\.0"),
        ("salman:folder=m", "no option 'folder'; it has path, norm, eps"),
        ("salmon:path=m", "unknown prior 'salmon'; .* did you mean 'salman'"),
    ],
)
def test_specs_without_meaning_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=message):
        ticketkit.resolve("prior", spec)


def test_infinity_is_no_eps_in_python_either() -> None:
    with pytest.raises(ticketkit.UsageError, match="found inf"):
        Salman("models", eps=float("inf"))
