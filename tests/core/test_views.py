"""A checkpoint's tensors under other names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.samples import FORMS, save, state
from ticketkit import CheckpointError
from ticketkit.checkpoint import open_checkpoint
from ticketkit.views import View


@pytest.mark.parametrize("form", FORMS)
def test_a_view_digests_as_the_plain_checkpoint_does(form: str, tmp_path: Path) -> None:
    plain = open_checkpoint(save(state(), tmp_path, "zip", "plain"))
    prefixed = {f"module.{name}": tensor for name, tensor in state().items()}
    view = View.of(open_checkpoint(save(prefixed, tmp_path, form)))
    assert list(view) == list(view.stored)
    assert set(view) == set(state())
    assert view.digest() == plain.digest()
    assert view["stem.weight"].equal(state()["stem.weight"])
    assert view.shapes["fc.bias"] == (5,)


def test_parameters_are_no_buffers_and_tied_ones_count_once(tmp_path: Path) -> None:
    shared = torch.ones(2, 2)
    weights = {"b": shared, "a": shared, "c": shared, "n.running_mean": torch.ones(3)}
    torch.save({**weights, "n.num_batches_tracked": torch.tensor(1)}, tmp_path / "w.pt")
    view = View.of(open_checkpoint(tmp_path / "w.pt"))
    assert view.parameters(()) == {"a": (2, 2)}
    assert view.parameters(("c",)) == {"c": (2, 2)}
    assert sorted(view.parameters(("c", "b"))) == ["b", "c"]


def test_a_tensor_without_plain_values_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.eye(2).to_sparse()}, tmp_path / "w.pt")
    view = View.of(open_checkpoint(tmp_path / "w.pt"))
    with pytest.raises(CheckpointError, match="a: expected a dense tensor with its values, found"):
        view["a"]
