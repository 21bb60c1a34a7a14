"""Attacks: closed forms, laws, and that the network is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

import ticketkit
from ticketkit import ThreatModel, attack, check_pixels
from ticketkit.testing import cases

NORMS: list[Any] = ["linf", "l2"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 5, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(count, 2, 6, 6, generator=generator(), dtype=dtype)


def classes(count: int = 5) -> torch.Tensor:
    return torch.randint(4, (count,), generator=generator(1))


def network() -> nn.Module:
    """A small network with all that an attack could disturb, some of it frozen, some of it not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(),
            nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 4),
        )  # fmt: skip
    model[5].requires_grad_(requires_grad=False)
    model[3].eval()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    return model


def linear(weight: torch.Tensor) -> nn.Module:
    """Two classes, whose scores are w x and -w x: the loss of the first rises along -w."""
    model = nn.Linear(len(weight), 2, bias=False, dtype=weight.dtype)
    with torch.no_grad():
        model.weight.copy_(torch.stack([weight, -weight]))
    return model


def losses(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss of each example, on a network in eval mode, all at once."""
    modes = {module: module.training for module in model.modules()}
    with torch.no_grad():
        found = cross_entropy(model.eval()(inputs), targets, reduction="none")
    for module, training in modes.items():
        module.training = training
    return found


@given(st.integers(0, 1000), st.floats(0.01, 0.6))
@settings(max_examples=20, deadline=None)
def test_on_a_linear_network_it_is_the_sign_of_the_weights(seed: int, eps: float) -> None:
    weight = torch.randn(7, generator=generator(seed), dtype=torch.float64)
    inputs = torch.rand(3, 7, generator=generator(seed + 1), dtype=torch.float64)
    for start in ("zero", "random"):
        threat = ThreatModel("linf", eps, steps=10, start=start)
        found = attack(linear(weight), inputs, torch.zeros(3).long(), threat)
        torch.testing.assert_close(found, (inputs - eps * weight.sign()).clamp(0, 1))


@given(st.integers(0, 1000), st.floats(0.01, 0.4))
@settings(max_examples=20, deadline=None)
def test_on_a_linear_network_it_is_the_direction_of_the_weights(seed: int, eps: float) -> None:
    weight = torch.randn(7, generator=generator(seed), dtype=torch.float64)
    inputs = torch.full((3, 7), 0.5, dtype=torch.float64)  # so that nothing is clipped
    threat = ThreatModel("l2", eps, steps=4, start="zero")
    found = attack(linear(weight), inputs, torch.zeros(3).long(), threat)
    torch.testing.assert_close(found, inputs - eps * weight / weight.norm())


@given(
    st.sampled_from(NORMS), st.floats(1e-3, 3), st.integers(1, 4), st.floats(0, 2),
    st.sampled_from(["random", "zero"]), st.integers(1, 3), st.integers(0, 100),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_it_never_leaves_the_ball_or_the_box(
    norm: Any, eps: float, steps: int, share: float, start: Any, restarts: int, seed: int
) -> None:
    threat = ThreatModel(norm, eps, steps, share * eps, start, restarts)
    inputs = pictures(dtype=torch.float64)
    model = network().double()
    found = attack(model, inputs, classes(), threat, generator=generator(seed))
    assert (found.shape, found.dtype) == (inputs.shape, inputs.dtype)
    assert found.min() >= 0
    assert found.max() <= 1
    order = float("inf") if norm == "linf" else 2
    moved = torch.linalg.vector_norm((found - inputs).flatten(1), ord=order, dim=1)
    assert (moved <= eps * (1 + 1e-9)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_it_raises_the_loss_of_every_example(norm: Any) -> None:
    model, inputs, targets = network(), pictures(), classes()
    found = attack(model, inputs, targets, ThreatModel(norm, 0.3, steps=5, start="zero"))
    assert (losses(model, found, targets) > losses(model, inputs, targets)).all()


@pytest.mark.parametrize("options", [{"eps": 0.0}, {"steps": 0}, {"eps": 0, "step": 0.1}])
def test_without_radius_or_steps_inputs_come_back_bit_by_bit(options: dict[str, Any]) -> None:
    inputs = pictures()
    found = attack(network(), inputs, classes(), ThreatModel(**options))
    assert torch.equal(found, inputs)
    assert found.data_ptr() != inputs.data_ptr()


def test_no_pictures_are_attacked_as_well() -> None:
    empty = torch.zeros(0, 2, 6, 6)
    assert attack(network(), empty, torch.zeros(0).long(), ThreatModel()).shape == empty.shape


@pytest.mark.parametrize("given_loss", [None, cross_entropy])
@pytest.mark.parametrize("norm", NORMS)
def test_more_restarts_never_lower_the_loss_of_an_example(norm: Any, given_loss: Any) -> None:
    model, inputs, targets = network(), pictures(12), classes(12)
    before = torch.full((12,), -torch.inf)
    improved = torch.zeros(12, dtype=torch.bool)
    for restarts in range(1, 6):
        threat = ThreatModel(norm, 0.5, steps=1, step=0.05, restarts=restarts)
        found = attack(model, inputs, targets, threat, loss=given_loss, generator=generator())
        after = losses(model, found, targets)
        assert (after >= before - 1e-6).all()
        improved |= after > before + 1e-6
        before = after
    assert improved.all()


def test_the_best_restart_is_chosen_for_each_example() -> None:
    model, inputs, targets = network(), pictures(12), classes(12)
    draws = generator()  # what the restarts draw, one after the other
    threat = ThreatModel("linf", 0.5, steps=1, step=0.05)
    singles = [attack(model, inputs, targets, threat, generator=draws) for _ in range(4)]
    values = torch.stack([losses(model, single, targets) for single in singles])
    best = values.argmax(0)
    assert len(set(best.tolist())) > 1
    threat = ThreatModel("linf", 0.5, steps=1, step=0.05, restarts=4)
    found = attack(model, inputs, targets, threat, generator=generator())
    expected = torch.stack([singles[int(which)][at] for at, which in enumerate(best)])
    assert torch.equal(found, expected)


def test_a_loss_that_is_given_is_the_one_that_rises() -> None:
    def second(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs[:, 1].mean()

    weight = torch.tensor([1.0, -2.0, 3.0])
    inputs = torch.full((2, 3), 0.5)
    threat = ThreatModel(eps=0.1)
    found = attack(linear(weight), inputs, torch.zeros(2).long(), threat, loss=second)
    torch.testing.assert_close(found, inputs - 0.1 * weight.sign())


@pytest.mark.parametrize("norm", NORMS)
def test_the_order_of_examples_does_not_matter_from_zero(norm: Any) -> None:
    model, inputs, targets = network().double(), pictures(7, torch.float64), classes(7)
    order = torch.randperm(7, generator=generator())
    threat = ThreatModel(norm, 0.3, steps=3, start="zero", restarts=2)
    found = attack(model, inputs, targets, threat)
    turned = attack(model, inputs[order], targets[order], threat)
    torch.testing.assert_close(turned, found[order])
    alone = torch.cat(
        [attack(model, x[None], y[None], threat) for x, y in zip(inputs, targets, strict=True)]
    )
    torch.testing.assert_close(alone, found)


@pytest.mark.parametrize("norm", NORMS)
def test_the_same_seed_gives_the_same_bits(norm: Any) -> None:
    model, inputs, targets = network(), pictures(), classes()

    def found(seed: int | None) -> torch.Tensor:
        drawn = None if seed is None else generator(seed)
        threat = ThreatModel(norm, 0.3, steps=1, step=0.01)
        return attack(model, inputs, targets, threat, generator=drawn)

    assert torch.equal(found(3), found(3))
    assert not torch.equal(found(3), found(4))
    assert torch.equal(found(None), found(0))


CALLERS: list[Callable[[], Any]] = [torch.no_grad, torch.inference_mode, torch.enable_grad]


# Fault row 40
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("restarts", [1, 2])
def test_the_network_is_left_alone_whatever_the_mode_of_the_caller(
    caller: Callable[[], Any], restarts: int
) -> None:
    model, targets = network(), classes()
    before = cases.snapshot(model)
    gradients = [parameter.grad for parameter in model.parameters()]
    threat = ThreatModel("linf", 0.1, restarts=restarts, start="zero")
    expected = attack(model, pictures(), targets, threat)
    with caller():
        inputs = pictures()  # an inference tensor among them
        assert torch.equal(attack(model, inputs, targets + 0, threat), expected)
        assert torch.equal(inputs, pictures())
    assert cases.snapshot(model) == before
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert not expected.requires_grad


@pytest.mark.parametrize("count", [0, 1, 4])
def test_generators_are_one_an_example(count: int) -> None:
    given, several = pictures(), [generator(i) for i in range(count)]
    assert len(given) == 5
    with pytest.raises(ticketkit.UsageError, match=f"one an example, found {count} for"):
        attack(network(), given, classes(), ThreatModel(), generator=several)


def test_the_network_is_left_alone_where_the_attack_fails() -> None:
    def fails(outputs: Any, targets: Any) -> torch.Tensor:
        torch.rand(3)
        raise KeyError("the loss")

    model = network()
    before = cases.snapshot(model)
    with pytest.raises(ticketkit.UsageError, match="failed under attack: KeyError: 'the loss'"):
        attack(model, pictures(), classes(), ThreatModel(), loss=fails)
    assert cases.snapshot(model) == before
    assert torch.is_grad_enabled()


def test_a_network_that_draws_lots_leaves_the_global_generator_alone() -> None:
    class Noisy(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = super().forward(inputs) + torch.rand(2)
            return scores

    before = torch.random.get_rng_state()
    model = Noisy(3, 2)
    before = torch.random.get_rng_state()
    attack(model, torch.full((2, 3), 0.5), torch.zeros(2).long(), ThreatModel())
    assert torch.equal(torch.random.get_rng_state(), before)


# Fault row 40
def test_a_network_in_training_is_attacked_in_eval_mode() -> None:
    model, inputs, targets = network(), pictures(), classes()
    threat = ThreatModel("linf", 0.2)
    trained = attack(model.train(), inputs, targets, threat)
    assert torch.equal(attack(model.eval(), inputs, targets, threat), trained)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_wrapped_networks_are_seen_through(wrap: Any) -> None:
    model, threat = network(), ThreatModel()
    expected = attack(model, pictures(), classes(), threat)
    assert torch.equal(attack(wrap(model), pictures(), classes(), threat), expected)


def test_inputs_that_require_gradients_are_left_alone() -> None:
    inputs = pictures().requires_grad_()
    found = attack(network(), inputs, classes(), ThreatModel())
    assert inputs.grad is None
    assert inputs.requires_grad
    assert not found.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_other_dtypes_are_attacked_about_alike(norm: Any, dtype: torch.dtype) -> None:
    threat = ThreatModel(norm, 0.2)
    expected = attack(network(), pictures(), classes(), threat)
    found = attack(network().to(dtype), pictures().to(dtype), classes(), threat)
    assert found.dtype == dtype
    assert (found.float() - expected).abs().mean() < 0.03


def test_it_works_under_autocast_and_the_training_step_after_it() -> None:
    model, inputs, targets = network(), pictures(), classes()
    for parameter in model.parameters():
        parameter.grad = None
    with torch.autocast("cpu", torch.bfloat16):
        found = attack(model, inputs, targets, ThreatModel(restarts=2))
        cross_entropy(model(found), targets).backward()  # type: ignore[no-untyped-call]
    assert found.dtype == torch.float32
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)


def test_channels_last_stays() -> None:
    inputs = pictures().to(memory_format=torch.channels_last)
    model = network().to(memory_format=torch.channels_last)
    found = attack(model, inputs, classes(), ThreatModel("l2", 0.5))
    assert found.is_contiguous(memory_format=torch.channels_last)
    expected = attack(network(), pictures(), classes(), ThreatModel("l2", 0.5))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


class Segments(nn.Module):
    """A convolution that scores three classes at each pixel."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer = nn.Conv2d(2, 3, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layer(inputs)
        return scores


def maps() -> torch.Tensor:
    """Targets of three pictures: the first has none that counts, the second half of them."""
    found = torch.randint(3, (3, 6, 6), generator=generator(2))
    found[0] = 255
    found[1, :3] = 255
    return found


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("restarts", [1, 3])
def test_in_segmentation_pixels_that_do_not_count_are_not_attacked(
    norm: Any, restarts: int
) -> None:
    inputs, targets = pictures(3), maps()
    threat = ThreatModel(norm, 0.2, start="zero", restarts=restarts)
    moved = attack(Segments(), inputs, targets, threat) - inputs
    untouched = (targets == 255)[:, None].expand_as(moved)
    torch.testing.assert_close(moved[untouched], torch.zeros(int(untouched.sum())))
    assert moved.flatten(1).abs().amax(1)[1:].min() > 0.01


def test_class_255_counts_where_a_picture_has_one_class() -> None:
    model = nn.Linear(4, 300)
    inputs = torch.full((1, 4), 0.5)
    found = attack(model, inputs, torch.tensor([255]), ThreatModel(start="zero"))
    assert not torch.equal(found, inputs)


def test_probabilities_serve_as_targets() -> None:
    model, inputs = network(), pictures()
    ones = nn.functional.one_hot(classes(), 4).float()
    threat = ThreatModel(restarts=2)
    found = attack(model, inputs, ones, threat)
    torch.testing.assert_close(found, attack(model, inputs, classes(), threat))


def test_a_gradient_that_is_not_a_number_moves_nothing() -> None:
    class Broken(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = super().forward(inputs)
            return torch.cat([scores[:1] * torch.nan, scores[1:]])

    for norm in NORMS:
        inputs = torch.full((2, 3), 0.5)
        threat = ThreatModel(norm, 0.1, start="zero", restarts=2)
        found = attack(Broken(3, 2), inputs, torch.zeros(2).long(), threat)
        assert torch.equal(found[0], inputs[0])
        assert not torch.equal(found[1], inputs[1])


def test_a_saturated_network_is_attacked_with_whole_steps() -> None:
    model = linear(torch.tensor([30.0, 40.0]))
    inputs = torch.full((1, 2), 0.5, dtype=torch.float32)  # a loss of exp(-70)
    found = attack(model, inputs, torch.tensor([0]), ThreatModel("l2", 0.1, start="zero"))
    torch.testing.assert_close(found - inputs, torch.tensor([[-0.06, -0.08]]))


@pytest.mark.parametrize(
    "loss", [lambda outputs, targets: torch.ones(()), lambda o, t: model_only(o, t)]
)
def test_a_loss_that_does_not_depend_on_the_inputs_is_told(loss: Any) -> None:
    with pytest.raises(ticketkit.UsageError, match="does not depend on the inputs"):
        attack(network(), pictures(), classes(), ThreatModel(), loss=loss)


def model_only(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Something that requires gradients, though not those of the inputs."""
    return torch.ones((), requires_grad=True) * 2


def test_restarts_of_a_loss_on_something_else_than_tensors_are_refused() -> None:
    def paired(outputs: torch.Tensor, targets: Any) -> torch.Tensor:
        return cross_entropy(outputs, targets["classes"])

    targets, threat = {"classes": classes()}, ThreatModel(restarts=2)
    assert attack(network(), pictures(), targets, threat.scaled(0), loss=paired) is not None
    with pytest.raises(ticketkit.UsageError, match="restarts with a loss need tensors"):
        attack(network(), pictures(), targets, threat, loss=paired)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (torch.full((2, 3), 1.5), r"pixels in \[0, 1\], found 1\.5 to 1\.5"),
        (torch.tensor([[-2.1, 2.6]]), r"found -2\.1 to 2\.6"),
        (torch.tensor([[0.5, torch.nan]]), "found nan to nan"),
        (torch.ones(2, 3, dtype=torch.uint8), r"floating pixels .* found torch\.uint8"),
        (torch.ones(2, 3, dtype=torch.complex64), r"found torch\.complex64"),
        ([[0.5]], "found list"),
    ],
)
def test_what_are_no_pixels_is_refused_with_a_hint(inputs: Any, told: str) -> None:
    hint = r"the network normalises by itself: ticketkit\.normalised\(model, mean, std\)"
    with pytest.raises(ticketkit.InputError, match=f"{told}; {hint}"):
        check_pixels(inputs)
    with pytest.raises(ticketkit.InputError, match=told):
        attack(network(), inputs, classes(), ThreatModel(eps=0))


def test_a_picture_that_is_no_batch_is_refused() -> None:
    with pytest.raises(ticketkit.InputError, match=r"a batch of pictures, found shape \[3\]"):
        check_pixels(torch.ones(3))


@pytest.mark.parametrize("inputs", [torch.zeros(1, 1), torch.ones(1, 1), torch.ones(0, 3)])
def test_pixels_may_be_black_white_or_none(inputs: torch.Tensor) -> None:
    check_pixels(inputs)
