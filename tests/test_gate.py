"""The gate itself: what `make test` passes is fast for reasons that somebody may undo without noticing."""

from __future__ import annotations

import os

import torch


def test_tests_compute_with_one_thread_also_where_a_worker_was_started_by_another_process():
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert torch.get_num_threads() == 1
