"""Ways of wearing a model for a moment: with ears on its layers, in eval mode, with its weights frozen.

Each is a context manager that takes back what it did, also when the block raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from vgg_viz.arguments import require_arguments
from vgg_viz.capture.model_input import images_for
from vgg_viz.errors import InputRefused
from vgg_viz.maths.image_forms import Images
from vgg_viz.models.names import find
from vgg_viz.models.names import layers as layers_of
from vgg_viz.models.outputs import class_logits, is_binary
from vgg_viz.records import Activations, Architecture, Neuron

# In eval mode these pass on what they get, so a copy of theirs would double the memory and show nothing new.
PASS_THROUGH = ("normalise", "flatten", "drop")


@contextmanager
def record_activations(model: nn.Module, *layers: str) -> Iterator[dict[str, Tensor]]:
    """Copy what the named layers say during the forward passes of this block.

    layers  names such as "conv5_3", in any order
    yields  {layer: (B, C, h, w) or (B, C)}, filled by the pass, in the order in which the picture meets the layers;
            a later pass replaces an earlier one; no graph attached
    raises  UnknownName before anything is hooked

    Copies, not references: VGG runs its ReLUs in place, and a kept conv5_3 becomes relu5_3 a moment later
    (48.7 % of its values change).
    """
    found = [find(model, name) for name in layers]
    copies: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for layer in found:
            hooks.callback(layer.module.register_forward_hook(_listener(copies, layer.name)).remove)
        yield copies


def _listener(copies: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, Tensor], None]:
    def listen(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        copies[name] = output.detach().clone()

    return listen


OnGradient = Callable[[str, Tensor, Tensor], None]


@contextmanager
def activations_and_gradients(model: nn.Module, layers: Iterable[str], met: OnGradient) -> Iterator[list[Tensor]]:
    """Tell what layers said together with the gradient that comes back to it, while one backward pass of this block runs.

    met     gets a layer's name, what it said and its gradient, both (B, C, h, w), from the highest layer down. They are the
            network's own and go when `met` returns: read them, neither write to them nor keep them
    yields  [what the lowest of them said], filled by the forward pass: what to ask autograd for when the pixels need no gradient,
            so that nothing below it is kept or computed
    raises  UnknownName before anything is hooked; InputRefused, by the backward pass, when somebody wrote over a layer meanwhile

    A convolution's output goes on as a copy, since the ReLU would write over the original. What a ReLU or a pool says is only
    looked at: of all the layers of VGG16 that is 27 million values a picture that nobody copies.
    """
    found = [find(model, name) for name in layers]
    lowest: list[Tensor] = []
    with ExitStack() as hooks:
        for layer in found:
            hooks.callback(
                layer.module.register_forward_hook(
                    _meeter(lowest, met, layer.name, layer.kind in ("conv", "bn"))
                ).remove
            )
        yield lowest


def _meeter(
    lowest: list[Tensor], met: OnGradient, name: str, written: bool
) -> Callable[[nn.Module, object, Tensor], Tensor]:
    def listen(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if not output.requires_grad:
            output = output.detach().requires_grad_()
        held, version = [output.detach()], output._version

        def answer(gradient: Tensor) -> None:
            # The graph keeps this function to its end. The values must not stay as long: at once they are half of the memory.
            values = held.pop()
            if values._version != version:
                raise InputRefused(
                    f"something wrote over what {name} had said; ask for the layer that did, the one after it."
                )
            met(name, values, gradient)

        output.register_hook(answer)  # type: ignore[no-untyped-call]
        if not lowest:
            lowest.append(output)
        return output.clone() if written else output

    return listen


Scores = Callable[[Tensor], Tensor]  # logits (B, K, ...) -> the scores that are asked about (B, P, ...)


@contextmanager
def replace_output(model: nn.Module, pairs: Tensor | None = None, *, neuron: Neuron | None = None) -> Iterator[Scores]:
    """Exchange what the network says in this block for the scores that somebody asks about, one a column.

    pairs    (P, 2) class indices: column p is the logit of the first class minus that of the second
    neuron   in their place: one column, its value, or the mean of its channel
    yields   the same exchange as a function, for who runs the last layers without the whole network
    raises   UnknownName for the neuron's layer, before anything is hooked; InputRefused, by the pass, for a unit outside its layer

    Whoever multiplies a batch, as Captum does for steps, noise and occlusions, then repeats column numbers and needs to know
    nothing of pairs: a column means the same for every picture. Without pairs and neuron the logits stay as they are;
    a single one that decides between two classes gives a column for each: turned round for the first.
    """
    with ExitStack() as stack:
        said = stack.enter_context(unit_output(model, neuron)) if neuron is not None else []

        def scores(logits: Tensor) -> Tensor:
            if neuron is not None:
                return said[-1][:, None]
            logits = class_logits(model, logits)
            if pairs is None:
                return logits
            first, second = pairs.to(logits.device).unbind(1)
            return logits.index_select(1, first) - logits.index_select(1, second)

        if neuron is not None or pairs is not None or is_binary(getattr(model, "architecture", None)):
            stack.callback(model.register_forward_hook(lambda _module, _inputs, logits: scores(logits)).remove)
        yield scores


def say_both_classes(model: nn.Module) -> nn.Module:
    """The same network, which from now on gives a score to both classes where one logit decides: (-z, z) in the place of z."""
    if is_binary(getattr(model, "architecture", None)):
        model.register_forward_hook(lambda _module, _inputs, logits: class_logits(model, logits))
    return model


@contextmanager
def centre_logits(model: nn.Module) -> Iterator[nn.Module]:
    """Less the mean over the classes: what the network says in this block is each logit's distance from the mean of all.

    Softmax and the answer stay what they are. What is added to all logits at once decides nothing, and training leaves it free:
    a map of a plain logit is partly a map of that, and it wanders from epoch to epoch.
    """

    def centred(_module: nn.Module, _inputs: object, logits: Tensor) -> Tensor:
        return logits - logits.mean(1, keepdim=True) if logits.shape[1] > 1 else logits

    hook = model.register_forward_hook(centred)
    try:
        yield model
    finally:
        hook.remove()


@contextmanager
def unit_output(model: nn.Module, neuron: Neuron) -> Iterator[list[Tensor]]:
    """Keep what one unit says, or its channel on average, in the last forward pass of this block: [(B,)], its graph attached.

    raises  UnknownName for its layer, before anything is hooked; InputRefused, by the pass, for a unit outside its layer
    """
    said: list[Tensor] = []

    def listen(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        # Read at once: the ReLU that follows would write over it.
        said[:] = [_value(output, neuron)]

    hook = find(model, neuron.layer).module.register_forward_hook(listen)
    try:
        yield said
    finally:
        hook.remove()


def _value(output: Tensor, neuron: Neuron) -> Tensor:
    """What a unit of a layer's output (B, C, h, w) or (B, C) says, or its channel on average: (B,)."""
    sizes = tuple(output.shape[1:])
    asked = [neuron.channel] + ([] if neuron.row is None or neuron.column is None else [neuron.row, neuron.column])
    if len(asked) > len(sizes) or any(not 0 <= place < size for place, size in zip(asked, sizes, strict=False)):
        places = "" if len(sizes) == 1 else f", rows 0 to {sizes[1] - 1} and columns 0 to {sizes[2] - 1}"
        raise InputRefused(
            f"unit {neuron} was asked for; {neuron.layer} has channels 0 to {sizes[0] - 1}{places or ' and no map'}."
        )
    if len(asked) == 3:
        return output[:, asked[0], asked[1], asked[2]].clone()
    return output[:, neuron.channel].flatten(1).mean(1) if len(sizes) > 1 else output[:, neuron.channel].clone()


