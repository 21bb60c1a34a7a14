"""Two processes of torch.distributed: how they join, what they share, and how they leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import ticketkit
from tests.core import scenes
from tests.core.networks import Named, network, pictures
from tests.ranks import Rank, ended, start
from ticketkit.distributed import leads, local_rank, session, world
from ticketkit.errors import UsageError
from ticketkit.ticketreader import read

SCENES = Path(scenes.__file__)
Found = list[dict[str, Any]]


def play(folder: Path, *names: str, size: int = 2) -> list[Rank]:
    return ended(start([SCENES, folder, *names], folder, size))


def found_in(folder: Path, size: int = 2) -> Found:
    return [json.loads((folder / f"{rank}.json").read_bytes()) for rank in range(size)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each of two processes found in all scenes."""
    folder = tmp_path_factory.mktemp("two")
    ranks = play(folder, "shared", "drawn", "trained", "learned", "resumed", "rounds")
    assert ranks == [Rank(0, "", "")] * 2
    return found_in(folder)


def test_what_the_first_gives_all_have(found: Found) -> None:
    for each in found:
        assert each["share"] == "from 0"
        assert each["share_tensors"] == [[0.0], [0, 7]]
        assert each["gathered"] == [[0.5, 2.0], [1.5, 2.0]]
        assert each["led"] == {"drawn by": 0}


def test_an_error_of_the_first_is_everyones(found: Found) -> None:
    assert [each["led by an error"] for each in found] == [["UsageError", "found 0"]] * 2
    first, second = (each["led by a fault"] for each in found)
    assert first == ["UsageError", "as it was: integer division or modulo by zero"]
    assert second[0] == "TrainingError"
    assert "the leading process failed: ZeroDivisionError" in second[1]


def test_the_first_goes_first(found: Found) -> None:
    assert [each["in_turn"] for each in found] == [False, True]


def test_those_that_disagree_are_told_where(found: Found) -> None:
    message = "the processes disagree on the recipe: seed is 0 in process 0 and 1 in process 1"
    assert [each["agree"] for each in found] == [["TrainingError", message]] * 2


# Fault row 57
def test_all_get_the_ticket_that_one_process_draws_alone(found: Found, tmp_path: Path) -> None:
    alone = ticketkit.draw(Named(), scheme="channel", sparsity=0.5, digest=True)
    assert [bytes.fromhex(each["ticket"]) for each in found] == [alone.encoded()] * 2
    path = tmp_path / "ticket.safetensors"
    path.write_bytes(bytes.fromhex(found[1]["ticket"]))
    assert read(path, True).mask == alone.mask


# Fault row 57
def test_a_draw_that_fails_fails_everywhere(found: Found) -> None:
    errors = [each["no ticket"] for each in found]
    assert errors[0] == errors[1]
    assert errors[0][0] == "UnreachableSparsity"


# Fault row 57
def test_processes_that_hold_different_masks_go_no_further(found: Found) -> None:
    for each in found:
        for what in ("torn", "other masks"):
            kind, message = each[what]
            assert kind == "TrainingError"
            assert "disagree on the " in message
            assert " in process 1" in message
        assert "mask is" in each["other masks"][1]


# Fault row 57
def test_none_waits_for_a_ticket_that_a_dead_process_was_to_draw(tmp_path: Path) -> None:
    (dead, left) = play(tmp_path, "orphaned")
    assert dead.status == 9
    assert left.status == 1  # as the others cannot be met at the end either
    found = json.loads((tmp_path / "1.json").read_bytes())
    assert found["orphaned"][0] == "TrainingError"
    assert "another process has ended" in found["orphaned"][1]


def test_two_processes_train_as_one_does(found: Found) -> None:
    model = scenes.plain()
    fitted = scenes.fit(model)
    assert fitted.loss is not None
    for each in found:
        assert each["loss"] == pytest.approx(fitted.loss, rel=1e-5)
        for ours, theirs in zip(model.parameters(), each["weights"], strict=True):
            torch.testing.assert_close(ours.flatten(), torch.tensor(theirs), rtol=1e-4, atol=1e-5)
    assert found[0]["weights"] == found[1]["weights"]


