"""The GPU's benchmark in small, on the CPU: the same code, the same classes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import matrix_rate, measure_editor, measure_policy
from benchmarks.gpu_models import SMALL


def test_without_a_gpu_it_says_so_and_succeeds() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "No CUDA device here: nothing is measured" in done.stdout


def test_it_measures_policy_and_editor_through_our_own_classes(tmp_path: Path) -> None:
    rate = matrix_rate("cpu", SMALL.matrix)
    policy = list(measure_policy(tmp_path, SMALL, "cpu", rate))
    speed = {"an option that this machine lacks": {"speed": {"quantization": "int8"}}}
    *edits, option = measure_editor(tmp_path, SMALL, "cpu", rate, speed)
    asked = [(row.what, row.side, row.batch) for row in policy]
    assert asked == [("policy", 64, 1), ("policy", 64, 2), ("policy, one state", 64, 2)]
    assert [(row.side, row.batch) for row in edits] == [(64, 1), (64, 2)]
    assert all(row.seconds > 0 for row in [*policy, *edits])
    # No bound of the share: seconds and rate are measured at different moments, on a machine that others use.
    flops = [row.share * row.seconds * rate / row.batch for row in edits if row.share is not None]
    assert len(flops) == len(edits) and flops == pytest.approx([flops[0]] * len(edits))
    assert SMALL.steps * 1e6 < flops[0] < SMALL.steps * 1e10, "of one edit, as torch counts them"
    assert option.note.startswith("editor.speed.quantization") or option.seconds > 0
