"""The corpus is read, its mutants are refused, and what goes wrong is found."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import planted
from tests.fuzz.__main__ import main
from tests.fuzz.corpus import CORPUS, SEEDS, Sample, build, corpus
from tests.fuzz.examine import Outcome, examine
from tests.fuzz.formwise import mutate_form
from tests.fuzz.mutation import mutant
from tests.fuzz.picklewise import instructions
from tests.fuzz.readers import READERS, Reader
from tests.fuzz.report import Report
from tests.fuzz.worker import Plan, outcomes
from ticketkit import load_ticket, open_checkpoint

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is measured by what Linux tells"
)
NAMES = sorted(path.name for path in CORPUS.iterdir())
MOST = 200 * 10**6


# --- the corpus


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_is_read_or_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = examine(Sample.at(CORPUS / name), READERS, tmp_path, MOST)
    assert not outcome.trouble
    if name in SEEDS and name != "code.pt":
        wanted = {"ticket", "unverified ticket"} if ".ticket." in name else {"checkpoint"}
        assert wanted <= set(outcome.accepted)
    assert name != "code.pt" or "checkpoint" not in outcome.accepted


@pytest.mark.parametrize("name", [name for name in SEEDS if name != "code.pt"])
def test_a_seed_is_what_its_function_makes(name: str, tmp_path: Path) -> None:
    kept, made = CORPUS / name, build(name).write(tmp_path)
    if ".ticket." in name:
        assert load_ticket(kept) == load_ticket(made)
    else:
        assert {n: t.shape for n, t in open_checkpoint(kept).items()} == {
            n: t.shape for n, t in open_checkpoint(made).items()
        }


def test_the_corpus_is_small() -> None:
    assert all(len(data) < 8000 for sample in corpus() for data in sample.files.values())


# --- mutants


@pytest.mark.parametrize("sample", corpus(), ids=lambda sample: str(sample.name))
def test_a_mutant_is_another_file_and_the_same_each_time(sample: Sample) -> None:
    mutants = [mutant(sample, 3, number) for number in range(50)]
    assert mutants == [mutant(sample, 3, number) for number in range(50)]
    assert mutants != [mutant(sample, 4, number) for number in range(50)]
    assert sum(each != sample for each in mutants) > 40


@pytest.mark.parametrize("name", ["zip.pt", "packed.ticket.safetensors", "fp32.safetensors"])
def test_damage_within_a_form_leaves_its_outer_layers_right(name: str) -> None:
    data = (CORPUS / name).read_bytes()
    for number in range(100):
        damaged = mutate_form(Random(number), data)
        assert damaged
        if name == "zip.pt":
            assert zipfile.ZipFile(io.BytesIO(damaged)).testzip() is None
        else:
            assert 0 < int.from_bytes(damaged[:8], "little") <= len(damaged) - 8


@pytest.mark.parametrize(
    ("name", "reader"),
    [("zip.pt", "checkpoint"), ("block.ticket.safetensors", "ticket"), ("sharded", "checkpoint")],
)
def test_some_mutants_get_through(name: str, reader: str, tmp_path: Path) -> None:
    # behind checksums and digests; those that are all refused at the door would test the door alone
    sample = Sample.at(CORPUS / name)
    mutants = [each for n in range(200) if (each := mutant(sample, 0, n)) != sample]
    found = [examine(each, {reader: READERS[reader]}, tmp_path, MOST) for each in mutants]
    assert sum(bool(outcome.accepted) for outcome in found) > 5


def test_the_instructions_of_a_pickle_are_all_of_it() -> None:
    data = pickle.dumps({"a": [1, 2**40, None, 0.5]}, 2)
    codes, rest = instructions(data + b"rest")
    assert b"".join(code for _, code in codes) == data
    assert rest == b"rest"


@pytest.mark.slow
def test_mutants_are_refused_or_read(tmp_path: Path) -> None:
    """Some twenty seconds of `make fuzz`. FUZZ_SEED=N in the environment makes other mutants."""
    plan = Plan(corpus(), READERS, int(os.environ.get("FUZZ_SEED", "0")))
    report = Report(plan, tmp_path).take(outcomes(plan, 4000), seconds=20)
    assert report.inputs > 100
    assert not report.causes, f"seed {plan.seed}: {report}"


# --- the harness finds what there is to find


@pytest.mark.parametrize(
    ("reader", "cause"),
    [
        (planted.raises, "planted: KeyError: raises of planted.py"),
        (planted.exits, "planted: SystemExit: exits of planted.py"),
        (planted.blames, "planted: AssertionError: not an error of input"),
        (planted.babbles, "planted: AssertionError: a message that is not one printable line"),
        (planted.hides, "planted: AssertionError: a message that does not name the file"),
        (planted.advises, "planted: AssertionError: advice to run what is in the file"),
        (planted.swells, "planted: memory"),
        (planted.litters, "files left behind"),
        (planted.well, ""),
    ],
)
def test_a_planted_fault_is_found(reader: Reader, cause: str, tmp_path: Path) -> None:
    readers = {"planted": reader}
    assert examine(planted.FINE, readers, tmp_path, MOST).accepted == ["planted"]
    outcome = examine(mutant(planted.FINE, 0, 0), readers, tmp_path, MOST)
    assert outcome.trouble.partition("\n")[0] == cause
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("reader", "kinds"),
    [
        (planted.hangs, ["hang"] * 2),
        (planted.crashes, ["crash"] * 2),
        (planted.bursts, ["memory"] * 2),
        (planted.raises, ["error"] * 2),
        (planted.well, [""] * 2),
    ],
)
def test_the_run_goes_on_after_a_finding(reader: Reader, kinds: list[str], tmp_path: Path) -> None:
    plan = Plan([planted.FINE], {"planted": reader}, most_seconds=2)
    found: list[Outcome] = list(outcomes(plan, 2))
    assert [outcome.kind for outcome in found] == kinds
    report = Report(plan, tmp_path).take(found)
    assert report.inputs == 2
    assert report.causes.total() == sum(map(bool, kinds))
    for number, folder in enumerate(report.saved):
        assert (folder / "x").read_bytes() == plan.input(number).files["x"]
        assert f"--seed 0, input {number}, of x" in (folder / "WHY.txt").read_text()


def test_an_unknown_file_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "zap.pt"])
    assert "no file of the corpus is named zap.pt; there are bf16.sa" in capsys.readouterr().err


def test_a_run_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--mutations", "5", "--only", "fp32*"]) == 0
    assert "5 mutations in " in capsys.readouterr().out
