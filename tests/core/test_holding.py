"""A held network trains bit for bit as one whose gradients and weights are masked by hand."""

from __future__ import annotations

import contextlib
import copy
import gc
import os
import pickle
import shutil
import subprocess
import sys
import sysconfig
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ticketkit import Mask, MismatchError, UsageError

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    "adamw": partial(torch.optim.AdamW, lr=0.01),
    "adafactor": partial(torch.optim.Adafactor, lr=0.01),
}
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
# Inductor writes C++ that includes Python's headers.
needs_a_compiler = pytest.mark.skipif(
    not shutil.which(os.environ.get("CXX", "g++"))
    or not Path(sysconfig.get_path("include"), "Python.h").exists(),
    reason="needs a C++ compiler and Python's headers",
)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)
    return nn.Sequential(*layers)


def mask_of(model: nn.Module, seed: int = 0) -> Mask:
    generator = torch.Generator().manual_seed(seed)
    weights = {name: p for name, p in model.named_parameters() if p.dim() > 1}
    return Mask({n: torch.rand(p.shape, generator=generator) < 0.3 for n, p in weights.items()})


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return OPTIMIZERS["sgd"](model.parameters(), weight_decay=0.1)


class ByHand:
    """The reference: what a careful user would write into the loop."""

    def __init__(self, mask: Mask, model: nn.Module) -> None:
        weights = dict(model.named_parameters())
        self.removed = {weights[name]: ~mask[name] for name in mask}
        self.after_step()

    def after_backward(self) -> None:
        for weight, removed in self.removed.items():
            if weight.grad is not None:
                weight.grad.masked_fill_(removed, 0)

    def after_step(self) -> None:
        for weight, removed in self.removed.items():
            weight.data.masked_fill_(removed, 0)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    by_hand: ByHand | None = None,
    *,
    clip: float | None = None,
    accumulate: int = 1,
    amp: bool = False,
    seed: int = 0,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scaler = torch.amp.GradScaler("cpu", enabled=amp)
    for _ in range(4):
        optimizer.zero_grad()
        for _ in range(accumulate):
            images = torch.randn(8, 3, 6, 6, generator=generator)
            labels = torch.randint(5, (8,), generator=generator)
            images = images.to(next(model.parameters()).dtype)
            with torch.autocast("cpu", torch.bfloat16, enabled=amp):
                loss = nn.functional.cross_entropy(model(images), labels)
            torch.autograd.backward(scaler.scale(loss))
            if by_hand is not None:
                by_hand.after_backward()
        if clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()
        if by_hand is not None:
            by_hand.after_step()


def bits(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> dict[str, bytes]:
    """Every bit that training has made: parameters, buffers and the optimizer's state."""
    tensors: dict[str, torch.Tensor] = dict(model.state_dict())
    for index, state in optimizer.state_dict()["state"].items() if optimizer else ():
        tensors |= {f"{index} {key}": torch.as_tensor(value) for key, value in state.items()}
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    return {name: tensor.detach().numpy().tobytes() for name, tensor in tensors.items()}


def revived(model: nn.Module, mask: Mask) -> int:
    """Removed weights that are not +0.0."""
    weights = (model.get_parameter(name).detach()[~mask[name]] for name in mask)
    return sum(int(((weight != 0) | weight.signbit()).sum()) for weight in weights)


def assert_trains_as_by_hand(
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = sgd,
    prepare: Callable[[nn.Module], nn.Module] = lambda model: model,
    **how: Any,
) -> None:
    """Train one network held and its twin by hand: `prepare` wraps both before they train."""
    held, twin = network(), network()
    mask, first, second = mask_of(held), optimizer(held), optimizer(twin)
    mask.hold(held, first)
    train(prepare(held), first, **how)
    train(prepare(twin), second, ByHand(mask, twin), **how)
    assert revived(held, mask) == 0
    assert bits(held, first) == bits(twin, second)


# Bit-equality


@pytest.mark.parametrize("clip", [None, 0.1], ids=["free", "clipped"])
@pytest.mark.parametrize("decay", [0, 0.1], ids=["no decay", "decay"])
@every_optimizer
def test_a_held_network_trains_as_by_hand(
    optimizer: Callable[..., torch.optim.Optimizer], decay: float, clip: float | None
) -> None:
    assert_trains_as_by_hand(
        lambda model: optimizer(model.parameters(), weight_decay=decay), clip=clip
    )


@pytest.mark.parametrize("clip", [None, 0.1], ids=["free", "clipped"])
@every_optimizer
def test_mixed_precision_trains_as_by_hand(
    optimizer: Callable[..., torch.optim.Optimizer], clip: float | None
) -> None:
    assert_trains_as_by_hand(lambda model: optimizer(model.parameters()), clip=clip, amp=True)


@every_optimizer
def test_accumulated_gradients_train_as_by_hand(
    optimizer: Callable[..., torch.optim.Optimizer],
) -> None:
    assert_trains_as_by_hand(lambda model: optimizer(model.parameters()), accumulate=3, clip=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=needs_a_compiler)])
