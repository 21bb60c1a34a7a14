"""Parameters that are computed from others, by names."""

from __future__ import annotations

from ticketkit.computed import computed_from


def test_names_that_only_look_alike_are_no_computed_weights() -> None:
    names = ["weight_orig", "a.attn_mask", "time_mix_g", "time_mix_v", "a.weight_v", "b.weight_g"]
    assert computed_from([*names, "weights.w_g", "weights.w_v", "parametrizations.x.y"]) == {}


def test_any_parameter_may_be_computed() -> None:
    found = computed_from(
        ["a.bias_orig", "a.bias_mask", "rnn.weight_hh_l0_g", "rnn.weight_hh_l0_v", "a.weight"]
    )
    assert list(found) == ["a.bias_orig", "rnn.weight_hh_l0_g", "rnn.weight_hh_l0_v"]


def test_a_pruned_spectral_norm_is_first_undone_by_the_call_for_its_mask() -> None:
    names = ["weight_orig", "weight_mask", "weight_u", "weight_v"]
    assert "prune.remove" in computed_from(names)["weight_orig"]
