"""infra/slurm.sbatch as far as it goes without Slurm: Ray starts on a node, the job runs, Ray ends.

`srun` and `scontrol` are stand-ins for one node. It all has a PID and a network namespace of its own, since
`ray symmetric-run` ends with `ray stop`, which ends every Ray that it sees.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

APART = ["unshare", "--pid", "--net", "--mount-proc", "--fork", "--kill-child", "sh", "-c"]
UP = "ip link set lo up && "


def can_live_apart() -> bool:
    try:
        return subprocess.run([*APART, f"{UP} true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(not can_live_apart(), reason="needs unshare(1) and ip(8), and the right to use them"),
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout as the script expects it, with what Slurm would bring."""
    for name in ("jobs", "configs", "infra"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name, text in {"srun": 'exec "$@"', "scontrol": "echo 127.0.0.1"}.items():
        tool = tmp_path / "slurm" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
    return tmp_path


@pytest.fixture
def short() -> Iterator[str]:
    """A folder for Ray: the path of a Unix socket below it may have 107 characters."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def sbatch(checkout: Path, ray_folder: str, config: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))}
    return subprocess.run(
        [*APART, f"{UP} bash infra/slurm.sbatch {config}"],
        cwd=checkout,
        env=kept
        | {
            "PATH": f"{checkout / 'slurm'}{os.pathsep}{os.environ['PATH']}",
            "RAY_TMPDIR": ray_folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NODELIST": "node",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_JOB_END_TIME": str(int(time.time()) + 3600),
            "SLURM_CPUS_PER_TASK": "4",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.soak
def test_the_job_runs_to_its_end(checkout: Path, short: str) -> None:
    done = sbatch(checkout, short, "configs/quickstart.yaml")
    assert done.returncode == 0 and "24 of 24 committed" in done.stdout, done.stdout
    assert list((checkout / "out").glob("*/results/*.parquet"))


@pytest.mark.soak
def test_the_exit_code_is_the_commands(checkout: Path, short: str) -> None:
    (checkout / "job.yaml").write_text("wrokers: {max: 2}\n")
    done = sbatch(checkout, short, "job.yaml")
    assert done.returncode == 2 and "wrokers" in done.stdout, done.stdout
