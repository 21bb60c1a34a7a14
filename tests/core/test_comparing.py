"""Two folders of results, compared: what is paired, what is refused, what is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

import ticketkit
from tests.result_documents import (
    ADVERSARIAL,
    PGD,
    estimate,
    evaluate_document,
    evaluated_document,
    pretrain_document,
    results,
    ticket_of,
    training,
    transfer_document,
    write_run,
    write_runs,
)
from ticketkit.comparing import compared

Documents = Iterable[dict[str, Any]]
Compare = Callable[..., dict[str, Any]]
# Accuracy by [pretraining seed, sparsity]: robust is better at high sparsities alone.
SPARSITIES = (0.5, 0.9, 0.99)
ROBUST = np.array([[0.80, 0.85, 0.80], [0.70, 0.82, 0.84], [0.75, 0.84, 0.82]])
NATURAL = np.array([[0.75, 0.75, 0.72], [0.76, 0.76, 0.70], [0.74, 0.71, 0.73]])


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Compare documents, written as runs in the folders `robust` and `natural`."""

    def run(ours: Documents, theirs: Documents, *figures: str) -> dict[str, Any]:
        a, b = write_runs(tmp_path / "robust", ours), write_runs(tmp_path / "natural", theirs)
        return compared(a, b, figures)

    return run


def side(values: np.ndarray[Any, Any], prior: str | None, **others: Any) -> list[dict[str, Any]]:
    """A transfer for each seed and sparsity."""
    return [
        transfer_document(sparsity, seed, prior, results(float(values[seed, i])), **others)
        for seed in range(len(values))
        for i, sparsity in enumerate(SPARSITIES)
    ]


def figures(document: dict[str, Any]) -> list[str]:
    return [f"{f['evaluator']}.{f['name']}" for g in document["groups"] for f in g["figures"]]


def test_each_sparsity_and_all_high_ones_are_paired_t_tests(compare: Compare) -> None:
    document = compare(side(ROBUST, PGD), side(NATURAL, None))
    assert document["schema"] == "ticketkit.compare/1"
    (group,) = document["groups"]
    assert group["counts"] == "pretraining seeds"
    top1 = group["figures"][0]
    ours, theirs = (np.c_[v, v[:, 1:].mean(axis=1)] for v in (ROBUST, NATURAL))
    for i, row in enumerate([*top1["sparsities"], top1["overall"]]):
        test = scipy.stats.ttest_rel(ours[:, i], theirs[:, i])
        low, high = test.confidence_interval(0.95)
        assert (row["a"], row["b"]) == pytest.approx((ours[:, i].mean(), theirs[:, i].mean()))
        assert (row["low"], row["high"]) == pytest.approx((low, high))
        assert row["verdict"] == ("Robust" if test.pvalue < 0.05 else "Match")
        assert (row["n"], row["seeds"]) == (3, ["0", "1", "2"])
    assert [row["verdict"] for row in top1["sparsities"]] == ["Match", "Robust", "Robust"]
    assert top1["overall"]["of"] == [0.9, 0.99]
    assert document["notes"] == []


def test_splits_of_one_pretrained_pair_count_as_one(compare: Compare) -> None:
    ours, theirs = (
        [
            transfer_document(0.9, seed, prior, results(base + split / 10), split=split)
            for seed in range(2)
            for split in range(5)
        ]
        for prior, base in ((PGD, 0.5), (None, 0.1))
    )
    row = compare(ours, theirs)["groups"][0]["figures"][0]["overall"]
    assert (row["n"], row["seeds"], row["verdict"]) == (2, ["0", "1"], "undecided")


@pytest.mark.parametrize(
    ("pretraining", "told"), [(0, "share one pretrained pair"), (None, "no pretraining is told")]
)
def test_without_several_pretrainings_other_seeds_count_and_that_is_told(
    pretraining: int | None, told: str, compare: Compare
) -> None:
    ours, theirs = (
        [
            transfer_document(
                0.9, pretraining, prior, results(base + seed / 100), seed=seed, split=split
            )
            for seed in range(3)
            for split in range(2)
        ]
        for prior, base in ((PGD, 0.5), (None, 0.25))
    )
    document = compare(ours, theirs)
    assert document["groups"][0]["counts"] == "transfer seeds"
    assert document["groups"][0]["figures"][0]["overall"]["n"] == 3
    assert any(told in note for note in document["notes"])


def test_seeds_that_change_nothing_do_not_make_a_pretrained_pair_three(compare: Compare) -> None:
    # A solver of a linear head draws nothing: its seeds repeat one result.
    ours, theirs = (
        [transfer_document(0.9, 0, prior, results(base), seed=seed) for seed in range(3)]
        for prior, base in ((PGD, 0.5), (None, 0.25))
    )
    found = compare(ours, theirs)["groups"][0]["figures"][0]
    for row in (*found["sparsities"], found["overall"]):
        assert (row["n"], row["low"], row["verdict"]) == (1, None, "undecided")