def test_a_compiled_network_trains_as_by_hand(backend: str) -> None:
    assert_trains_as_by_hand(prepare=lambda model: _compiled(model, backend), clip=0.1)


def _compiled(model: nn.Module, backend: str) -> Any:
    torch.compiler.reset()
    return torch.compile(model, backend=backend)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.to(memory_format=torch.channels_last),
        lambda model: model.double(),
        lambda model: model.double().float(),
    ],
    ids=["channels last", "double", "double and back"],
)
def test_a_network_converted_after_the_hold_trains_as_by_hand(
    change: Callable[[nn.Module], nn.Module],
) -> None:
    assert_trains_as_by_hand(prepare=change)


@every_optimizer
def test_momentum_from_before_the_hold_revives_nothing(
    optimizer: Callable[..., torch.optim.Optimizer],
) -> None:
    held, twin = network(), network()
    mask, first, second = mask_of(held), *(optimizer(m.parameters()) for m in (held, twin))
    train(held, first)
    train(twin, second)
    mask.hold(held, first)
    train(held, first, clip=0.1, seed=1)
    train(twin, second, ByHand(mask, twin), clip=0.1, seed=1)
    assert revived(held, mask) == 0
    assert bits(held, first) == bits(twin, second)


@pytest.mark.parametrize("name", ["sgd", "adafactor"])
def test_masking_the_weights_alone_would_not_be_enough(name: str) -> None:
    held, twin = network(), network()
    mask, first, second = mask_of(held), *(OPTIMIZERS[name](m.parameters()) for m in (held, twin))
    by_hand = ByHand(mask, twin)
    by_hand.after_backward = lambda: None  # type: ignore[method-assign]
    mask.hold(held, first)
    train(held, first, clip=0.1)
    train(twin, second, by_hand, clip=0.1)
    assert bits(held) != bits(twin)


def test_an_optimizer_that_calls_a_closure_revives_nothing() -> None:
    model = network()
    mask, optimizer = mask_of(model), torch.optim.LBFGS(model.parameters(), max_iter=3)
    images = torch.randn(8, 3, 6, 6)

    def closure() -> float:
        optimizer.zero_grad()
        loss = model(images).square().mean()
        torch.autograd.backward(loss)
        return float(loss.detach())

    mask.hold(model, optimizer)
    optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert revived(model, mask) == 0
    assert model.get_parameter("0.weight").grad is not None


# Parameters


def test_the_mask_is_applied_at_once() -> None:
    model, expected = network(), network()
    mask_of(model).hold(model)
    mask_of(model).apply_(expected)
    assert bits(model) == bits(expected)


def test_names_keys_and_parameters_do_not_change() -> None:
    model, plain = network(), network()
    parameters = list(model.parameters())
    mask_of(model).hold(model, sgd(model))
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in model.named_parameters()] == [
        n for n, _ in plain.named_parameters()
    ]
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))


