"""A network that looks at data and is left as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import ticketkit
from ticketkit.inference import evaluated, forward, outputs_of
from ticketkit.testing import cases


def disturb(model: nn.Module) -> None:
    model.train()
    model.get_submodule("norm").eval()
    torch.rand(3)


def fail(model: nn.Module) -> None:
    disturb(model)
    raise ZeroDivisionError


@pytest.mark.parametrize("training", [True, False])
def test_modes_and_generators_are_restored_even_where_something_fails(
    training: bool,
) -> None:
    model = cases.runnable().train(training)
    model["conv"].train(not training)
    before = cases.snapshot(model)
    with evaluated(model):
        disturb(model)
    assert cases.snapshot(model) == before
    with pytest.raises(ZeroDivisionError), evaluated(model):
        fail(model)
    assert cases.snapshot(model) == before
    assert torch.is_grad_enabled()


def test_evaluated_is_eval_mode_without_gradients() -> None:
    model = cases.runnable().train()
    with evaluated(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.ones(1, 2, 6, 6)).requires_grad


@pytest.mark.parametrize(
    ("inputs", "dtype"),
    [
        (torch.tensor([[0, 51, 255]], dtype=torch.uint8), torch.float32),
        (torch.tensor([[0, 51, 255]], dtype=torch.uint8), torch.float64),
        (torch.tensor([[0, 51, 255]], dtype=torch.uint8), torch.bfloat16),
        (torch.tensor([[0, 0.2, 1]], dtype=torch.float64), torch.float32),
    ],
)
def test_pictures_come_in_the_unit_interval_and_the_networks_dtype(
    inputs: torch.Tensor, dtype: torch.dtype
) -> None:
    linear = nn.Linear(3, 3, bias=False, dtype=dtype)
    nn.init.eye_(linear.weight)
    outputs = forward(linear, inputs, 0)
    assert outputs.dtype == dtype
    torch.testing.assert_close(outputs, torch.tensor([[0, 0.2, 1]], dtype=dtype), rtol=1e-7, atol=0)


def test_whole_numbers_other_than_pictures_stay_whole() -> None:
    embedding = nn.Embedding(3, 2)
    words = torch.tensor([[0, 2]])
    assert torch.equal(forward(embedding, words, 0), embedding(words))


def test_pictures_keep_their_memory_format() -> None:
    seen = []
    model = nn.Conv2d(2, 4, 3)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].stride()))
    for pictures in (torch.ones(3, 2, 6, 6), torch.ones(3, 2, 6, 6, dtype=torch.uint8)):
        forward(model, pictures.to(memory_format=torch.channels_last), 0)
    assert seen == [(72, 1, 12, 2)] * 2


def test_a_network_without_parameters_is_given_its_inputs_as_they_are() -> None:
    inputs = torch.ones(3, 2, dtype=torch.float64)
    assert torch.equal(forward(nn.Identity(), inputs, 0), inputs)


class Answering(nn.Module):
    """Answers what it was told to."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, inputs: torch.Tensor) -> Any:
        return self.answer(inputs)


@pytest.mark.parametrize(
    ("answer", "targets", "kind", "told"),
    [
        (
            lambda x: 1 / 0,
            [0, 1],
            ticketkit.UsageError,
            "samples 3 to 4: the network failed on its",
        ),
        (lambda x: {"out": x}, [0, 1], ticketkit.UsageError, "the network returned dict, where"),
        (lambda x: x.sum(), [0, 1], ticketkit.UsageError, "the network returned Tensor, where"),
        (lambda x: x[:1], [0, 1], ticketkit.EvaluationError, "made 1 outputs of 2 inputs with 2"),
        (lambda x: x, [0], ticketkit.EvaluationError, "made 2 outputs of 2 inputs with 1 targets"),
        (lambda x: x, 0, ticketkit.EvaluationError, "made 2 outputs of 2 inputs with 1 targets"),
        (lambda x: x, ["a", "b"], ticketkit.UsageError, "targets are tensors"),
    ],
)
def test_what_a_network_may_not_answer_is_told_by_its_samples(
    answer: Any, targets: Any, kind: type[Exception], told: str
) -> None:
    model = Answering(lambda x: x if len(x) == 3 else answer(x))
    batches = [(torch.ones(3, 2), torch.zeros(3)), (torch.ones(2, 2), targets)]
    with pytest.raises(kind, match=told):
        list(outputs_of(model, batches, 9))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_where_memory_ends_a_smaller_batch_is_advised(error: Exception) -> None:
    # Fault row 58
    def run_out(inputs: torch.Tensor) -> torch.Tensor:
        raise error

    told = "samples 0 to 1: out of memory; a smaller batch needs less"
    with pytest.raises(ticketkit.TicketkitError, match=told) as caught:
        forward(Answering(run_out), torch.ones(2, 2), 0)
    assert caught.value.exit_status == 1


def test_answers_of_inference_mode_are_copied_so_that_changes_are_counted() -> None:
    @torch.inference_mode()
    def answer(inputs: torch.Tensor) -> torch.Tensor:
        return inputs + 1

    with evaluated(model := Answering(answer)):
        (outputs, targets), *_ = outputs_of(model, [(torch.ones(2, 2), [0, 1])], 9)
    assert not outputs.is_inference()
    assert not targets.is_inference()