def test_a_figure_that_is_saturated_at_one_sparsity_keeps_its_seeds_over_all(
    compare: Compare,
) -> None:
    ours, theirs = (
        [
            transfer_document(sparsity, 0, prior, results(value), seed=seed)
            for seed in range(5)
            for sparsity, value in ((0.9, 1.0), (0.95, base + step * seed))
        ]
        for prior, base, step in ((PGD, 0.9, 0.001), (None, 0.8, 0.0))
    )
    found = compare(ours, theirs)["groups"][0]["figures"][0]
    saturated, decided = found["sparsities"]
    assert (saturated["n"], saturated["verdict"]) == (1, "undecided")
    means = scipy.stats.ttest_1samp([(0.1 + 0.001 * seed) / 2 for seed in range(5)], 0)
    ends = tuple(means.confidence_interval(0.95))
    for row, scale in ((decided, 2), (found["overall"], 1)):
        assert (row["n"], row["seeds"], row["verdict"]) == (5, [*"01234"], "Robust")
        assert (row["low"] / scale, row["high"] / scale) == pytest.approx(ends)


def test_seeds_of_the_evaluation_measure_the_same_pair_again(compare: Compare) -> None:
    source = training("glyphs:size=16,count=8000,seed=0", 0)
    ours, theirs = (
        [
            evaluate_document(ticket_of(0.9), source, results(base + i * step), seed=i)
            for i in range(3)
        ]
        for base, step in ((0.5, 0.003), (0.25, 0.001))
    )
    (group,) = compare(ours, theirs)["groups"]
    row = group["figures"][0]["overall"]
    assert (group["counts"], row["n"], row["verdict"]) == ("pretraining seeds", 1, "undecided")
    assert row["difference"] == pytest.approx(0.252)  # the mean over what was measured again


def test_one_seed_is_undecided_and_has_no_interval(compare: Compare) -> None:
    one, other = (transfer_document(0.9, 0, p, results(v)) for p, v in ((PGD, 0.9), (None, 0.1)))
    row = compare([one], [other])["groups"][0]["figures"][0]["overall"]
    assert (row["n"], row["low"], row["high"], row["verdict"]) == (1, None, None, "undecided")


def test_where_the_priors_are_not_one_robust_one_natural_the_folders_win(compare: Compare) -> None:
    document = compare(side(ROBUST, PGD), side(NATURAL, "smoothing:sigma=0.1"))
    assert document["groups"][0]["winners"] == ["robust", "natural"]
    assert document["groups"][0]["figures"][0]["overall"]["verdict"] == "robust"


def test_the_natural_side_may_come_first(compare: Compare) -> None:
    document = compare(side(NATURAL, None), side(ROBUST, PGD))
    assert document["groups"][0]["winners"] == ["Natural", "Robust"]
    top1 = document["groups"][0]["figures"][0]
    assert [row["verdict"] for row in top1["sparsities"]] == ["Match", "Robust", "Robust"]
    assert top1["overall"]["difference"] < 0


def test_the_same_prior_on_both_sides_is_told(compare: Compare) -> None:
    document = compare(side(ROBUST, None), side(NATURAL, None))
    assert "the sides have the same prior, natural" in document["notes"]


def test_networks_of_other_settings_are_groups_of_their_own(compare: Compare) -> None:
    ours, theirs = (
        [*side(v, prior), *side(v, prior, mode="finetune")]
        for v, prior in ((ROBUST, PGD), (NATURAL, None))
    )
    document = compare(ours, theirs)
    assert [g["settings"]["mode"] for g in document["groups"]] == ["finetune", "linear"]


def test_what_differs_beside_the_prior_is_told(compare: Compare) -> None:
    ours, theirs = side(ROBUST, PGD), side(NATURAL, None)
    for content in ours:
        content["ticket"]["provenance"]["robustifier"] = PGD  # A-IMP
        content["transfer"]["fit"] = "solver=newton,l2=1"
        content["ticket"]["sparsity"]["reached"]["prunable"] -= 0.01
    notes = compare(ours, theirs)["notes"]
    assert f'beside the prior the sides differ: ticket robustifier is "{PGD}" and null' in notes
    assert any("the sides differ: fit is" in note for note in notes)
    assert "at sparsity 0.9 robust reached 0.8900, natural 0.9000" in notes