@pytest.mark.parametrize("robustifier", [None, "pgd:norm=l2,eps=0.3,steps=2", "free:replays=2"])
def test_a_held_mask_keeps_its_zeros_in_all_and_all_end_in_the_same_bits(
    found: Found, robustifier: str | None
) -> None:
    (one, revived), (other, revived_there) = (each[f"held, {robustifier}"] for each in found)
    assert one == other
    assert revived == revived_there == 0


def test_a_mask_that_is_learned_is_the_same_in_all(found: Found) -> None:
    first, second = (each["learned"] for each in found)
    assert first == second
    assert first[2] == 36


def test_a_linear_evaluation_is_the_same_as_alone(found: Found) -> None:
    model = Named()
    ticket = ticketkit.draw(model, scheme="row", sparsity=0.5)
    ticketkit.transfer(model, ticket, pictures(53))
    assert found[0]["linear"] == found[1]["linear"]
    weight = torch.tensor(found[0]["linear"][1])
    torch.testing.assert_close(model.fc.weight, weight, rtol=1e-3, atol=1e-4)


def test_processes_that_would_train_otherwise_are_refused(found: Found) -> None:
    for each in found:
        kind, message = each["other seeds"]
        assert kind == "TrainingError"
        assert message == (
            "the processes disagree on the training: seed is 0 in process 0 and 1 in process 1"
        )
        assert each["too few"][0] == "UsageError"
        assert "2 processes share a batch of 1" in each["too few"][1]


@pytest.mark.parametrize("step", [1, 6, 11])
def test_all_stop_after_the_same_step_and_go_on_to_the_same_bits(found: Found, step: int) -> None:
    assert found[0]["unbroken"] == found[1]["unbroken"]
    for each in found:
        kind, message = each[f"stopped {step}"]
        assert kind == "Stopped"
        assert message.startswith(f"stopped after step {step} of 12; saved in ")
        assert each[f"resumed {step}"] == each["unbroken"]


@pytest.mark.slow
def test_three_processes_too_go_on_to_the_same_bits(tmp_path: Path) -> None:
    ranks = play(tmp_path, "resumed", size=3)
    assert ranks == [Rank(0, "", "")] * 3
    for each in found_in(tmp_path, 3):
        assert {each[f"resumed {step}"] for step in (1, 6, 11)} == {each["unbroken"]}


def test_one_process_alone_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert leads()
    with session(torch.device("cpu")) as alone:
        assert alone == world()
        assert alone.leads
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not leads()
    assert local_rank() == 1


def test_processes_that_were_not_joined_are_not_trained_each_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="torchrun asked for 2 processes, 1 is there: call"):
        ticketkit.fit(network(), pictures())


def test_what_torchrun_should_have_told_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with (
        pytest.raises(UsageError, match=r"the processes of torchrun cannot be joined: .*RANK"),
        session(torch.device("cpu")),
    ):
        pass


# Fault row 57
def test_a_draw_in_rounds_gives_all_one_mask_round_by_round(found: Found) -> None:
    one, other = (each["imp"] for each in found)
    assert one == other
    for each in found:
        kind, message = each["imp torn"]
        assert kind == "TrainingError"
        assert "disagree on the mask of round 1" in message
        kind, message = each["imp of others"]
        assert kind == "TrainingError"
        assert "disagree on the draw: network is" in message


def test_a_draw_in_rounds_that_one_is_asked_to_stop_goes_on_to_the_same_ticket(
    found: Found,
) -> None:
    for each in found:
        kind, message = each["imp stopped"]
        assert kind == "Stopped"
        assert message.startswith("stopped after step ")
        assert each["imp resumed"] == each["imp"]
