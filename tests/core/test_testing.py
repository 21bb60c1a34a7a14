"""The conformance kit: a sound part passes, and each broken promise is told."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import ticketkit
from tests.core import broken
from ticketkit import hookspecs, testing
from ticketkit.testing import (
    AllocationLaws,
    CriterionLaws,
    EvaluatorLaws,
    PriorLaws,
    RobustifierLaws,
    SchemeLaws,
    TaskLaws,
)

LAWS = {
    ticketkit.Scheme: SchemeLaws,
    ticketkit.Criterion: CriterionLaws,
    ticketkit.Allocation: AllocationLaws,
    ticketkit.Task: TaskLaws,
    ticketkit.Evaluator: EvaluatorLaws,
    ticketkit.Robustifier: RobustifierLaws,
    ticketkit.Prior: PriorLaws,
}


@dataclass(frozen=True)
class Bricks(ticketkit.BlockScheme):
    """Blocks of an option's size, smaller ones at the edges."""

    name = "bricks"
    side: int = 3

    def block(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.side,) * len(shape)


class Leading(ticketkit.Scheme):
    """The leading weights of each layer: a scheme that is no tiling."""

    name = "leading"

    def select(
        self, scores: broken.Scores, budget: ticketkit.Budget, within: ticketkit.Mask | None
    ) -> ticketkit.Mask:
        sizes = {name: values.numel() for name, values in scores.items()}
        least = 0 if budget.allow_empty_layers else 1
        part = budget.total / sum(sizes.values())
        shares = budget.shares or {n: max(least, int(part * size)) for n, size in sizes.items()}
        if sum(shares.values()) > budget.total:
            raise ticketkit.UnreachableSparsity("each layer keeps a weight", highest=0.0)
        keeps = {n: torch.arange(size) < shares[n] for n, size in sizes.items()}
        mask = ticketkit.Mask({n: keep.reshape(scores[n].shape) for n, keep in keeps.items()})
        return mask & within if within else mask


class TestPairs(SchemeLaws):
    part = broken.Pairs()


class TestBricks(SchemeLaws):
    part = Bricks()


class TestWholeLayers(SchemeLaws):
    part = Bricks(side=99)


class TestSchemeThatIsNoTiling(SchemeLaws):
    part = Leading()


class TestSchemeOfOneSparsity(SchemeLaws):
    part = broken.Half()

    def test_what_was_removed_stays_removed(self) -> None:
        """It looks at no mask of an earlier round."""


class TestCriterionThatCollects(CriterionLaws):
    part = broken.Gradient()


class TestAllocationThatRescales(AllocationLaws):
    part = broken.Doubles()


class TestCriterion(CriterionLaws):
    part = broken.Criterion()


class TestAllocation(AllocationLaws):
    part = broken.Uniform()


class TestTask(TaskLaws):
    part = broken.Task()


class TestTaskOfPixels(TaskLaws):
    part = broken.Scenes()


class TestTaskThatIsNotInMemory(TaskLaws):
    part = broken.Floating()


class TestRobustifier(RobustifierLaws):
    part = broken.Noise()


class TestEvaluatorOfOutputsAlone(EvaluatorLaws):
    part = broken.Margin()


class TestEvaluatorOfTime(EvaluatorLaws):
    part = broken.Clock()
    varies = ("margin",)


class TestPrior(PriorLaws):
    part = broken.Shelf()


