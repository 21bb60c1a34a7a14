"""Drawing from live networks: what comes out, what is left alone, what is refused."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ticketkit
from ticketkit import Mask, Round


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3), nn.ConvTranspose2d(16, 6, 3)
    )


def draw(model: Any = None, **options: Any) -> ticketkit.Ticket:
    chosen: dict[str, Any] = {"scheme": "unstructured", "sparsity": 0.5} | options
    return ticketkit.draw(model or network(), **chosen)


def test_the_network_is_left_alone() -> None:
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.random.get_rng_state()
    draw(model, criterion="random")
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert torch.equal(random_state, torch.random.get_rng_state())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_provenance_is_enough_to_draw_it_again() -> None:
    ticket = draw(scheme="row", criterion="random", seed=7, exclude=["0.*"])
    said = ticket.provenance
    again = ticketkit.draw(
        network(),
        scheme=said.scheme,
        sparsity=said.sparsity,
        criterion=said.criterion,
        allocation=said.allocation,
        strategy=said.strategy,
        seed=said.seed,
        include=said.include,
        exclude=said.exclude,
        allow_empty_layers=said.allow_empty_layers,
    )
    assert again == ticket
    assert said.source is None
    assert said.versions["ticketkit"] == ticketkit.__version__


def test_a_digest_is_recorded_where_it_is_asked_for() -> None:
    digest = draw(digest=True).provenance.source
    assert digest == draw(digest=True).provenance.source
    assert digest != draw(network(1), digest=True).provenance.source


@pytest.mark.parametrize("sparsity", [0.1, 0.25, 0.5, 0.9, 0.99])
def test_the_count_is_rounded_as_torch_does(sparsity: float) -> None:
    mask = draw(sparsity=sparsity).mask
    assert mask.kept == mask.size - round(sparsity * mask.size)


@pytest.mark.parametrize(
    ("sparsity", "message"),
    [
        (float("nan"), "found nan"),
        (float("inf"), "found inf"),
        (-0.1, "found -0.1"),
        (1.5, "found 1.5$"),
        (50, r"did you mean 0.5\?"),
        (100, "found 100"),
        ("0.5", "found '0.5'"),
        (True, "found True"),
        (None, r"scheme unstructured needs --sparsity \(in Python sparsity=\)"),
    ],
)
def test_a_sparsity_without_meaning_is_refused(sparsity: Any, message: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=message):  # fault row 17
        draw(sparsity=sparsity)


def test_sparsity_zero_is_a_ticket_of_ones_with_a_warning() -> None:  # fault row 18
    with pytest.warns(UserWarning, match="sparsity 0: the ticket keeps every weight"):
        ticket = draw(sparsity=0)
    assert ticket.mask.kept == ticket.mask.size


@pytest.mark.parametrize("allow_empty", [False, True])
@pytest.mark.parametrize("scheme", ["unstructured", "channel"])
def test_sparsity_one_is_refused_with_the_highest_reachable(
    scheme: str, allow_empty: bool
) -> None:  # fault row 19
    with pytest.raises(ticketkit.UnreachableSparsity) as caught:
        draw(sparsity=1, scheme=scheme, allow_empty_layers=allow_empty)
    assert 0.5 < caught.value.highest < 1
    assert str(caught.value.highest) in str(caught.value)


def test_empty_layers_are_allowed_on_request_and_named() -> None:  # fault row 26
    model = network()
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
    assert draw(model, sparsity=0.9).mask["0.weight"].sum() == 1
    with pytest.warns(UserWarning, match=r"1 layers keep nothing: 0\.weight"):
        mask = draw(model, sparsity=0.9, allow_empty_layers=True).mask
    assert not mask["0.weight"].any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("criterion", ["magnitude", "random"])
def test_weights_that_are_not_finite_are_refused(bad: float, criterion: str) -> None:
    model = network()
    with torch.no_grad():
        model[2].weight[3, :2] = bad
    with pytest.raises(ticketkit.WeightsError, match=r"2.weight: 18 of 1,152 weights are NaN or"):
        draw(model, criterion=criterion)  # fault row 22


def test_zeros_are_pruned_first() -> None:  # fault row 23
    model = network()
    with torch.no_grad():
        model[2].weight.zero_()
    mask = draw(model, sparsity=0.6).mask
    assert mask.kept == mask.size - round(0.6 * mask.size)
    assert mask["2.weight"].sum() == 1


@pytest.mark.filterwarnings("ignore:1 layers keep nothing")
@pytest.mark.parametrize("scheme", ["unstructured", "row", "kernel", "channel"])
def test_equal_weights_fall_from_the_end(scheme: str) -> None:  # fault row 24
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(-0.25)
    mask = draw(model, scheme=scheme, sparsity=0.5, allow_empty_layers=True).mask
    kept = torch.cat([mask["0.weight"].reshape(-1), mask["1.weight"].reshape(-1)])
    assert kept[:144].all()
    assert not kept[144:].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float32])
@pytest.mark.parametrize("scheme", ["unstructured", "kernel"])
def test_extreme_values_neither_overflow_nor_vanish(  # fault row 25
    scheme: str, dtype: torch.dtype
) -> None:
    limits = torch.finfo(dtype)
    model = nn.Conv2d(1, 8, 3, bias=False).to(dtype)
    listed = [-0.0, 0.0, limits.smallest_normal / 2, limits.tiny, 1, -2, limits.max, -limits.max]
    values = torch.tensor(listed, dtype=torch.float64).to(dtype)
    with torch.no_grad():
        model.weight.copy_(values.reshape(8, 1, 1, 1).expand(8, 1, 3, 3))
    for keep in range(1, 8):
        mask = draw(nn.Sequential(model), scheme=scheme, sparsity=1 - keep / 8).mask["0.weight"]
        order = [6, 7, 5, 4, 3, 2, 0, 1]
        assert sorted(order[:keep]) == mask.reshape(8, 9).all(1).nonzero().reshape(-1).tolist()


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_weights_rank_by_magnitude(dtype: torch.dtype) -> None:  # fault row 29
    model = nn.Linear(4, 6, bias=False, dtype=dtype)
    mask = draw(model, sparsity=0.5).mask["weight"]
    magnitudes = model.weight.detach().abs()
    assert magnitudes[mask].min() >= magnitudes[~mask].max()


def test_weights_that_are_no_floating_numbers_are_refused_by_name() -> None:  # fault row 29
    model = network()
    model[2].weight = nn.Parameter(torch.ones(16, 8, 3, 3, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ticketkit.WeightsError, match=r"2.weight: int8 weights cannot be"):
        draw(model)


def test_meta_weights_ask_to_be_loaded() -> None:  # fault row 32
    with pytest.raises(ticketkit.WeightsError, match="load weights first"):
        draw(network().to("meta"))


@pytest.mark.parametrize("scheme", ["unstructured", "row", "kernel", "channel"])
def test_memory_layout_changes_nothing(scheme: str) -> None:  # fault row 30
    model = network()
    expected = draw(model, scheme=scheme).mask
    assert draw(network().to(memory_format=torch.channels_last), scheme=scheme).mask == expected
    strided = network()
    for module in strided:
        if isinstance(module, nn.Conv2d):
            wide = torch.zeros(*module.weight.shape[:-1], 6)
            wide[..., ::2] = module.weight.detach()
            module.weight = nn.Parameter(wide[..., ::2])
    assert draw(strided, scheme=scheme).mask == expected


def test_wrapped_networks_are_seen_through() -> None:
    expected = draw().mask
    assert draw(nn.DataParallel(network())).mask == expected
    assert draw(torch.compile(network(), backend="eager")).mask == expected


@pytest.mark.parametrize("wrong", [{"a": torch.ones(2, 2)}, "resnet18", None])
def test_what_is_no_network_is_refused(wrong: Any) -> None:
    with pytest.raises(ticketkit.UsageError, match=r"torch\.nn\.Module or a checkpoint"):
        ticketkit.draw(wrong, scheme="row", sparsity=0.5)


class Odd(ticketkit.Criterion):
    """Returns what it was told to."""

    name = "odd"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        result: torch.Tensor = self.answer(weight)
        return result


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda w: w.abs() * float("nan"), "NaN or infinite numbers"),
        (lambda w: w.abs()[:-1], "returned shape"),
        (lambda w: w > 0, "returned torch.bool"),
        (lambda w: None, "returned NoneType"),
        (lambda w: w.mul_(2), "changed the weights"),
        (lambda w: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_criterion_that_misbehaves_is_named(answer: Any, message: str) -> None:  # fault row 49
    with pytest.raises(ticketkit.PluginError, match=f"part 'odd' not registered failed.*{message}"):
        draw(criterion=Odd(answer))


def test_negative_scores_rank_below_positive_ones() -> None:
    mask = draw(nn.Linear(8, 8, bias=False), criterion=Odd(lambda w: w - 10)).mask
    assert mask.kept == 32


class OddScheme(ticketkit.Scheme):
    """Returns what it was told to."""

    name = "odd-scheme"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def select(self, scores: Any, budget: ticketkit.Budget, within: Mask | None) -> Mask:
        result: Mask = self.answer(scores, budget)
        return result


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda scores, budget: None, r"select must return a ticketkit\.Mask"),
        (lambda scores, budget: Mask({}), "the mask must cover every layer"),
        (lambda scores, budget: Mask({n: s.T > 0 for n, s in scores.items()}), "in its shape"),
    ],
)
@pytest.mark.filterwarnings("ignore:The use of `x.T`")
def test_a_scheme_that_misbehaves_is_named(answer: Any, message: str) -> None:
    with pytest.raises(ticketkit.PluginError, match=f"'odd-scheme' not registered.*{message}"):
        draw(scheme=OddScheme(answer))


def test_a_scheme_that_keeps_more_than_its_budget_is_refused() -> None:
    everything = OddScheme(lambda scores, budget: Mask({n: s > -1 for n, s in scores.items()}))
    with pytest.raises(ticketkit.PluginError, match="kept 2,232 weights, its budget is 1,116"):
        draw(scheme=everything)


@pytest.mark.filterwarnings("ignore:3 layers keep nothing")
def test_a_scheme_of_its_own_kind_sees_presented_shapes() -> None:
    seen = {}

    def select(scores: Any, budget: ticketkit.Budget) -> Mask:
        seen.update({name: tuple(score.shape) for name, score in scores.items()})
        return Mask({n: s < -1 for n, s in scores.items()})

    mask = draw(scheme=OddScheme(select), allow_empty_layers=True, sparsity=0.99).mask
    assert seen["3.weight"] == (6, 16, 3, 3)
    assert mask["3.weight"].shape == (16, 6, 3, 3)


class OddAllocation(ticketkit.Allocation):
    """Returns what it was told to."""

    name = "odd-allocation"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def budgets(self, layers: Any, keep: Any) -> Any:
        return self.answer(layers, keep)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda layers, keep: {}, "must name every layer"),
        (lambda layers, keep: dict.fromkeys(layers, 0.5), "whole number from 0 to"),
        (lambda layers, keep: {n: x.size + 1 for n, x in layers.items()}, "whole number from 0 to"),
        (lambda layers, keep: dict.fromkeys(layers, -1), "whole number from 0 to"),
        (lambda layers, keep: [1, 2], "failed"),
    ],
)
def test_an_allocation_that_misbehaves_is_named(answer: Any, message: str) -> None:
    with pytest.raises(ticketkit.PluginError, match=f"'odd-allocation' not registered.*{message}"):
        draw(allocation=OddAllocation(answer))


class OddStrategy(ticketkit.Strategy):
    """Yields what it was told to."""

    name = "odd-strategy"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def rounds(self, job: ticketkit.Job) -> Iterator[Round]:
        yield from self.answer(job)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda job: [], "it yielded no round"),
        (lambda job: [3], r"must be a ticketkit\.Round, found 3"),
        (lambda job: [Round(Mask({}))], "the mask must cover every layer"),
    ],
)
def test_a_strategy_that_misbehaves_is_named(answer: Any, message: str) -> None:
    with pytest.raises(ticketkit.PluginError, match=f"'odd-strategy' not registered.*{message}"):
        draw(strategy=OddStrategy(answer))


def test_the_last_round_of_a_strategy_is_the_ticket() -> None:
    halves = OddStrategy(lambda job: (Round(job.select(s)) for s in (0.25, job.sparsity)))
    assert draw(strategy=halves, sparsity=0.5).mask == draw(sparsity=0.5).mask


def test_uniform_gives_each_layer_the_asked_sparsity() -> None:
    mask = draw(allocation="uniform", sparsity=0.75).mask
    for name, keep in mask.items():
        assert keep.sum() == keep.numel() - round(0.75 * keep.numel()), name


@pytest.mark.parametrize(
    "options",
    [{"seed": 1.0}, {"seed": True}, {"seed": None}, {"include": [3]}, {"exclude": [None]}],
)
def test_an_option_of_the_wrong_type_is_refused(options: Any) -> None:
    with pytest.raises(ticketkit.UsageError, match="found"):
        draw(**options)


def test_numpy_scalars_serve_and_the_ticket_loads_back(tmp_path: Path) -> None:
    options: Any = {"sparsity": np.float32(0.5), "seed": np.int64(3)}
    ticket = draw(**options, allow_empty_layers=np.bool_(False))
    ticket.save(tmp_path / "t.safetensors")
    assert ticketkit.load_ticket(tmp_path / "t.safetensors") == ticket


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_drawing_works_in_inference_mode(dtype: torch.dtype) -> None:
    expected = draw(network().to(dtype)).mask
    with torch.inference_mode():
        assert draw(network().to(dtype)).mask == expected


def test_an_error_about_sparsity_passes_from_one_process_to_another() -> None:
    with pytest.raises(ticketkit.UnreachableSparsity) as caught:
        draw(sparsity=1)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), copied.highest) == (str(caught.value), caught.value.highest)


class Noise(ticketkit.Criterion):
    """Scores that change from one reading to the next."""

    name = "noise"

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return weight.abs() * torch.rand(())


def test_a_criterion_that_draws_lots_ends_all_the_same() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(600, 600), nn.Linear(600, 600))
    for _ in range(8):
        with contextlib.suppress(ticketkit.PluginError):
            draw(model, criterion=Noise(), sparsity=0.9)


def test_a_scheme_that_exceeds_a_share_or_empties_a_layer_is_refused() -> None:
    def front(scores: Any, budget: ticketkit.Budget) -> Mask:
        left = budget.total
        keeps = {}
        for name, score in scores.items():
            keeps[name] = (torch.arange(score.numel()) < left).reshape(score.shape)
            left -= int(keeps[name].sum())
        return Mask(keeps)

    with pytest.raises(ticketkit.PluginError, match=r"of 0\.weight, its share is 108"):
        draw(scheme=OddScheme(front), allocation="uniform")
    with pytest.raises(ticketkit.PluginError, match=r"it kept nothing of 3\.weight"):
        draw(scheme=OddScheme(front), sparsity=0.8)


def test_a_budget_that_no_block_fits_is_refused() -> None:
    with pytest.raises(ticketkit.UnreachableSparsity):
        draw(scheme="channel", sparsity=0.9999, allow_empty_layers=True)


def test_the_order_of_tied_layers_does_not_matter() -> None:
    masks = []
    for names in (("conv", "up"), ("up", "conv")):
        model: Any = nn.Module()
        for name in names:
            kind = nn.Conv2d if name == "conv" else nn.ConvTranspose2d
            model.add_module(name, kind(6, 6, 3))
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(6, 6, 3, 3))
        model.conv.weight = model.up.weight = weight
        masks.append(draw(model, scheme="channel").mask)
    assert masks[0] == masks[1]