@contextmanager
def replace_activations(
    model: nn.Module, changes: Mapping[str, Callable[[nn.Module, Tensor], Tensor]]
) -> Iterator[None]:
    """Let something else pass up in the place of what layers say, during the forward passes of this block.

    changes  {layer: function of its module and its output (B, C, h, w) or (B, C), giving what passes up}
    raises   UnknownName before anything is hooked
    """
    found = [(find(model, name), change) for name, change in changes.items()]
    with ExitStack() as hooks:
        for layer, change in found:
            hooks.callback(layer.module.register_forward_hook(_rewriter(change)).remove)
        yield


def _rewriter(change: Callable[[nn.Module, Tensor], Tensor]) -> Callable[[nn.Module, object, Tensor], Tensor]:
    def rewrite(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return change(module, output)

    return rewrite


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode; afterwards every module has the mode it had, not that of the root.

    Fine-tuning often keeps batch norm in eval mode inside a network that trains: `model.train()` would lose that.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """The model with no parameter asking for a gradient; afterwards each asks as before, and no .grad was touched.

    A gradient of the picture then costs half the time: nothing is kept or computed for the weights.
    """
    asking = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in asking:
            parameter.requires_grad_(False)
        yield model
    finally:
        for parameter, wanted in asking:
            parameter.requires_grad_(wanted)


@contextmanager
def on_forward(model: nn.Module, tell: Callable[[int], None]) -> Iterator[nn.Module]:
    """Calls `tell` with the number of pictures before every forward pass of the whole network in this block.

    Whoever waits can count the passes; what `tell` raises ends the work before its next pass.
    """
    hook = model.register_forward_pre_hook(lambda _module, inputs: tell(len(inputs[0])))
    try:
        yield model
    finally:
        hook.remove()


@contextmanager
def bypass_modules(model: nn.Module, *paths: str) -> Iterator[nn.Module]:
    """Modules of the model hand on what they get in this block, so that it can be given what they would have said.

    paths   of modules that stand one after the other at the network's beginning
    raises  AttributeError for a path that does not exist, before anything is changed

    The rest of the network runs in its own words, and whoever listens at its root hears of the pass.
    """
    modules = [model.get_submodule(path) for path in paths]
    own = [vars(module).get("forward") for module in modules]
    try:
        for module in modules:
            module.forward = _handed_on
        yield model
    finally:
        for module, forward in zip(modules, own, strict=True):
            if forward is None:
                vars(module).pop("forward", None)
            else:
                module.forward = forward


def _handed_on(maps: Tensor) -> Tensor:
    return maps


@contextmanager
def refusing_misfits(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Let a network that nobody knows say no to pictures in this block: what its own forward pass raises becomes InputRefused.

    Nothing is done around a network that vgg_viz built: `images_for` has compared its pictures already.
    """
    if isinstance(getattr(model, "architecture", None), Architecture):
        yield
        return
    inside: list[bool] = []

    def enter(_module: nn.Module, _inputs: object) -> None:
        inside.append(True)

    def leave(_module: nn.Module, _inputs: object, _output: object) -> None:
        inside.clear()

    # The first to hear that the pass is over: what somebody's own hook raises then is none of the pictures' fault.
    hooks = [model.register_forward_pre_hook(enter), model.register_forward_hook(leave, prepend=True)]
    try:
        yield
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        if not inside or isinstance(error, torch.OutOfMemoryError):
            raise
        said = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise InputRefused(
            f"pictures of shape {tuple(images.shape[1:])} came, and the network's own forward pass says no: {said}; "
            "give what the network takes."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody listens to the module or has changed its forward pass: it must not be asked about parts of a picture then."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks) or "forward" in vars(
        module
    )


def on_device_of(model: nn.Module, values: Tensor) -> Tensor:
    """Pictures, or classes, on the device of the model's weights: whatever sends pictures through a network begins with this."""
    weight = next(model.parameters(), None)
    return values if weight is None else values.to(weight.device)


def activations(model: nn.Module, images: Images, layers: Iterable[str] | None = None) -> Activations:
    """What the layers say about some pictures: one forward pass, in eval mode, without gradients.

    images  (B, C, H, W) in [0, 1], on any device, or another form that `images_for` reads; for a network that vgg_viz did not
            build, floats as it takes them
    layers  names, or one name; None: every layer that says something of its own (not normalise, flatten, dropout)
    raises  UnknownName; InputRefused for pictures that the network cannot read
    """
    pictures = images_for(model, images)
    if layers is None:
        layers = [layer.name for layer in layers_of(model) if layer.kind not in PASS_THROUGH]
    wanted = (layers,) if isinstance(layers, str) else tuple(layers) if isinstance(layers, Iterable) else (layers,)
    for name in wanted:
        require_arguments({"layer": name})
    contexts = eval_mode(model), torch.no_grad(), refusing_misfits(model, pictures)
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        maps = stack.enter_context(record_activations(model, *wanted))
        logits = model(pictures)
    return Activations(maps, logits)
