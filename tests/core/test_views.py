"""A checkpoint's tensors under other names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import FORMS, save, state
from ticketkit import CheckpointError
from ticketkit.checkpoint import open_checkpoint
from ticketkit.views import View, common_prefix

PREFIXES = ["module.", "_orig_mod.", "_fsdp_wrapped_module."]


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        (["module.a", "module.b.c"], "module."),
        (["_orig_mod.module.a", "_orig_mod.module.b"], "_orig_mod.module."),
        (["module.module.a", "module.module.b"], "module.module."),
        (["module.module.a", "module.b"], "module."),
        (["module.a", "b"], ""),
        (["modules.a"], ""),
        (["module."], ""),
        (["module.module."], "module."),
        ([], ""),
    ],
)
def test_the_prefix_that_all_names_share(keys: list[str], prefix: str) -> None:
    assert common_prefix(keys) == prefix


@given(
    st.lists(st.sampled_from(PREFIXES)),
    st.lists(st.from_regex(r"[a-l][a-z.]{0,5}", fullmatch=True), min_size=1),
)
def test_prefixes_in_any_order_and_number_are_found(prefixes: list[str], keys: list[str]) -> None:
    prefix = "".join(prefixes)
    assert common_prefix([prefix + key for key in keys]) == prefix


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
