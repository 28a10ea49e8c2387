"""Metrics against slower, simpler oracles written from their definitions."""

import itertools
import math

import pytest
import torch

from vgg_viz.maths.metrics import (
    accuracy,
    average_ranks,
    best_threshold_iou,
    bootstrap_interval,
    calibration,
    confusion_counts,
    entropy,
    mass_inside,
    mcnemar_exact,
    paired_interval,
    pointing_hits,
    rank_correlation,
    top_k_correct,
    wilson_interval,
)


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_agrees_with_sorting_by_hand(k):
    logits, labels = seeded(60, 7), torch.arange(60) % 7
    by_hand = [
        label in sorted(range(7), key=lambda c: -row[c])[:k]
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    assert top_k_correct(logits, labels, k=k).tolist() == by_hand


def test_a_network_that_says_the_same_for_all_classes_is_right_once_in_k_not_always():
    logits, labels = torch.zeros(10, 10), torch.arange(10)
    assert accuracy(logits, labels) == pytest.approx(0.1)
    assert accuracy(logits, labels, k=5) == pytest.approx(0.5)
    assert (top_k_correct(logits, labels) == (logits.argmax(1) == labels)).all()


def test_a_nan_is_never_right():
    logits = torch.tensor([[math.nan, 1.0], [0.0, math.nan], [0.0, 1.0]])
    assert top_k_correct(logits, torch.tensor([0, 0, 1])).tolist() == [False, False, True]


def test_confusion_has_truth_in_rows_and_answers_in_columns():
    counts = confusion_counts(torch.tensor([1, 1, 2, 0]), torch.tensor([0, 0, 2, 1]), 3)
    assert counts.tolist() == [[0, 2, 0], [1, 0, 0], [0, 0, 1]]


def test_wilson_agrees_with_published_values_and_solves_its_own_quadratic():
    # 81 of 263: Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    assert wilson_interval(81, 263, z=1.959964) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148, z=1.959964) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    for hits, n in [(3, 7), (19, 20), (50, 1000)]:
        for bound in wilson_interval(hits, n):
            assert abs(hits / n - bound) == pytest.approx(1.96 * math.sqrt(bound * (1 - bound) / n))


def test_wilson_stays_in_bounds_and_admits_that_nothing_was_seen():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(10, 10)
    assert 0.6 < low < 0.8
    assert high == pytest.approx(1.0)
    assert wilson_interval(0, 10)[0] == 0.0


def test_the_bootstrap_of_a_large_sample_agrees_with_the_normal_interval():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0)) * 3 + 1
    low, high = bootstrap_interval(values)
    reach = 1.96 * values.std().item() / math.sqrt(2000)
    assert low == pytest.approx(values.mean().item() - reach, abs=0.1 * reach)
    assert high == pytest.approx(values.mean().item() + reach, abs=0.1 * reach)


def test_the_bootstrap_leaves_out_what_is_not_known():
    values = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    gaps = torch.tensor([math.nan, 0.0, 1.0, 1.0, math.nan, 0.0, 1.0])
    assert bootstrap_interval(values) == bootstrap_interval(gaps)
    assert all(math.isnan(bound) for bound in bootstrap_interval(torch.tensor([math.nan])))


def test_entropy_is_zero_when_certain_and_ln_k_when_not():
    certain, open_ = torch.tensor([1.0, 0, 0, 0]), torch.full((4,), 0.25)
    assert entropy(torch.stack([certain, open_])).tolist() == pytest.approx([0.0, math.log(4)])


# ---------------------------------------------------------------- confidence


def test_equal_width_calibration_agrees_with_a_loop_over_bins():
    confidences, correct = seeded(500), seeded(500, seed=1) < 0.6
    error = 0.0
    for i in range(10):
        members = [j for j, c in enumerate(confidences.double().tolist()) if i / 10 < c <= (i + 1) / 10]
        if members:
            promised = sum(confidences[j].item() for j in members) / len(members)
            kept = sum(correct[j].item() for j in members) / len(members)
            error += len(members) / 500 * abs(promised - kept)
    found = calibration(confidences, correct, by="width")
    assert found.error == pytest.approx(error, abs=1e-6)
    assert sum(b.count for b in found.bins) == 500


