"""The schedules that have a name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

import pytest

from ticketkit.errors import UsageError
from ticketkit.options import written
from ticketkit.presets import Stage, schedule_of
from ticketkit.schedules import Schedule


def test_paper_finetunes_as_the_paper_says() -> None:
    # Fu et al., section III-A: 150 epochs, batch 64, momentum 0.9, weight decay 1e-4, a tenth of
    # the learning rate at 50 and 100.
    found = schedule_of("paper", "finetune")
    assert (found.epochs, found.batch, found.momentum, found.weight_decay) == (150, 64, 0.9, 1e-4)
    assert found.milestones == (50, 100)
    assert found.lr == 0.001
    assert schedule_of("paper", "linear").lr == 0.01


def test_paper_segments_as_the_paper_says() -> None:
    found = schedule_of("paper", "finetune", segmentation=True)
    assert (found.steps, found.batch, found.milestones) == (30_000, 4, (18_000, 22_000))
    assert (found.epochs, found.momentum, found.weight_decay) == (0, 0.9, 1e-4)


@pytest.mark.parametrize(("task", "rate"), [("cars", 0.01), ("cifar10", 0.001)])
def test_salman_has_its_own_weight_decay_and_a_rate_for_each_task(task: str, rate: float) -> None:
    found = schedule_of("salman", "finetune", task=task)
    assert found == replace(schedule_of("paper", "finetune"), weight_decay=5e-4, lr=rate)


def test_small_finetunes_few_pictures_for_longer() -> None:
    assert schedule_of("small", "finetune", count=100).epochs == 40
    assert schedule_of("small", "finetune", count=500).epochs == 12


def test_small_solves_a_linear_evaluation_and_trains_the_head_of_a_segmenter() -> None:
    assert schedule_of("small", "linear").solver == "newton"
    found = schedule_of("small", "linear", segmentation=True)
    assert (found.solver, found.batchnorm) == ("sgd", "recalibrate")


def test_paper_trains_scores_as_hidden_networks_are() -> None:
    # METHODS 4: SGD 0.1, momentum 0.9, weight decay 5e-4, batch 256, 160 epochs.
    found = schedule_of("paper", "mask")
    assert (found.optimizer, found.lr, found.momentum, found.weight_decay) == (
        "sgd",
        0.1,
        0.9,
        5e-4,
    )
    assert (found.epochs, found.batch, found.decay, found.size) == (160, 256, "cosine", 224)
    assert schedule_of("salman", "mask") == found
    scenes = schedule_of("paper", "mask", segmentation=True)
    assert (scenes.steps, scenes.lr, scenes.weight_decay) == (30_000, 0.1, 5e-4)


@pytest.mark.parametrize("segmentation", [False, True])
def test_small_trains_scores_by_adam(segmentation: bool) -> None:
    for count in (100, 500):
        found = schedule_of("small", "mask", count=count, segmentation=segmentation)
        assert (found.optimizer, found.lr, found.weight_decay) == ("adam", 0.003, 0.0)
        assert (found.epochs, found.batch, found.batchnorm) == (60, 64, "train")


def test_what_differs_from_a_preset_is_written_behind_it() -> None:
    found = schedule_of("paper:lr=1/50,batch=8", "finetune")
    assert found == replace(schedule_of("paper", "finetune"), lr=0.02, batch=8)


def test_milestones_move_with_the_length() -> None:
    found = schedule_of("paper:epochs=30", "finetune")
    assert (found.epochs, found.milestones) == (30, (10, 20))
    assert schedule_of("paper:epochs=1", "finetune").milestones == (1,)
    steps = schedule_of("paper:steps=300", "finetune")
    assert (steps.epochs, steps.steps, steps.milestones) == (0, 300, (100, 200))
    epochs = schedule_of("paper:epochs=10", "finetune", segmentation=True)
    assert (epochs.epochs, epochs.steps, epochs.milestones) == (10, 0, (6, 7))


def test_milestones_that_are_given_stay() -> None:
    assert schedule_of("paper:epochs=30,milestones=5+9", "finetune").milestones == (5, 9)
    assert schedule_of("paper:milestones=", "finetune").milestones == ()


def test_a_linear_evaluation_by_steps_is_a_spec_too() -> None:
    found = schedule_of("small:solver=sgd,epochs=5", "linear")
    assert (found.solver, found.epochs) == ("sgd", 5)


def test_a_schedule_written_out_is_the_same_schedule() -> None:
    for stage in get_args(Stage):
        for preset in ("paper", "salman", "small"):
            found = schedule_of(preset, stage)
            assert schedule_of(f"small:{written(found)}", "pretrain") == found
            assert schedule_of(written(found), "pretrain", count=100) == found


def test_a_spec_without_a_preset_is_a_whole_schedule() -> None:
    found = schedule_of("epochs=3, lr=1/50,milestones=1+2", "linear", segmentation=True)
    assert found == Schedule(epochs=3, lr=0.02, milestones=(1, 2))


def test_a_schedule_stands_for_itself() -> None:
    mine = Schedule(epochs=1)
    assert schedule_of(mine, "pretrain") is mine


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("papr", "unknown preset 'papr'; choose from paper, salman, small; did you mean 'paper'?"),
        ("smal,epochs=1", "unknown preset 'smal,epochs=1'; choose from paper, salman, small"),
        ("epoch=1", "'epoch=1': no option 'epoch'; it has epochs, steps"),
        ("lr=0.1", "a schedule is counted in epochs or in steps: found epochs=0, steps=0"),
        ("epochs=1,small", "'epochs=1,small': expected key=value, found 'small'"),
        ("epochs=1:lr=2", "epochs is a whole number, found '1:lr=2'"),
        ("epochs=1,optimizer=adm", "unknown optimizer 'adm'; choose from adadelta, "),
        ("paper:rate=1", "'paper:rate=1': no option 'rate'; it has epochs, steps"),
        ("paper:epochs=many", "epochs is a whole number, found 'many'"),
        ("paper:epochs=0", "found epochs=0, steps=0"),
        ("small:decay=linear", "decay is one of steps, cosine, found 'linear'"),
        ("small:optimizer=adm", "unknown optimizer 'adm'; choose from adadelta, "),
        ("small:optimizer=lbfgs", "optimizer LBFGS cannot train here: it evaluates the loss"),
        (Schedule(epochs=1, optimizer="no"), "unknown optimizer 'no'; choose from"),
        (3, "a schedule is a spec string such as 'paper:lr=0.01' or a ticketkit.Schedule, found 3"),
    ],
)
def test_a_spec_without_meaning_is_refused(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        schedule_of(spec, "pretrain")


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(
        UsageError, match="one of pretrain, finetune, linear, upstream, downstream, mask, "
    ):
        schedule_of("small", "train")  # type: ignore[arg-type]


def test_a_schedule_that_is_written_out_is_read_as_it_was() -> None:
    for stage in ("pretrain", "finetune", "linear", "upstream", "downstream", "mask"):
        for preset in ("paper", "salman", "small"):
            found = schedule_of(preset, stage)
            assert schedule_of(written(found), stage) == found
    with pytest.raises(UsageError, match=r"no option 'epoch'; .*did you mean 'epochs'"):
        schedule_of("epoch=3", "pretrain")
