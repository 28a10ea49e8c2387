"""Whether a network's layers are modules: a method that exchanges or hooks layers cannot see what a function computes."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from vgg_viz.errors import InputRefused
from vgg_viz.models.live import weightless
from vgg_viz.models.live.trace import Operation, run_once, undisturbed, unwrapped
from vgg_viz.records import Architecture

ACTIVATIONS = frozenset(weightless.ACTIVATIONS)
MAX_POOLS = frozenset(("max_pool2d_with_indices", "max_pool2d", "adaptive_max_pool2d", "amax"))
LINEAR = frozenset(("convolution", "addmm", "mm"))
SIDE_BY_SIDE = frozenset(("cat", "stack"))  # each value goes on as it is


def require_layers_as_modules(
    model: nn.Module, images: Tensor, method: str, names: Iterable[str], *, chain: bool = False
) -> None:
    """Refuse a network that computes as a function what a method must find as a module: its map would be another one's.

    Nothing is asked of a network that vgg_viz built. Any other is run once on one picture.

    Args:
        model: Any network.
        images: (B, C, H, W), as it takes them.
        method: What is called so in the refusal.
        names: ATen's, of the operations that must stand in modules of torch's own.
        chain: Whether no operation may compute one value of two either.

    Raises:
        InputRefused: With the first operation that stands in none, and where.
    """
    if isinstance(getattr(model, "architecture", None), Architecture):
        return
    network = unwrapped(model)
    wanted = frozenset(names)
    with undisturbed(network) as run:
        operations = run_once(network, run, images[:1].detach().float()).operations
    for operation in operations:
        if chain and len(operation.inputs) > 1 and operation.name not in SIDE_BY_SIDE:
            raise _refused(method, operation, "joins two values, which no rule is known for")
        if operation.name in wanted and not _in_a_layer(network, operation):
            raise _refused(method, operation, f"computes {operation.name} as a function, which it cannot see")


def _in_a_layer(network: nn.Module, operation: Operation) -> bool:
    """Whether the innermost module that computes it is a layer of torch's own."""
    module = network.get_submodule(operation.place.path)
    return type(module).__module__.startswith("torch.nn.modules") and not any(module.children())


def _refused(method: str, operation: Operation, what: str) -> InputRefused:
    return InputRefused(
        f"{method} works on layers one after another that are modules, and {operation.place} {what}; "
        "vgg_viz.build(vgg_viz.open(model)) gives every layer of a chain a module, or choose a method of gradients such as saliency."
    )