def test_a_frozen_parameter_stays_frozen_and_is_held_once_thawed() -> None:
    held, twin = network(), network()
    mask, first, second = mask_of(held), sgd(held), sgd(twin)
    for model in (held, twin):
        model[0].requires_grad_(False)
    mask.hold(held, first)
    by_hand = ByHand(mask, twin)
    train(held, first)
    train(twin, second, by_hand)
    assert not held.get_parameter("0.weight").requires_grad
    for model in (held, twin):
        model[0].requires_grad_(True)
    train(held, first, clip=0.1)
    train(twin, second, by_hand, clip=0.1)
    assert revived(held, mask) == 0
    assert bits(held, first) == bits(twin, second)


@pytest.mark.parametrize("names", [["0.weight"], ["1.weight"], ["0.weight", "1.weight"]], ids=str)
def test_tied_parameters_are_held_under_any_of_their_names(names: list[str]) -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[1].weight = model[0].weight
    mask = Mask({name: torch.eye(6) for name in names})
    optimizer = sgd(model)
    mask.hold(model, optimizer)
    torch.autograd.backward(model(torch.randn(4, 6)).square().sum())
    optimizer.step()
    assert revived(model, mask) == 0
    assert model.get_parameter("0.weight").count_nonzero() == 6


def test_each_of_two_optimizers_is_followed() -> None:
    held, twin = network(), network()
    mask = mask_of(held)
    first, second = ([sgd(model[0]), sgd(model[4])] for model in (held, twin))
    for mine, theirs in zip(first, second, strict=True):
        train(held, mine)
        train(twin, theirs)
    mask.hold(held, *first)
    by_hand = ByHand(mask, twin)
    for mine, theirs in zip(first, second, strict=True):
        train(held, mine, seed=1)
        train(twin, theirs, by_hand, seed=1)
    assert revived(held, mask) == 0
    assert bits(held) == bits(twin)


def test_an_optimizer_made_later_is_added() -> None:
    model = network()
    mask, optimizer = mask_of(model), sgd(model)
    train(model, optimizer)
    handle = mask.hold(model)
    train(model, optimizer)
    assert revived(model, mask) > 0
    handle.add(optimizer)
    train(model, optimizer)
    assert revived(model, mask) == 0


# Loading


@pytest.mark.parametrize("assign", [False, True], ids=["copied", "assigned"])
def test_zeros_return_after_dense_weights_are_loaded(assign: bool) -> None:
    model, dense = network(), network(seed=1)
    mask = mask_of(model)
    mask.hold(model)
    model.load_state_dict(copy.deepcopy(dense.state_dict()), assign=assign)
    mask.apply_(dense)
    assert revived(model, mask) == 0
    assert bits(model) == bits(dense)


@pytest.mark.parametrize("assign", [False, True], ids=["copied", "assigned"])
def test_training_goes_on_as_by_hand_after_dense_weights_are_loaded(assign: bool) -> None:
    held, twin = network(), network()
    mask, first = mask_of(held), sgd(held)
    handle = mask.hold(held, first)
    train(held, first)
    for model in (held, twin):
        model.load_state_dict(network(seed=1).state_dict(), assign=assign)
    first, second = sgd(held), sgd(twin)
    handle.add(first)
    train(held, first, clip=0.1)
    train(twin, second, ByHand(mask, twin), clip=0.1)
    assert revived(held, mask) == 0
    assert bits(held, first) == bits(twin, second)


def test_a_parameter_that_a_load_has_replaced_is_let_go() -> None:
    model = network()
    mask_of(model).hold(model)
    replaced = model.get_parameter("0.weight")
    model.load_state_dict(network().state_dict(), assign=True)
    torch.autograd.backward(replaced.sum())
    assert replaced.grad is not None
    assert replaced.grad.all()


def test_zeros_return_after_one_layer_is_loaded() -> None:
    model, dense = network(), network(seed=1)
    mask = mask_of(model)
    mask.hold(model)
    model[4].load_state_dict(dense[4].state_dict())
    assert revived(model, mask) == 0
    assert torch.equal(model.get_parameter("4.bias"), dense.get_parameter("4.bias"))