BROKEN = [
    (broken.IgnoresTheBudget, "it_keeps_no_more_than_the_budget", "budget"),
    (broken.WastesTheBudget, "it_uses_the_budget_up", "of the budget are left"),
    (broken.CutsBlocks, "a_block_lives_or_dies_as_a_whole", "live and die together"),
    (broken.EmptiesLayers, "every_layer_keeps_something", "ke(eps|pt) nothing"),
    (
        broken.IgnoresTheBudget,
        "empty_layers_are_left_to_the_ranking_where_they_are_allowed",
        "budget",
    ),
    (broken.Rotates, "a_higher_sparsity_keeps_a_part_of_what_a_lower_one_keeps", "a lower one"),
    (broken.AlwaysRemoves, "sparsity_0_keeps_everything", "sparsity 0 removed"),
    (broken.DrawsLots, "the_same_weights_give_the_same_mask", "another mask came of"),
    (broken.Coarse, "the_dtype_does_not_matter", "float64 weights gave another mask"),
    (broken.IgnoresShares, "shares_bind_each_layer", "its share is"),
    (broken.ForgetsWhatWasRemoved, "what_was_removed_stays_removed", "has come back"),
    (broken.DrawsLots, "the_network_is_left_alone", "torch's global generator"),
    (broken.DrawsLots, "a_ticket_comes_back_from_its_file", "files of different bytes"),
    (broken.ReturnsNan, "scores_are_finite_and_of_the_weights_shape", "NaN or infinite"),
    (broken.ReturnsOneNumber, "scores_are_finite_and_of_the_weights_shape", "the weight's shape"),
    (broken.ReturnsIntegers, "scores_are_finite_and_of_the_weights_shape", r"found torch\.int64"),
    (broken.ChangesTheWeight, "the_weight_is_left_alone", "changed the weight"),
    (broken.Lots, "scores_are_the_same_for_the_same_seed_and_name", "different scores"),
    (broken.Lots, "it_draws_lots_from_its_context_alone", r"use context\.generator"),
    (broken.SeedsGlobally, "it_draws_lots_from_its_context_alone", r"use context\.generator"),
    (broken.LotsInMemoryOrder, "scores_do_not_depend_on_the_layout_in_memory", "in strides"),
    (broken.Normalised, "an_elementwise_score_depends_on_its_weight_alone", "set elementwise"),
    (broken.Positional, "an_elementwise_score_depends_on_its_weight_alone", "set elementwise"),
    (broken.Lots, "a_draw_works_with_it", "another mask"),
    (broken.Counts, "its_options_are_fields_of_a_frozen_dataclass", "no state.*'calls'"),
    (broken.Changeable, "its_options_are_fields_of_a_frozen_dataclass", "frozen=True"),
    (broken.Undocumented, "it_says_what_it_does", "has no docstring"),
    (broken.Undocumented, "it_has_a_name", "found 'Not A Name'"),
    (broken.ForgetsALayer, "it_names_every_layer_and_no_other", r"not so \['\w+\.weight'\]"),
    (broken.ReturnsFractions, "a_budget_is_a_whole_number_within_its_layer", r"found \d+\.0"),
    (broken.ExceedsALayer, "a_budget_is_a_whole_number_within_its_layer", "from 0 to"),
    (broken.SparesTheFirst, "the_same_layers_get_the_same_budgets", "in the order"),
    (broken.Moody, "the_same_layers_get_the_same_budgets", "other budgets"),
    (broken.NeverAll, "sparsity_0_keeps_everything", "sparsity 0 keeps all"),
    (broken.Rises, "a_higher_sparsity_gives_no_layer_more", "at sparsity"),
    (broken.TakesLayersOut, "the_layers_are_left_alone", "changed the layers"),
    # Whether the draw or the law finds out is a matter of luck.
    (broken.Moody, "a_draw_works_with_it", "kept of|its last round keeps"),
    (
        broken.MissesItsSparsity,
        "a_sparsity_of_its_own_is_a_fraction_and_met_in_each_layer",
        r"where \d+ are due",
    ),
    (
        broken.FixesAPercentage,
        "a_sparsity_of_its_own_is_a_fraction_and_met_in_each_layer",
        "found 50",
    ),
    (broken.SparesForNoReason, "it_spares_a_layer_for_a_reason_or_cuts_it", "found False"),
    (broken.SparesBySize, "it_spares_a_layer_for_a_reason_or_cuts_it", "belong to other layers"),
    (broken.RescalesToLogarithms, "rescaled_scores_are_finite_and_as_many", "found .* are not"),
    (broken.RescalesToOne, "rescaled_scores_are_finite_and_as_many", "scores became"),
    (broken.RescalesToIntegers, "rescaled_scores_are_finite_and_as_many", "floating tensor"),
    (broken.RescalesUpsideDown, "rescaling_keeps_the_order", "overtaken"),
    (broken.RescalesToRanks, "rescaling_keeps_the_order", "became unequal"),
    (broken.CollectsNothing, "it_collects_a_finite_tensor_of_each_parameter", "found None"),
    (broken.CollectsNumbers, "it_collects_a_finite_tensor_of_each_parameter", "a tensor of"),
    (broken.CollectsNan, "it_collects_a_finite_tensor_of_each_parameter", "finite tensors"),
    (broken.Trains, "collecting_leaves_the_network_alone", "conv.weight"),
    (broken.Backward, "collecting_leaves_the_network_alone", "the gradient of conv.weight"),
    (broken.CollectsLots, "collecting_twice_finds_the_same", "the second time"),
    (broken.OneClass, "it_says_how_many_classes_there_are_and_how_they_are_measured", "found 1"),
    (broken.NoTest, "its_splits_are_train_and_test_and_not_empty", "test is a data set"),
    (broken.EmptyTest, "its_splits_are_train_and_test_and_not_empty", "test is empty"),
    (broken.ListOfSplits, "its_splits_are_train_and_test_and_not_empty", "found list"),
    (broken.PicturesAlone, "an_item_is_a_picture_and_its_target", "found Tensor"),
    (broken.NoChannels, "an_item_is_a_picture_and_its_target", r"found \(4, 5\)"),
    (broken.Normalised255, "an_item_is_a_picture_and_its_target", r"in \[0, 1\]"),
    (broken.FloatingTargets, "an_item_is_a_picture_and_its_target", r"found torch\.float32"),
    (broken.OneTargetAScene, "an_item_is_a_picture_and_its_target", r"of shape \(4, 5\)"),
    (broken.CountsFromOne, "targets_are_classes", r"0 to 1, found \[2\]"),
    (
        broken.TestsWhatItNeverTrains,
        "no_class_is_tested_that_is_not_trained",
        r"has not: \[0\]",
    ),
    (broken.Shuffles, "its_data_are_the_same_on_every_call", "another one the second time"),
    (broken.ShufflesGlobally, "it_draws_lots_from_no_global_generator", "took numbers"),
    (broken.SeedsBefore, "it_draws_lots_from_no_global_generator", "depend on torch's"),
    (
        broken.ThreeMeans,
        "its_normalisation_is_a_mean_and_a_deviation_of_each_channel",
        "each of 1 channels",
    ),
    (
        broken.NoDeviation,
        "its_normalisation_is_a_mean_and_a_deviation_of_each_channel",
        "above 0",
    ),
    (
        broken.MeanAlone,
        "its_normalisation_is_a_mean_and_a_deviation_of_each_channel",
        "mean and std",
    ),
    (broken.Crops, "pictures_come_back_in_their_shape_and_dtype_and_finite", "keep their shape"),
    (broken.Single, "pictures_come_back_in_their_shape_and_dtype_and_finite", "keep their dtype"),
    (broken.Divides, "pictures_come_back_in_their_shape_and_dtype_and_finite", "NaN or infinite"),
    (broken.Divides, "it_works_on_segmentation_targets", "NaN or infinite"),
    (broken.WorksInPlace, "the_pictures_are_left_alone", "changed the inputs"),
    (broken.Ascends, "the_network_is_left_alone", "the gradient of linear.weight"),
    (broken.Evaluates, "the_network_is_left_alone", "training mode"),
    (broken.MovesStatistics, "the_network_is_left_alone", "norm.running_mean"),
    (broken.KeepsItsGraph, "what_comes_back_hangs_on_no_graph", "detach it"),
    (broken.OtherNoise, "the_same_seed_gives_the_same_bits", "different pictures"),
    (broken.OtherNoise, "it_draws_lots_from_its_context_alone", r"use context\.generator"),
    (broken.SeedsTorch, "it_draws_lots_from_its_context_alone", r"use context\.generator"),
    (broken.Shrinks, "a_lower_strength_perturbs_no_more", "at full strength by"),
    (broken.YieldsNothing, "batches_makes_one_step_or_more_of_a_batch", "yielded nothing"),
    (broken.KeepsItsGraph, "batches_makes_one_step_or_more_of_a_batch", "detach it"),
    (broken.ReturnsAPath, "it_chooses_a_path_and_says_why", "not PosixPath"),
    (broken.NamesAFile, "it_chooses_a_path_and_says_why", "found 'resnet18.pt'"),
    (broken.GivesNoReason, "it_chooses_a_path_and_says_why", "are words"),
    (broken.OfNoStrength, "it_chooses_a_path_and_says_why", "found -1"),
    (broken.ChangesItsMind, "the_same_question_gets_the_same_answer", "asked twice"),
    (broken.KnowsOneTask, "it_answers_or_says_what_it_lacks", "raised KeyError: None"),
    (broken.NamesSamples, "its_figures_have_the_same_names_whatever_the_data", "on other data"),
    (broken.Prunes, "the_network_is_left_as_it_was_found", "changed the network: conv.weight"),
    (broken.SeedsNumPy, "the_network_is_left_as_it_was_found", "NumPy's global generator"),
    (broken.Blackens, "the_data_are_left_alone", "changed pictures"),
    (broken.ByBatch, "the_size_of_batches_does_not_matter", "in batches of 5"),
    (broken.AddsLots, "the_same_seed_gives_the_same_figures", "the second time"),
    (
        broken.LastAlone,
        "the_order_of_samples_does_not_matter_to_outputs_alone",
        "in another order",
    ),
    (broken.ByHand, "pictures_may_be_bytes", "failed"),
    (broken.ByHand, "batches_serve_as_a_data_set_does_or_are_refused", "a list of batches made"),
    (broken.Deviates, "one_sample_is_measured_or_refused", "ZeroDivisionError"),
    (broken.Forgives, "empty_data_is_an_evaluation_error", "empty data gave"),
    (broken.Looks, "outputs_that_are_not_finite_are_an_evaluation_error", "an output of nan gave"),
    (broken.Looks, "labels_that_are_no_class_are_an_evaluation_error", "label -1 gave"),
    (broken.Looks, "outputs_of_too_few_dimensions_are_refused", "of 1 dimensions"),
    (broken.TrainsByItself, "batches_makes_one_step_or_more_of_a_batch", "changed linear.weight"),
]


