"""A second device on a machine that has none: tensors that the CPU computes, and that are refused wherever CUDA refuses them.

    with stand_in() as device:
        build("tiny_vgg").to(device)(pictures)  # RuntimeError: Expected all tensors to be on the same device

It bears the name of a device that torch knows, to whose tensors autograd works without a driver, and that nobody has: `lazy:0`.
`.device`, `.to`, `.numpy()`, factories with `device=`, autograd and generators behave as on a GPU, in every thread. What is a GPU's
own (its numbers, its memory, its speed) cannot be seen here.

Below autograd every operator on such a tensor comes by `OnDevice.__torch_dispatch__`, and operators that make a tensor from nothing
come by kernels registered for the device. Both hold the devices of all tensors against each other, then let the CPU compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("lazy", 0)
aten = torch.ops.aten
MOVING = {aten._to_copy.default, aten.copy_.default, aten.copy.default}
INDEXING = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
}
DICE = torch.Generator().manual_seed(0)  # the device's own


class OnDevice(Tensor):
    """A tensor of the device; `inner` holds its values, with the same strides, on the CPU."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        made = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(
        cls, op: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return computed(op, args, kwargs or {})

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, other: OnDevice) -> None:
        self._become(other.inner)

    def _become(self, inner: Tensor) -> None:
        """Other values, perhaps of another form."""
        with torch._C._DisableTorchDispatch():
            Tensor.data.__set__(self, OnDevice(inner))
        self.inner = inner

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(
                f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() to copy the tensor first."
            )
        return self.inner.numpy(force=True)

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.__reduce_ex__(protocol)

    def __repr__(self, **_options: Any) -> str:
        return f"{self.inner!r} on {DEVICE}"


def computed(op: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """An operator's answer by the CPU, on the device on which CUDA would have it; raises RuntimeError where CUDA would."""
    given = dict(zip((argument.name for argument in op._schema.arguments), args, strict=False)) | kwargs
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    here, away = [t for t in tensors if isinstance(t, OnDevice)], [t for t in tensors if not isinstance(t, OnDevice)]
    if here and away and op not in MOVING:
        _refuse_strangers(op, given, away)
    wanted = given.get("device")
    answers_here = isinstance(args[0], OnDevice) if op in MOVING else bool(here)
    if wanted is not None:
        answers_here = torch.device(wanted).type == DEVICE.type
        kwargs = kwargs | {"device": torch.device("cpu") if answers_here else wanted}
    if answers_here and given.get("generator") is not None:
        raise RuntimeError(
            f"Expected a '{DEVICE.type}' device type for generator but found '{given['generator'].device}'"
        )
    known = {id(value.inner): value for value in here}
    inner_args, inner_kwargs = tree_map_only(OnDevice, lambda value: value.inner, (tuple(args), kwargs))
    with _dice(op, answers_here):
        found = op(*inner_args, **inner_kwargs)
    for value in here:  # one that was written into may have another form now
        if value.shape != value.inner.shape or value.stride() != value.inner.stride():
            value._become(value.inner)
    if not answers_here:
        return found
    return tree_map_only(Tensor, lambda value: known[id(value)] if id(value) in known else OnDevice(value), found)


def _refuse_strangers(op: Any, given: dict[str, Any], away: list[Tensor]) -> None:
    """Raise as CUDA does where tensors of both devices meet in one operator.

    Allowed are single numbers of the CPU in operators that go place by place, and indices of the CPU into a tensor of the device.
    """
    if op in INDEXING:
        if not isinstance(given["self"], OnDevice):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        away = [value for value in (given.get("values"),) if value is not None and not isinstance(value, OnDevice)]
    written = [
        given.get(argument.name)
        for argument in op._schema.arguments
        if argument.alias_info and argument.alias_info.is_write
    ]
    welcome = op in INDEXING or torch.Tag.pointwise in op.tags
    for value in away:
        if not welcome or value.ndim > 0 or any(value is one for one in written):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {DEVICE} and {value.device}! (in {op})"
            )


@contextmanager
def _dice(op: Any, answers_here: bool) -> Iterator[None]:
    """Chance on the device does not come out of the CPU's generator, nor change it."""
    if not answers_here or torch.Tag.nondeterministic_seeded not in op.tags:
        yield
        return
    before = torch.get_rng_state()
    torch.set_rng_state(DICE.get_state())
    try:
        yield
    finally:
        DICE.set_state(torch.get_rng_state())
        torch.set_rng_state(before)


def _factories() -> Iterator[Any]:
    """The operators that make a tensor from nothing, on a device that they are told."""
    for name in dir(aten):
        packet = getattr(aten, name)
        for overload in packet.overloads() if hasattr(packet, "overloads") else ():
            op = getattr(packet, overload)
            kinds = {argument.name: str(argument.type) for argument in op._schema.arguments}
            if "device" in kinds and not any("Tensor" in kind for kind in kinds.values()):
                yield op


def _kernel(op: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: computed(op, args, kwargs)


@contextmanager
def stand_in() -> Iterator[torch.device]:
    """In this block, in all threads, there is a second device; yields it."""
    kernels = torch.library.Library("aten", "IMPL")
    for op in _factories():
        kernels.impl(op, _kernel(op), "Lazy")
    lifts, replaces = torch._C._only_lift_cpu_tensors(), torch.__future__.get_overwrite_module_params_on_conversion()
    torch._C._set_only_lift_cpu_tensors(
        True
    )  # torch.tensor(..., device=) is made on the CPU, then moved by an operator
    torch.__future__.set_overwrite_module_params_on_conversion(
        True
    )  # a parameter that moves is a new one, of its device's class
    try:
        yield DEVICE
    finally:
        torch._C._set_only_lift_cpu_tensors(lifts)
        torch.__future__.set_overwrite_module_params_on_conversion(replaces)
        kernels._destroy()