def test_zeros_return_after_a_load_that_fails() -> None:
    model, dense = network(), network(seed=1).state_dict()
    mask = mask_of(model)
    mask.hold(model)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        model.load_state_dict(dense | {"stray": torch.ones(1)})
    assert revived(model, mask) == 0


def test_a_network_on_the_meta_device_is_held_once_its_weights_arrive() -> None:
    with torch.device("meta"):
        model = network()
    mask = mask_of(network())
    handle = mask.hold(model)
    model.load_state_dict(network().state_dict(), assign=True)
    optimizer = sgd(model)
    handle.add(optimizer)
    train(model, optimizer)
    assert revived(model, mask) == 0


# Copies


def test_an_averaged_copy_has_no_revived_weights() -> None:
    model = network()
    mask, optimizer = mask_of(model), sgd(model)
    train(model, optimizer)
    mask.hold(model, optimizer)
    decayed = get_ema_multi_avg_fn(0.9)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=decayed)
    for seed in range(3):
        train(model, optimizer, seed=seed)
        average.update_parameters(model)
    assert revived(average.module, mask) == 0
    assert bits(average.module) != bits(model)


def _copied(model: nn.Module, directory: Path) -> Any:
    return copy.deepcopy(model)


def _pickled(model: nn.Module, directory: Path) -> Any:
    return pickle.loads(pickle.dumps(model))


def _saved(model: nn.Module, directory: Path) -> Any:
    torch.save(model, directory / "model.pt")
    return torch.load(directory / "model.pt", weights_only=False)


@pytest.mark.parametrize("twin", [_copied, _pickled, _saved])
def test_a_copy_of_a_held_network_is_a_plain_network(
    twin: Callable[[nn.Module, Path], nn.Module], tmp_path: Path
) -> None:
    held = network()
    mask = mask_of(held)
    mask.hold(held, sgd(held))
    plain = network()
    mask.apply_(plain)
    copied = twin(held, tmp_path)
    assert bits(copied) == bits(plain)
    train(copied, sgd(copied))
    train(plain, sgd(plain))
    assert bits(copied) == bits(plain)
    assert revived(copied, mask) > 0
    copied.load_state_dict(network(seed=1).state_dict())
    assert bits(copied) == bits(network(seed=1))
    assert revived(held, mask) == 0


def test_a_network_copied_with_its_optimizer_leaves_the_original_alone() -> None:
    held = network()
    mask, optimizer = mask_of(held), sgd(held)
    mask.hold(held, optimizer)
    copied, its_optimizer = copy.deepcopy((held, optimizer))
    before = bits(held, optimizer)
    train(copied, its_optimizer)
    assert revived(copied, mask) > 0
    assert bits(held, optimizer) == before


BLOCKED = """
import pickle, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ticketkit", "ticketkit_plugins"):
            raise ImportError(name)

sys.meta_path.insert(0, Block())
model = pickle.load(open(sys.argv[1], "rb"))
model.load_state_dict({name: value.fill_(3) for name, value in model.state_dict().items()})
assert all((parameter == 3).all() for parameter in model.parameters())
assert "ticketkit" not in sys.modules
"""


@pytest.mark.slow
def test_a_pickled_network_is_read_where_ticketkit_is_not_installed(tmp_path: Path) -> None:
    model = network()
    mask_of(model).hold(model, sgd(model))
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(model))
    assert b"ticketkit" not in path.read_bytes()
    subprocess.run([sys.executable, "-c", BLOCKED, str(path)], check=True, cwd=tmp_path)


# Letting go