@pytest.mark.parametrize(("part", "law", "told"), BROKEN)
def test_a_broken_promise_is_told(part: type[Any], law: str, told: str, tmp_path: Path) -> None:
    # Some promises the core checks at each draw as well.
    with pytest.raises((AssertionError, ticketkit.PluginError), match=f"(?s){told}"):
        run(law, part(), tmp_path)


@pytest.mark.parametrize("part", [broken.ReturnsNan, broken.ForgetsALayer])
def test_a_draw_that_the_core_refuses_names_the_part(part: type[Any], tmp_path: Path) -> None:
    with pytest.raises(ticketkit.PluginError, match=re.escape(repr(part.name))):
        run("a_draw_works_with_it", part(), tmp_path)


@pytest.mark.parametrize(
    "kind", ["schemes", "criteria", "allocations", "robustifiers", "tasks", "priors", "evaluators"]
)
def test_the_example_of_each_hook_keeps_its_promises(kind: str, tmp_path: Path) -> None:
    hook = f"ticketkit_{kind}"
    text = getattr(hookspecs, hook).__doc__.split("A whole plugin:\n", 1)[1]
    code = [line[8:] for line in text.splitlines() if line.startswith(" " * 8) or not line.strip()]
    module: dict[str, Any] = {}
    exec("\n".join(code), module)  # the example in the documentation
    for part in module[hook]():
        for law in laws_of(part()):
            run(law, part(), tmp_path)