def test_what_has_no_counterpart_is_counted_and_the_reason_told(compare: Compare) -> None:
    theirs = [c for c in side(NATURAL, None) if c["ticket"]["sparsity"]["requested"] != 0.99]
    document = compare(side(ROBUST, PGD), theirs)
    assert (document["a"]["unpaired"], document["b"]["unpaired"]) == (3, 0)
    (note,) = document["notes"]
    assert note.startswith("3 left out: ")
    assert note.endswith("/natural; the nearest differs in sparsity: 0.99, there 0.9")
    assert document["groups"][0]["figures"][0]["overall"]["of"] == [0.9]


def test_pictures_of_other_bytes_are_not_paired(compare: Compare) -> None:
    theirs = side(NATURAL, None)
    theirs[0]["data"] = {"test": {"count": 1697, "sha256": "others"}}
    (note,) = compare(side(ROBUST, PGD), theirs)["notes"][:1]
    assert 'seeds.data.test.sha256: "0", there "others"' in note


def test_where_nothing_belongs_together_the_nearest_difference_is_told(compare: Compare) -> None:
    theirs = side(NATURAL, None)
    for content in theirs:
        content["ticket"]["parts"]["scheme"] = "row"
    with pytest.raises(ticketkit.MismatchError) as caught:
        compare(side(ROBUST, PGD), theirs)
    assert str(caught.value).startswith("nothing to pair: ")
    assert str(caught.value).endswith('ticket.scheme: "unstructured", there "row"')


def test_the_same_network_twice_with_other_values_is_refused(compare: Compare) -> None:
    ours = side(ROBUST, PGD)
    ours.append(transfer_document(0.9, 0, PGD, results(0.5)))
    with pytest.raises(ticketkit.InputError) as caught:
        compare(ours, side(NATURAL, None))
    for told in ("transfer-0001/", "transfer-0009/", "accuracy.top1 is 0.85 in one and 0.5 in"):
        assert told in str(caught.value)


def test_the_same_network_twice_counts_once(compare: Compare) -> None:
    ours = side(ROBUST, PGD)
    document = compare([*ours, ours[1]], side(NATURAL, None))
    assert document["groups"][0]["figures"][0]["overall"]["n"] == 3
    assert document["a"]["unpaired"] == 0


def test_a_network_may_be_measured_bit_by_bit(compare: Compare) -> None:
    ours = side(ROBUST, PGD)
    parts = [
        {**content, "results": {spec: found}}
        for content in ours
        for spec, found in content["results"].items()
    ]
    document = compare(parts, side(NATURAL, None))
    assert figures(document) == ["accuracy.top1", f"{ADVERSARIAL}.pgd10-0.25"]


@pytest.mark.parametrize("prior", ["smoothing:sigma=0.1", None])
def test_a_side_of_two_priors_is_refused(prior: str | None, compare: Compare) -> None:
    ours = [*side(ROBUST[:2], PGD), transfer_document(0.9, 2, prior, results(0.5))]
    with pytest.raises(ticketkit.InputError, match=r"but differ in prior: .*folder of its own"):
        compare(ours, side(NATURAL, None))


def test_evaluated_transfers_are_compared_by_the_prior_of_their_pretraining(
    compare: Compare,
) -> None:
    ours, theirs = (
        [
            evaluated_document(transfer_document(0.9, seed, prior, {}), results=results(top1))
            for seed, top1 in enumerate((base, base + 0.01, base + 0.02))
        ]
        for prior, base in ((PGD, 0.5), (None, 0.25))
    )
    (group,) = compare(ours, theirs)["groups"]
    assert (group["winners"], group["counts"]) == (["Robust", "Natural"], "pretraining seeds")
    assert group["figures"][0]["overall"]["verdict"] == "Robust"


def test_evaluated_transfers_of_one_pretrained_pair_count_as_such(compare: Compare) -> None:
    ours, theirs = (
        [
            evaluated_document(transfer_document(0.9, 0, prior, results(0.5), seed=seed))
            for seed in range(3)
        ]
        for prior in (PGD, None)
    )
    (group,) = compare(ours, theirs)["groups"]
    assert group["counts"] == "transfer seeds"


def test_a_robustifier_that_ruins_the_source_is_warned_of(compare: Compare) -> None:
    ours = [*side(ROBUST, PGD), pretrain_document(0, PGD, 0.5)]
    theirs = [*side(NATURAL, None), pretrain_document(0, None, 0.8)]
    (note,) = compare(ours, theirs)["notes"]
    assert "loses 30.0 points on the source task" in note


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ((), ["accuracy.top1", f"{ADVERSARIAL}.pgd10-0.25"]),
        (("accuracy",), ["accuracy.top1"]),
        (("accuracy.per_class", "accuracy.top1"), ["accuracy.per_class", "accuracy.top1"]),
        (("adversarial.pgd10-0.25",), [f"{ADVERSARIAL}.pgd10-0.25"]),
        ((ADVERSARIAL, "adversarial"), [f"{ADVERSARIAL}.pgd10-0.25"]),
    ],
)
def test_figures_are_chosen_by_name(
    asked: tuple[str, ...], found: list[str], compare: Compare
) -> None:
    assert figures(compare(side(ROBUST, PGD), side(NATURAL, None), *asked)) == found


