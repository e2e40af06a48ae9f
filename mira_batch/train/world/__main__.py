"""Writes tasks of the synthetic world: `python -m mira_batch.train.world --split train --tasks 20000 --to
DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mira_batch.core.errors import UserError
from mira_batch.train.world.manifest import write_manifest
from mira_batch.train.world.scenes import WORLDS
from mira_batch.train.world.tasks import SPLITS, generate_tasks


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a manifest and say where it is: 0, or 2 where that can't be done."""
    parser = argparse.ArgumentParser(
        prog="python -m mira_batch.train.world", description="Write tasks of the synthetic world."
    )
    parser.add_argument("--split", choices=SPLITS, required=True, help="which part; the three share no scene")
    parser.add_argument("--tasks", type=_count, required=True, help="how many")
    parser.add_argument("--to", type=Path, required=True, help="directory, for <split>.parquet")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other tasks of the same part")
    parser.add_argument(
        "--world", choices=WORLDS, default="small", help="3 x 3 cells, or 4 x 4 with more objects"
    )
    given = parser.parse_args(arguments)
    path = given.to / f"{given.split}.parquet"
    try:
        count = write_manifest(
            path, generate_tasks(given.split, given.tasks, given.seed, WORLDS[given.world])
        )
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{path}: {count:,} tasks")
    return 0


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return count


if __name__ == "__main__":
    sys.exit(main())