def test_equal_mass_bins_hold_equally_many_and_their_bounds_are_what_is_in_them():
    confidences = seeded(1000)
    found = calibration(confidences, torch.ones(1000, dtype=torch.bool))
    assert [b.count for b in found.bins] == [100] * 10
    ordered = confidences.double().sort().values
    assert found.bins[3].low == ordered[300]
    assert found.bins[3].high == ordered[399]
    assert found.error == pytest.approx(1 - float(confidences.double().mean()))


def test_equal_confidences_never_part_so_the_order_of_pictures_does_not_matter():
    confidences = (seeded(200) * 4).round() / 4
    correct = seeded(200, seed=2) < 0.5
    shuffled = torch.randperm(200, generator=torch.Generator().manual_seed(3))
    one, two = calibration(confidences, correct), calibration(confidences[shuffled], correct[shuffled])
    assert one.error == pytest.approx(two.error)
    assert [b.count for b in one.bins] == [b.count for b in two.bins]
    assert all(b.low == b.high for b in one.bins)


def test_a_network_that_is_always_sure_and_right_half_the_time_errs_by_a_half():
    for by in ("mass", "width"):
        found = calibration(torch.ones(10), torch.arange(10) % 2 == 0, by=by)
        assert found.error == pytest.approx(0.5)
        assert len(found.bins) == 1


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_it():
    edges = torch.arange(1, 11, dtype=torch.float64) / 10
    found = calibration(edges, torch.ones(10, dtype=torch.bool), by="width")
    assert [b.count for b in found.bins] == [1] * 10
    assert [b.high for b in found.bins] == edges.tolist()


def test_calibration_of_nothing_is_not_a_number():
    assert math.isnan(calibration(torch.zeros(0), torch.zeros(0, dtype=torch.bool)).error)


# ---------------------------------------------------------------- maps


def slow_ranks(row: list[float]) -> list[float]:
    return [sum(v < x for v in row) + (sum(v == x for v in row) - 1) / 2 for x in row]


def test_ranks_of_ties_are_shared():
    rows = (seeded(3, 40) * 8).round()
    assert average_ranks(rows).tolist() == [slow_ranks(row) for row in rows.tolist()]


def test_rank_correlation_agrees_with_pearson_of_slow_ranks():
    a, b = (seeded(4, 6, 5) * 6).round(), (seeded(4, 6, 5, seed=1) * 6).round()
    for found, x, y in zip(rank_correlation(a, b).tolist(), a.flatten(1).tolist(), b.flatten(1).tolist(), strict=True):
        stacked = torch.tensor([slow_ranks(x), slow_ranks(y)], dtype=torch.float64)
        assert found == pytest.approx(torch.corrcoef(stacked)[0, 1].item())


def test_rank_correlation_sees_order_only():
    a = seeded(2, 9, 9)
    assert rank_correlation(a, a.exp() * 3).tolist() == pytest.approx([1, 1])
    assert rank_correlation(a, -(a**3)).tolist() == pytest.approx([-1, -1])


def test_a_flat_map_has_no_order():
    assert rank_correlation(torch.ones(1, 4, 4), seeded(1, 4, 4)).isnan().all()


def test_mass_inside_is_a_share_of_what_is_positive():
    maps = torch.tensor([[[3.0, 1.0], [-100.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]], [[-1.0, 0.0], [0.0, 0.0]]])
    masks = torch.tensor([[[True, False], [False, False]]] * 3)
    assert mass_inside(maps, masks).tolist()[:2] == pytest.approx([0.75, 0.25])
    assert mass_inside(maps, masks)[2].isnan()


@pytest.mark.parametrize("tolerance", [0, 1, 2, 2.9, 3, 5])
def test_pointing_agrees_with_the_distance_from_the_peak_to_the_object(tolerance):
    maps, masks = seeded(30, 12, 15), seeded(30, 12, 15, seed=1) < 0.03
    masks[:, 5, 5] = True
    for found, one, mask in zip(pointing_hits(maps, masks, tolerance=tolerance).tolist(), maps, masks, strict=True):
        y, x = divmod(one.argmax().item(), 15)
        distance = min(math.hypot(v - y, u - x) for v, u in mask.nonzero().tolist())
        assert found == float(distance <= tolerance)