def test_a_removed_hold_leaves_a_plain_network() -> None:
    held, plain = network(), network()
    mask, optimizer = mask_of(held), sgd(held)
    handle = mask.hold(held, optimizer)
    handle.remove()
    mask.apply_(plain)
    other = sgd(plain)
    train(held, optimizer)
    train(plain, other)
    assert bits(held, optimizer) == bits(plain, other)
    assert revived(held, mask) > 0
    held.load_state_dict(network(seed=1).state_dict())
    assert bits(held) == bits(network(seed=1))
    handle.remove()


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_the_context_manager_holds_inside_and_lets_go_after(
    error: type[BaseException] | None,
) -> None:
    model = network()
    mask, optimizer = mask_of(model), sgd(model)
    with contextlib.suppress(KeyboardInterrupt), mask.hold(model, optimizer):
        train(model, optimizer)
        assert revived(model, mask) == 0
        if error is not None:
            raise error
    train(model, optimizer)
    assert revived(model, mask) > 0


def test_of_two_holds_each_keeps_its_own_zeros() -> None:
    model = network()
    a, b, optimizer = mask_of(model), mask_of(model, seed=1), sgd(model)
    first, second = a.hold(model, optimizer), b.hold(model, optimizer)
    train(model, optimizer)
    assert revived(model, a & b) == 0
    first.remove()
    train(model, optimizer)
    assert revived(model, b) == 0
    assert revived(model, a) > 0
    second.remove()
    train(model, optimizer)
    assert revived(model, b) > 0


@pytest.mark.parametrize(
    ("mask", "optimizers", "error"),
    [
        (mask_of(network()).rename("backbone."), [], MismatchError),
        (Mask({"0.weight": torch.zeros(4, 3, 3, 3), "4.weight": [[0]]}), [], MismatchError),
        (mask_of(network()), ["no optimizer"], UsageError),
    ],
    ids=["names", "shapes", "optimizer"],
)
def test_a_hold_that_fails_leaves_no_hook_behind(
    mask: Mask, optimizers: list[Any], error: type[Exception]
) -> None:
    model = network()
    optimizer = sgd(model)
    before = bits(model)
    with pytest.raises(error):
        mask.hold(model, optimizer, *optimizers)
    assert bits(model) == before or error is UsageError
    plain = copy.deepcopy(model)
    other = sgd(plain)
    train(model, optimizer)
    train(plain, other)
    assert bits(model, optimizer) == bits(plain, other)


def test_a_held_network_that_nobody_needs_any_more_is_freed() -> None:
    model = network()
    optimizer = sgd(model)
    mask_of(model).hold(model, optimizer)
    train(model, optimizer)
    remaining: list[weakref.ref[Any]] = [weakref.ref(each) for each in (model, *model.parameters())]
    del model, optimizer
    gc.collect()
    assert [reference() for reference in remaining] == [None] * len(remaining)


# Wrappers


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("bucket_view", [False, True])
@pytest.mark.parametrize("first", ["hold", "wrap"])
def test_a_distributed_network_trains_as_by_hand(first: str, bucket_view: bool) -> None:
    held, twin = network(), network()
    mask, mine, theirs = mask_of(held), sgd(held), sgd(twin)
    if first == "hold":
        mask.hold(held, mine)
    parallel = nn.parallel.DistributedDataParallel(held, gradient_as_bucket_view=bucket_view)
    if first == "wrap":
        mask.hold(parallel, mine)
    train(parallel, mine, clip=0.1)
    train(twin, theirs, ByHand(mask, twin), clip=0.1)
    assert revived(held, mask) == 0
    assert bits(held, mine) == bits(twin, theirs)


@pytest.mark.parametrize("later", [False, True], ids=["held with", "added later"])
def test_the_optimizer_inside_one_of_accelerate_is_followed(later: bool) -> None:
    accelerate = pytest.importorskip("accelerate")
    model, twin = network(), network()
    mask, theirs = mask_of(model), sgd(twin)
    held, wrapped = accelerate.Accelerator(cpu=True).prepare(model, sgd(model))
    for each, optimizer in ((held, wrapped), (twin, theirs)):
        train(each, optimizer)
    if later:
        mask.hold(held).add(wrapped)
    else:
        mask.hold(held, wrapped)
    train(held, wrapped, seed=1)
    train(twin, theirs, ByHand(mask, twin), seed=1)
    assert revived(model, mask) == 0
    assert bits(model, wrapped) == bits(twin, theirs)
