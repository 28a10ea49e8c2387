"""The books of relevance: they balance, say who kept what, and are painted as they are."""

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from torch import nn

from vgg_viz.attribution import attribute
from vgg_viz.attribution.lrp.conservation import ledger
from vgg_viz.attribution.methods.lrp import PRESETS
from vgg_viz.errors import UnknownName, VggVizError
from vgg_viz.figures.ledger import LedgerPanel, relevance_ledger
from vgg_viz.figures.style import number
from vgg_viz.models.build import build
from vgg_viz.models.checkpoint import load
from vgg_viz.sections.report.relevance import relevance
from vgg_viz.studies.inputs import load_inputs
from vgg_viz.studies.preset import preset_for
from vgg_viz.studies.subject import Subject


def test_what_the_bias_of_a_linear_layer_keeps_is_its_share_of_the_score():
    """score = w x + b: LRP-0 in its only layer would give x w to the pixels and b to the bias; flat gives all to the pixels."""
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    images = torch.ones(1, 3, 2, 2)
    books = ledger(model, images, torch.tensor([0]), preset="epsilon_plus_flat")
    assert books.rules == ("ε 1e-6", "flat")
    assert books.score.item() == pytest.approx(8 * 2 * 0.5 + 0.5)  # eight units of 3 * .5 + .5 = 2
    assert books.bias[0].tolist() == pytest.approx([0.5, 0.0], abs=1e-6)
    assert books.reached.item() == pytest.approx(8 / 8.5)
    assert books.pixels[0].tolist() == pytest.approx(np.full((2, 2), 2.0))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_books_of_the_bundled_network_balance_and_end_in_the_map(preset):
    model = build(load())
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 3, 5])
    books = ledger(model, images, classes, preset=preset)
    with torch.no_grad():
        assert torch.allclose(
            books.score.float(), model(images).gather(1, classes[:, None])[:, 0], rtol=1e-4, atol=1e-4
        )
    size = books.entering.abs().amax(1) + books.bias.abs().sum(1) + books.epsilon.abs().sum(1)
    assert (books.gap.abs().amax(1) < 1e-5 * size).all()
    assert (books.between.abs().amax(1) < 1e-6 * size).all()
    assert torch.allclose(books.pixels.double().sum((1, 2)), books.leaving[:, -1], atol=1e-4)
    map_ = attribute(model, images, method=f"lrp_{preset}", target=classes)
    assert torch.allclose(map_.values, books.pixels, atol=1e-6)


def test_an_unknown_preset_is_refused():
    with pytest.raises(UnknownName, match="preset of relevance 'epsilon_gama_box'; did you mean 'epsilon_gamma_box'"):
        ledger(build("tiny_vgg", image_side=32), torch.rand(1, 3, 32, 32), torch.tensor([0]), preset="epsilon_gama_box")


AMOUNTS = (
    np.array([4.0, 3.0]),
    np.array([1.5, -1.0]),
    np.array([-0.5, 0.5]),
    np.array([3.0, 3.5]),
)  # came, bias, epsilon, passed
BOOK = LedgerPanel("a <b>title</b>", ["fc8", "conv1_1"], ["ε", "box"], *AMOUNTS)


def test_a_ledger_paints_what_came_what_was_kept_and_what_was_passed_on():
    figure = relevance_ledger([BOOK, BOOK], title="t", subtitle="s")
    axes = next(a for a in figure.axes if a.get_xlabel())
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
    assert spans == [(0, 3), (0, 3.5), (3, 4.5), (3.5, 2.5), (4.5, 4.0), (2.5, 3.0)]
    (marks,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert [segment[0][0] for segment in marks.get_segments()] == [4.0, 3.0], (
        "each line of bars ends where its mark stands"
    )
    assert [text.get_text() for text in axes.texts] == ["3", "3.5"]
    low, high = axes.get_xlim()
    assert low == 0
    assert high > 4.5


def test_a_ledger_without_lines_or_with_lines_of_several_lengths_is_refused():
    for books in ([], [LedgerPanel("", ["fc8"], ["box"], np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2))]):
        with pytest.raises(VggVizError, match="same number of layers"):
            relevance_ledger(books)


@pytest.fixture(scope="module")
def exhibits():
    checkpoint, preset = load(), preset_for("standard", 0.005)
    model = build(checkpoint)
    inputs = load_inputs(checkpoint, images=None, data=None, preset=preset, gigamacs=0.005, seed=0)
    return {shown.slug: shown for shown in relevance(Subject(checkpoint, model, inputs, preset, 0))}


def test_the_section_says_the_numbers_that_its_figures_show(exhibits):
    assert list(exhibits) == ["relevance-maps", "relevance-ledger"]
    numbers = exhibits["relevance-ledger"].numbers
    for name, book in numbers["books"].items():
        assert book["entering"][0] == pytest.approx(numbers["score"])
        assert book["leaving"][-1] == pytest.approx(book["reached"] * numbers["score"])
        share = exhibits["relevance-maps"].numbers["sums"][f"lrp_{name}"][0]
        assert share == pytest.approx(book["leaving"][-1], rel=1e-4)
    assert numbers["gap"] < 1e-5
    assert f"{number(numbers['gap'], digits=1)} logit" in exhibits["relevance-ledger"].caption.read
    rows = exhibits["relevance-ledger"].table.rows
    assert len(rows) == 4 * 5
    for _, _, _, came, kept, swallowed, passed in rows:
        assert came == pytest.approx(kept + swallowed + passed, abs=3e-4)
