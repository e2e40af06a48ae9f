"""Rows on their way into buckets: where they come out, and in what order."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa

from mira_batch.storage.catalogue.buckets import BucketSpool, RowSpool

FIELDS = pa.schema([("number", pa.int64())])
FEW_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
import pyarrow as pa
from mira_batch.storage.catalogue.buckets import BucketSpool
fields = pa.schema([("number", pa.int64())])
with BucketSpool(512, fields, lambda rows: rows["number"].to_numpy() % 512) as spool:
    for _ in range(2):
        spool.add(pa.table({"number": pa.array(range(100_000))}))
    assert sum(spool.read(bucket).num_rows for bucket in range(512)) == 200_000
"""


def numbers(first: int, last: int) -> pa.Table:
    return pa.table({"number": pa.array(range(first, last), pa.int64())})


def test_rows_of_a_bucket_keep_their_order() -> None:
    with BucketSpool(3, FIELDS, lambda rows: rows["number"].to_numpy() % 3) as spool:
        for first in range(0, 250_000, 50_000):
            spool.add(numbers(first, first + 50_000))
        assert spool.num_rows == 250_000
        for bucket in range(3):
            assert spool.read(bucket)["number"].to_pylist() == list(range(bucket, 250_000, 3))


def test_there_may_be_more_buckets_than_files_that_a_process_begins_with() -> None:
    subprocess.run([sys.executable, "-c", FEW_FILES], check=True, timeout=60)


def test_rows_are_read_as_often_as_wanted_in_tables_of_a_size() -> None:
    with RowSpool(FIELDS) as spool:
        for first in range(0, 230_000, 1_000):
            spool.add(numbers(first, first + 1_000))
        assert spool.num_rows == 230_000
        for least, sizes in ((1, [1_000] * 230), (100_000, [100_000, 100_000, 30_000])):
            tables = list(spool.read(least))
            assert [table.num_rows for table in tables] == sizes
            found = np.concatenate([table["number"].to_numpy() for table in tables])
            assert (found == np.arange(230_000)).all()