def test_an_unknown_figure_is_refused_with_the_near_ones(compare: Compare) -> None:
    with pytest.raises(ticketkit.UsageError, match=r"choose from .*did you mean 'accuracy\.top1'"):
        compare(side(ROBUST, PGD), side(NATURAL, None), "accuracy.top5")


def test_a_figure_of_one_side_alone_is_told(compare: Compare) -> None:
    theirs = side(NATURAL, None)
    for content in theirs:
        content["results"]["adversarial:eps=1"] = content["results"].pop(ADVERSARIAL)
    document = compare(side(ROBUST, PGD), theirs)
    assert figures(document) == ["accuracy.top1"]
    assert document["notes"] == [
        "measured on one side alone, or in other units: "
        f"adversarial:eps=1.pgd10-0.25, {ADVERSARIAL}.pgd10-0.25"
    ]


def test_without_a_common_figure_there_is_nothing_to_compare(compare: Compare) -> None:
    theirs = side(NATURAL, None)
    for content in theirs:
        content["results"] = {"ece": {"ece": estimate(0.1, better="lower")}}
    with pytest.raises(ticketkit.MismatchError, match="no figure was measured on both sides"):
        compare(side(ROBUST, PGD), theirs)


def test_documents_that_cannot_be_read_are_noted_and_the_rest_compared(
    compare: Compare, tmp_path: Path
) -> None:
    bad: Documents = [
        {"schema": "ticketkit.prune/1"},
        {"schema": ["\x1b"]},
        transfer_document(0.95, 0, PGD, results(float("nan"))),
        {**pretrain_document(0, None, 0.5), "results": None},
    ]
    write_run(tmp_path / "robust/going", None)
    document = compare([*side(ROBUST, PGD), *bad], side(NATURAL, None))
    assert document["groups"][0]["figures"][0]["overall"]["n"] == 3
    notes = "\n".join(document["notes"])
    for told in (
        "going: a run that is not finished",
        "ticketkit.evaluate/1, found 'ticketkit.prune/1'",
        "found ['\\x1b']",
        "accuracy.top1: expected a finite number, found nan",
        "expected an object, found None",
    ):
        assert told in notes
    assert all(note.startswith("passed over: ") for note in document["notes"])


def test_of_many_files_that_are_passed_over_some_are_named(
    compare: Compare, tmp_path: Path
) -> None:
    (tmp_path / "robust").mkdir()
    for number in range(100):
        (tmp_path / f"robust/{number:03}.json").write_text("{}")
    notes = compare(side(ROBUST, PGD), side(NATURAL, None))["notes"]
    assert (len(notes), notes[-1]) == (21, "passed over: 80 more")
    assert "robust/019.json" in notes[19]


def test_a_side_without_results_is_refused_with_the_reasons(tmp_path: Path) -> None:
    good = write_runs(tmp_path / "good", side(NATURAL, None))
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "going/run", None)
    (tmp_path / "cut.json").write_text(json.dumps(side(ROBUST, PGD)[0])[:-5])
    for name, told in (
        ("empty", "empty: no result of transfer or evaluate to compare$"),
        ("going", r"to compare \(passed over: .*not finished\)"),
        ("cut.json", r"to compare \(passed over: .*cut\.json is no JSON"),
        ("nothing", "nothing: no such file or folder"),
    ):
        for pair in ((tmp_path / name, good), (good, tmp_path / name)):
            with pytest.raises(ticketkit.InputError, match=told):
                compared(*pair)


def test_one_file_on_both_sides_is_refused(tmp_path: Path) -> None:
    write_runs(tmp_path / "a", side(ROBUST, PGD))
    for other in (tmp_path, tmp_path / "b/../a"):
        (tmp_path / "b").mkdir(exist_ok=True)
        with pytest.raises(ticketkit.UsageError, match=r"transfer-0000/.* is on both sides"):
            compared(tmp_path / "a", other)


def test_the_order_of_files_changes_nothing(tmp_path: Path) -> None:
    ours, theirs = side(ROBUST, PGD), side(NATURAL, None)
    found = []
    for name, order in (("one", 1), ("two", -1)):
        a = write_runs(tmp_path / name / "a", ours[::order])
        found.append(compared(a, write_runs(tmp_path / name / "b", theirs))["groups"])
    assert found[0] == found[1]