def test_each_law_is_broken_by_some_part_here() -> None:
    for base in LAWS.values():
        laws = {name for name in dir(base) if name.startswith("test_")}
        # A class that no plugin offers has no spec to go by.
        told = {f"test_{law}" for _, law, _ in BROKEN}
        specs = {"test_its_spec_makes_it_again", "test_its_spec_draws_the_ticket_again"}
        assert laws - told == laws & specs


def test_each_law_says_what_is_promised() -> None:
    for base in LAWS.values():
        laws = [getattr(base, name) for name in dir(base) if name.startswith("test_")]
        assert all(law.__doc__ and law.__doc__.strip().endswith(".") for law in laws)


def test_the_kit_uses_what_is_public_and_imports_no_pytest() -> None:
    for path in Path(inspect.getfile(testing)).parent.glob("*.py"):
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names = {n.module for n in tree if isinstance(n, ast.ImportFrom)} | {
            alias.name for n in tree if isinstance(n, ast.Import) for alias in n.names
        }
        assert "pytest" not in names
        ours = {name for name in names if name and name.startswith("ticketkit")}
        assert all(name == "ticketkit" or name.startswith("ticketkit.testing") for name in ours)


AUTHOR = """
import dataclasses
import ticketkit
from ticketkit.testing import AllocationLaws, CriterionLaws, SchemeLaws

class Pairs(ticketkit.BlockScheme):
    name = "pairs"
    def block(self, shape):
        return (2, *shape[1:])

class Wasteful(Pairs):
    def select(self, scores, budget, within):
        less = dataclasses.replace(budget, total=budget.total // 3, allow_empty_layers=True)
        return super().select(scores, less, within)

class TestPairs(SchemeLaws):
    part = Pairs()

class TestWasteful(SchemeLaws):
    part = Wasteful()
"""


def test_an_author_learns_from_pytest_what_was_promised(tmp_path: Path) -> None:
    file = tmp_path / "test_author.py"
    file.write_text(AUTHOR, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "budget_up"]
    done = subprocess.run([*command, file.name], cwd=tmp_path, capture_output=True, text=True)
    assert "test_author.py::TestWasteful::test_it_uses_the_budget_up" in done.stdout
    assert "but no block has more than" in done.stdout
    # The laws that are imported are not collected by themselves.
    assert "1 failed, 1 passed" in done.stdout


def laws_of(part: Any) -> list[str]:
    """The names of the laws of a part, without `test_`."""
    base = next(base for kind, base in LAWS.items() if isinstance(part, kind))
    return [name.removeprefix("test_") for name in dir(base) if name.startswith("test_")]


def run(law: str, part: Any, folder: Path) -> None:
    """Run one law on a part, as pytest would on an author's class."""
    base = next(base for kind, base in LAWS.items() if isinstance(part, kind))
    method = getattr(type("TestPart", (base,), {"part": part})(), f"test_{law}")
    method(*([folder] if "tmp_path" in inspect.signature(method).parameters else []))
