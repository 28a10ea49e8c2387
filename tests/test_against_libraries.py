"""What is written here though a library does it, held against that library. Why it stays: docs/LIBRARIES.md."""

import asyncio
import io
import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from scipy import sparse, stats
from scipy.sparse.linalg import spsolve
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve
from sklearn.cluster import KMeans
from starlette.middleware.trustedhost import TrustedHostMiddleware
from torchvision import ops

from vgg_viz.data.boxes.yolo import _names
from vgg_viz.faithfulness.verdict import Check, Measure
from vgg_viz.figures.write import compress_png
from vgg_viz.maths import clusters, initialisation, metrics
from vgg_viz.maths.receptive_field import Box
from vgg_viz.maths.removal import area, imputed
from vgg_viz.maths.segmentation import box_of, box_overlap
from vgg_viz.models.containers.safetensors_file import safetensors_file
from vgg_viz.serve.guard import ListenAddress
from vgg_viz.studies.faithfulness import decoded, encoded


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- statistics: scipy and scikit-learn


def test_wilsons_interval_is_scipys():
    z = stats.norm.ppf(0.975)
    for n in (1, 2, 7, 50, 1000):
        for hits in {0, 1, n // 3, n - 1, n}:
            low, high = stats.binomtest(hits, n).proportion_ci(method="wilson")
            assert metrics.wilson_interval(hits, n, z=z) == pytest.approx((low, high), abs=1e-12)


def test_mcnemars_test_is_scipys_binomial_test():
    for first, second in itertools.product((0, 1, 5, 13, 400), (1, 2, 30, 480)):
        assert metrics.mcnemar_exact(first, second) == pytest.approx(
            stats.binomtest(first, first + second).pvalue, rel=1e-11
        )


def test_ranks_and_their_correlation_are_scipys_also_of_ties():
    a, b = (drawn(6, 40, seed=seed).mul(9).floor() for seed in (1, 2))
    assert np.array_equal(metrics.average_ranks(a).numpy() + 1, stats.rankdata(a.numpy(), axis=1))
    expected = [stats.spearmanr(x, y).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    assert metrics.rank_correlation(a, b).tolist() == pytest.approx(expected, abs=1e-12)


def test_the_bootstrap_interval_is_scipys_but_for_the_draws():
    values = drawn(80).square()
    found = stats.bootstrap(
        (values.numpy(),), np.mean, n_resamples=4000, method="percentile", rng=0
    ).confidence_interval
    assert metrics.bootstrap_interval(values, rounds=4000) == pytest.approx(tuple(found), abs=0.01)


def test_entropy_and_areas_are_those_of_scipy_and_numpy():
    shares = drawn(5, 9)
    shares /= shares.sum(1, keepdim=True)
    assert metrics.entropy(shares).tolist() == pytest.approx(stats.entropy(shares.numpy(), axis=1).tolist(), abs=1e-6)
    places = [0.0, 0.1, 0.4, 1.0]
    curve = drawn(3, 4)
    assert area(curve, places).tolist() == pytest.approx(
        np.trapezoid(curve.double().numpy(), places, axis=1).tolist(), abs=1e-12
    )


def test_hits_confusion_and_calibration_are_those_of_scikit_learn():
    logits, labels = drawn(200, 6), torch.arange(200) % 6
    for k in (1, 3):
        assert metrics.accuracy(logits, labels, k=k) == pytest.approx(
            sklearn_metrics.top_k_accuracy_score(labels, logits, k=k)
        )
    predicted = logits.argmax(1)
    assert np.array_equal(
        metrics.confusion_counts(predicted, labels, 6), sklearn_metrics.confusion_matrix(labels, predicted)
    )
    confidence, right = drawn(500, seed=3), drawn(500, seed=4) < 0.6
    kept, promised = calibration_curve(right.numpy(), confidence.numpy(), n_bins=10, strategy="uniform")
    found = metrics.calibration(confidence, right, by="width").bins
    assert [one.accuracy for one in found] == pytest.approx(kept, abs=1e-12)
    assert [one.confidence for one in found] == pytest.approx(promised, abs=1e-6)


def test_the_best_threshold_is_that_of_all_jaccard_scores():
    maps, masks = drawn(3, 6, 6).mul(8).floor(), drawn(3, 6, 6, seed=1) > 0.6
    for one, mask, best in zip(maps, masks, metrics.best_threshold_iou(maps, masks)[0], strict=True):
        scores = [sklearn_metrics.jaccard_score(mask.flatten(), (one >= value).flatten()) for value in one.unique()]
        assert float(best) == pytest.approx(max(scores), abs=1e-12)


def test_kolmogorovs_chance_is_within_four_per_cent_of_scipys_exact_one():
    for count, distance in ((64, 0.1), (64, 0.2), (1000, 0.03), (100_000, 0.005)):
        assert initialisation.kolmogorov(distance, count) == pytest.approx(stats.kstwo.sf(distance, count), rel=0.04)


def test_the_functions_of_a_start_are_those_of_scipys_distributions():
    values = torch.linspace(-0.3, 0.3, 13, dtype=torch.float64)
    for start in initialisation.starts((8, 4, 3, 3)):
        bound = start.bound
        law = stats.norm(0, start.spread) if start.kind == "normal" else stats.uniform(-bound, 2 * bound)
        assert start.below(values).tolist() == pytest.approx(law.cdf(values.numpy()).tolist(), abs=1e-12)
        assert start.density(values).tolist() == pytest.approx(law.pdf(values.numpy()).tolist(), rel=1e-6)


def test_imputed_pixels_solve_the_sparse_system():
    image, side = drawn(1, 1, 9, 9), 9
    gone = drawn(1, 9, 9, seed=5) < 0.5
    rows, columns, weights = [], [], []
    for y, x in itertools.product(range(side), repeat=2):
        rows.append(y * side + x)
        columns.append(y * side + x)
        weights.append(1.0)
        if gone[0, y, x]:
            near = [(y + j, x + i, 2 if i == 0 or j == 0 else 1) for j in (-1, 0, 1) for i in (-1, 0, 1) if i or j]
            near = [one for one in near if 0 <= one[0] < side and 0 <= one[1] < side]
            rows += [y * side + x] * len(near)
            columns += [j * side + i for j, i, _ in near]
            weights += [-weight / sum(weight for _, _, weight in near) for _, _, weight in near]
    known = torch.where(gone, 0.0, image[0]).flatten().double().numpy()
    expected = spsolve(sparse.csr_matrix((weights, (rows, columns)), shape=(side**2, side**2)), known)
    found = imputed(image, gone, noise=0.0, tolerance=1e-7)
    assert found.flatten().tolist() == pytest.approx(expected.tolist(), abs=1e-5)


# ---------------------------------------------------------------- groups and boxes: scikit-learn and torchvision


def test_groups_and_their_indices_are_those_of_scikit_learn():
    centres = torch.tensor([[0.0, 0], [4, 0], [0, 4]])
    vectors = torch.cat(
        [drawn(count, 2, seed=count) + centre for count, centre in zip((30, 20, 10), centres, strict=True)]
    )
    groups, spread = clusters.k_means(vectors, 3)
    library = KMeans(3, n_init=4, random_state=0).fit(vectors.numpy())
    assert spread == pytest.approx(library.inertia_, rel=1e-5)
    assert clusters.agreement(groups, torch.from_numpy(library.labels_).long()) == 1
    assert clusters.silhouette(vectors, groups) == pytest.approx(
        sklearn_metrics.silhouette_score(vectors, groups), abs=1e-4
    )
    others = torch.randint(4, (60,), generator=torch.Generator().manual_seed(1))
    for pair in ((groups, others), (others, groups), (others, others)):
        assert clusters.agreement(*pair) == pytest.approx(sklearn_metrics.adjusted_rand_score(*pair), abs=1e-12)


def test_boxes_and_their_overlap_are_those_of_torchvision():
    first, second = Box(1, 2, 9, 8), Box(4, 0, 12, 6)
    assert box_overlap(first, second) == pytest.approx(
        float(ops.box_iou(*(torch.tensor([[b.x0, b.y0, b.x1, b.y1]]).float() for b in (first, second)))), abs=1e-6
    )
    mask = drawn(9, 11) > 0.9
    x0, y0, x1, y1 = ops.masks_to_boxes(mask[None])[0].int().tolist()
    assert box_of(mask.numpy()) == Box(
        x0, y0, x1 + 1, y1 + 1
    )  # torchvision names the last pixel, a Box what is behind it


# ---------------------------------------------------------------- files: PyYAML, Pillow, safetensors, msgspec


@pytest.mark.parametrize(
    "text",
    [
        "names: [cat, 'dog', \"a bird\"]",
        "path: x\nnames:\n  - cat\n  - a dog\n",
        "names:\n  0: cat\n  1: dog\nnc: 2\n",
        "names: # of classes\n- cat\n- 'dog'\n",
    ],
)
def test_the_names_in_a_data_yaml_are_those_that_pyyaml_reads(text, tmp_path):
    (tmp_path / "data.yaml").write_text(text)
    told = yaml.safe_load(text)["names"]
    assert list(_names(tmp_path / "data.yaml", "data.yaml")) == (
        list(told.values()) if isinstance(told, dict) else told
    )


def test_a_palette_costs_fewer_bytes_than_pillows_error_diffusion_and_is_nearer():
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 160), torch.linspace(0, 1, 200), indexing="ij")
    smooth = torch.stack([rows, (rows * 5).sin() / 2 + 0.5, columns], -1)
    photo = Image.fromarray(((smooth + (drawn(160, 200, 3) - 0.5) / 20).clamp(0, 1) * 255).byte().numpy())
    ours = compress_png(photo, palette=True)
    octree = photo.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    diffused = photo.quantize(256, palette=octree, dither=Image.Dither.FLOYDSTEINBERG)
    file = io.BytesIO()
    diffused.save(file, "PNG", compress_level=9)

    def change(picture):
        return np.abs(np.asarray(picture.convert("RGB"), int) - np.asarray(photo, int)).mean()

    assert len(ours) < len(file.getvalue())
    assert change(Image.open(io.BytesIO(ours))) < change(diffused)