def test_a_flat_map_points_everywhere_and_scores_the_share_of_the_object():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 0, 0] = True
    assert pointing_hits(torch.ones(1, 4, 4), mask).tolist() == [1 / 16]


def test_best_iou_agrees_with_trying_every_threshold():
    maps, masks = (seeded(5, 8, 8) * 10).round(), seeded(5, 8, 8, seed=1) < 0.3
    found, thresholds = best_threshold_iou(maps, masks)
    for i in range(5):
        scores = {
            t: float(((maps[i] >= t) & masks[i]).sum() / ((maps[i] >= t) | masks[i]).sum())
            for t in maps[i].unique().tolist()
        }
        assert found[i].item() == pytest.approx(max(scores.values()))
        assert scores[thresholds[i].item()] == pytest.approx(found[i].item())


# ---------------------------------------------------------------- two networks on the same pictures


@pytest.mark.parametrize("n", [1, 2, 5, 9, 12])
def test_mcnemar_agrees_with_tossing_every_sequence_of_coins(n):
    heads = [sum(toss) for toss in itertools.product((0, 1), repeat=n)]
    for only_first in range(n + 1):
        only_second = n - only_first
        as_uneven = sum(abs(2 * found - n) >= abs(only_first - only_second) for found in heads)
        assert mcnemar_exact(only_first, only_second) == pytest.approx(as_uneven / 2**n, abs=1e-15)


def test_mcnemar_knows_nothing_of_the_order_and_nothing_without_disagreement():
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(4, 4) == 1.0
    assert mcnemar_exact(3, 17) == mcnemar_exact(17, 3) < 0.01
    assert mcnemar_exact(0, 4000) < 1e-300 or mcnemar_exact(0, 4000) == 0.0  # whole numbers: nothing overflows


def test_the_paired_interval_agrees_with_the_published_example():
    # Newcombe 1998, 36 both, 12 only the first, 2 only the second, 0 neither: first minus second .0569 to .3404 by method 10.
    assert paired_interval(36, 12, 2, 0, z=1.959964) == pytest.approx((-0.3404, -0.0569), abs=5e-5)


def test_the_paired_interval_turns_its_sign_when_the_two_are_swapped_and_holds_the_difference():
    for both, one, other, neither in [(5, 3, 1, 2), (0, 0, 0, 4), (50, 0, 0, 3), (10, 20, 0, 1)]:
        low, high = paired_interval(both, one, other, neither)
        assert paired_interval(both, other, one, neither) == pytest.approx((-high, -low))
        assert -1 <= low <= (other - one) / (both + one + other + neither) <= high <= 1
        assert low < high
    assert paired_interval(0, 0, 0, 0) == (-1.0, 1.0)


@pytest.mark.parametrize(
    "cells", [(0.5, 0.2, 0.2, 0.1), (0.6, 0.05, 0.25, 0.1), (0.85, 0.05, 0.02, 0.08), (0.1, 0.1, 0.4, 0.4)]
)
def test_the_paired_interval_holds_the_truth_in_about_95_of_100_repetitions(cells):
    # Every outcome of 24 pictures with its multinomial probability: the coverage exactly, without a die.
    n, covered = 24, 0.0
    truth = cells[2] - cells[1]
    for a in range(n + 1):
        for b in range(n - a + 1):
            for c in range(n - a - b + 1):
                d = n - a - b - c
                ways = math.factorial(n) // math.prod(map(math.factorial, (a, b, c, d)))
                low, high = paired_interval(a, b, c, d)
                covered += (
                    (low <= truth <= high) * ways * math.prod(p**k for p, k in zip(cells, (a, b, c, d), strict=True))
                )
    assert 0.93 < covered < 0.9995  # with few disagreements it is too wide rather than too narrow


def test_two_networks_that_fail_on_the_same_pictures_are_told_apart_more_finely():
    low, high = paired_interval(800, 5, 35, 160)
    apart_low, apart_high = paired_interval(645, 160, 190, 5)  # the same two accuracies, failing on different pictures
    assert high - low < 0.6 * (apart_high - apart_low)
    assert low > 0 > apart_low
