"""Every method against every option: read or refused; and values out of their ranges."""

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from test_attribution import lively, pictures

from vgg_viz.attribution import Options, attribute, methods
from vgg_viz.errors import InputRefused

OTHER = {  # a value of each option that is not its default, small enough to be quick
    "seed": 3,
    "steps": 3,
    "samples": 2,
    "noise": 0.2,
    "baseline": "grey",
    "window": 16,
    "stride": 8,
    "windows": (16,),
    "masks": 3,
    "relu": False,
    "batch": 1,
}
QUICK = Options(steps=2, samples=2, window=16, masks=2)


def test_every_option_is_tried():
    assert set(OTHER) == {about.name for about in fields(Options)}
    for about in methods().values():
        assert set(about.reads) <= {*OTHER, "layer"}


@pytest.mark.parametrize("option", OTHER)
@pytest.mark.parametrize("name", methods())
def test_an_option_is_read_or_refused(name, option):
    about = methods()[name]
    chosen = Options(**{option: OTHER[option]})
    if option == "batch" or option in about.reads:
        quick = {
            other: getattr(QUICK, other) for other in about.reads if other not in ("layer", "seed", "baseline", "noise")
        }
        found = attribute(
            lively(), pictures(1, 32), name, target=1, options=Options(**(quick | {option: OTHER[option]}))
        )
        if option != "batch":
            assert found.settings[option] == OTHER[option]
        return
    with pytest.raises(InputRefused, match=rf"option {option} came, and {name} does not read it: it reads .*batch; "):
        attribute(lively(), pictures(1, 32), name, target=1, options=chosen)


BAD = [
    ("integrated_gradients", "steps", (0, -1, 10_001, 2.0, math.nan, True, "3", None)),
    ("smoothgrad", "samples", (0, 10_001, 1.5, math.nan, False)),
    ("smoothgrad", "seed", (-1, 2**63, 0.5, math.nan)),
    ("smoothgrad", "noise", (-0.1, 1.01, math.nan, math.inf, True, "0.1", None)),
    ("occlusion", "window", (0, -3, 4.0, math.nan)),
    ("occlusion", "stride", (0, -3, 4.0, math.nan)),
    ("occlusion_multiscale", "windows", ((0,), (8, 4.5), 8, "8", (math.nan,))),
    ("rise", "masks", (0, 1_000_001, math.nan)),
    ("grad_cam", "relu", (0, "no", None, math.nan)),
    ("grad_cam", "batch", (0, -1, 2.0, math.nan)),
    ("integrated_gradients", "baseline", (-0.1, 1.5, math.nan, math.inf, True, (0.5,), torch.tensor([math.nan]))),
]


@pytest.mark.parametrize(("name", "option", "value"), [(n, o, value) for n, o, values in BAD for value in values])
def test_a_value_out_of_range_is_refused_in_a_sentence(name, option, value):
    with pytest.raises(InputRefused, match=rf"{option}.* came, where .* expected.*; give {name} another value"):
        attribute(lively(), pictures(1, 32), name, target=1, options=Options(**{option: value}))


def test_other_whole_numbers_are_numbers_and_no_dictionary_is_options():
    model, images = lively(), pictures(1, 32)
    found = attribute(model, images, "integrated_gradients", target=1, options=Options(steps=np.int64(4)))
    assert torch.equal(
        found.values, attribute(model, images, "integrated_gradients", target=1, options=Options(steps=4)).values
    )
    with pytest.raises(InputRefused, match="options of type dict came"):
        attribute(model, images, "saliency", target=1, options={"seed": 1})


def test_of_options_for_many_methods_each_gets_those_that_it_reads():
    given = Options(seed=1, steps=2, window=8, batch=3)
    assert methods()["saliency"].relevant(given) == Options(batch=3)
    assert methods()["occlusion"].relevant(given) == Options(window=8, batch=3)
    assert methods()["grad_cam"].relevant(given) == Options(batch=3)
