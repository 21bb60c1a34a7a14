"""Holding a mask: removed weights stay +0.0 through any training loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch.utils.hooks import RemovableHandle

from ticketkit.errors import InputError, UsageError
from ticketkit.mask import unwrap
from ticketkit.zeroing import layout, zero_

if TYPE_CHECKING:
    from ticketkit.mask import Mask


class Hold:
    """The handle that `Mask.hold` returns.

    Training under it is bit-equal to training with explicitly masked gradients. It masks

    - each gradient as `backward` accumulates it, so that clipping and an optimizer's statistics
      see f(m⊙θ);
    - the weights after each optimizer step, where momentum may be older than the mask;
    - the weights after `load_state_dict`.

    Parameter names and state-dict keys do not change. A copy or a pickle of the network is a plain
    network, not held. A parameter that is replaced by another object, but by a load, is held no
    more, and gradients that are assigned by hand are for the caller to mask.
    """

    def __init__(
        self, mask: Mask, model: torch.nn.Module, optimizers: Iterable[torch.optim.Optimizer]
    ) -> None:
        self._mask = mask
        self._model = model
        self._held: dict[str, _Held] = {}
        self._hooks: list[RemovableHandle] = []
        try:
            self._bind()
            self._follow_loads()
            for optimizer in optimizers:
                self.add(optimizer)
        except BaseException:
            self.remove()  # or hooks that nobody has a handle to would stay
            raise

    def add(self, optimizer: torch.optim.Optimizer) -> None:
        """Mask the weights after each step of `optimizer` too."""
        # accelerate wraps an optimizer in another, whose own hooks never run.
        while isinstance(inner := getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
            optimizer = inner
        if not isinstance(optimizer, torch.optim.Optimizer):
            found = type(optimizer).__name__
            raise UsageError(f"hold takes optimizers, one by one, found {found}")
        self._hooks.append(optimizer.register_step_post_hook(lambda *_: self.apply()))

    def apply(self) -> None:
        """Write +0.0 to every removed weight now."""
        with torch.no_grad():
            for held in self._held.values():
                held.zeros.write(held.parameter)

    def remove(self) -> None:
        """Let go: the weights stay as they are, and train freely from here on."""
        for hook in (*self._hooks, *(held.hook for held in self._held.values())):
            hook.remove()
        self._hooks.clear()
        self._held.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def _follow_loads(self) -> None:
        covered = {id(held.parameter) for held in self._held.values()}
        for module in unwrap(self._model).modules():
            if any(id(parameter) in covered for parameter in module.parameters(recurse=False)):
                after_load = _AfterLoad(self._bind)
                hook = module.register_load_state_dict_post_hook(after_load)  # type: ignore[no-untyped-call]
                self._hooks.append(hook)

    def _bind(self) -> None:
        """Hold the network's parameters as they are now, and apply the mask.

        `load_state_dict(assign=True)` puts new parameters in the place of the old ones.
        """
        for name, parameter in self._mask.tensors_of(self._model).items():
            bound = self._held.get(name)
            if bound is None or bound.parameter is not parameter:
                if bound is not None:
                    bound.hook.remove()
                self._held[name] = _Held(parameter, layout(self._mask[name], parameter))
        self.apply()


class _Held:
    """One parameter, its zeros, and the hook that keeps them in its gradient."""

    def __init__(self, parameter: torch.Tensor, mask: torch.Tensor) -> None:
        self.parameter = parameter
        self.zeros = _Zeros(mask)
        # torch hooks only what requires gradients; a parameter frozen now may be thawed later.
        required = parameter.requires_grad
        parameter.requires_grad_(True)
        # Python never frees a cycle that leads through torch's hooks: this one must not lead back.
        hook = self.zeros.write_to_gradient
        self.hook = parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
        parameter.requires_grad_(required)


class _Zeros:
    """Where one parameter has its zeros; knows nothing of the parameter itself."""

    def __init__(self, mask: torch.Tensor) -> None:
        self._mask = mask

    def write(self, tensor: torch.Tensor) -> None:
        if self._mask.device != tensor.device:  # the network has moved to another device
            self._mask = self._mask.to(tensor.device)
        if tensor.layout != torch.strided:
            raise InputError(f"a {tensor.layout} gradient cannot be held: use dense gradients")
        zero_(tensor, self._mask)

    def write_to_gradient(self, parameter: torch.Tensor) -> None:
        if parameter.grad is not None:
            with torch.no_grad():
                self.write(parameter.grad)


class _AfterLoad:
    """A load_state_dict hook that copies and pickles as one that does nothing.

    Hooks travel with a copied module. The stand-in comes from the standard library, so that a
    pickled network needs no ticketkit to be read: `nullcontext().__exit__` takes any arguments and
    returns None.
    """

    def __init__(self, apply: Callable[[], None]) -> None:
        self._apply = apply

    def __call__(self, *_: object) -> None:
        self._apply()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, str]]:
        return getattr, (contextlib.nullcontext(), "__exit__")