def test_tensors_and_texts_of_a_safetensors_file_are_those_that_the_library_gives(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file({"a.weight": drawn(3, 2), "b": drawn(4)}, file, metadata={"format": "pt", "who": "a test"})
    stored = safetensors_file(file)
    with safe_open(file, "pt") as library:
        assert stored.value.metadata == library.metadata()
        assert all(torch.equal(stored.value[name], library.get_tensor(name)) for name in library.keys())  # noqa: SIM118  no mapping


def _changed(value):
    """Every value that differs from `value` in one leaf."""
    if isinstance(value, dict):
        yield from ({name: item for name, item in value.items() if name != left} for left in value)
        yield from ({**value, name: other} for name, item in value.items() for other in _changed(item))
    elif isinstance(value, list):
        yield from (
            [*value[:place], other, *value[place + 1 :]] for place, item in enumerate(value) for other in _changed(item)
        )
    yield from (None, True, 3, 2.5, "text", [], {})


def test_a_record_from_a_file_is_refused_where_msgspec_refuses_it_and_else_the_same():
    measure = Measure("road", "share", 8, 0.5, (0.4, 0.6), {"centre": 0.1}, {"centre": (0.4, 0.3, 0.5)})
    accepted = 0
    for record in (measure, Check("road", "weak", "a text", "brief")):
        told = json.loads(json.dumps(encoded(record)))
        assert decoded(type(record), told) == msgspec.convert(told, type(record)) == record
        for other in _changed(told):
            try:
                found = decoded(type(record), other)
            except ValueError:
                continue
            accepted += 1
            assert found == msgspec.convert(other, type(record))
    assert accepted > 20


# ---------------------------------------------------------------- the server: starlette


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "localhost:8000",
        "LOCALHOST:8000",
        "[::1]:8000",
        "evil.example:8000",
        "127.0.0.1.evil.example:8000",
        "",
        "[::1",
        "127.0.0.1:8000@evil.example",
        "localhost:80:8000",
        "a b:8000",
        "127.0.0.1:8001",
        "localhost",
    ],
)
def test_every_host_that_starlette_refuses_is_refused(host):
    said = []

    async def application(scope, receive, send):
        said.append("taken")

    async def send(message):
        pass

    library = TrustedHostMiddleware(
        application, ["127.0.0.1", "localhost", "::1", "[::1]"]
    )  # with brackets since starlette 1.0
    ThreadPoolExecutor(1).submit(
        asyncio.run, library({"type": "http", "headers": [(b"host", host.encode())]}, None, send)
    ).result()
    assert said or not ListenAddress("127.0.0.1", 8000).is_ours(host)  # ours looks at the port, too
