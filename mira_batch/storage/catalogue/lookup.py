"""What a catalogue knows of one record, without a look at those of others."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.core.errors import StoreError
from mira_batch.storage import schema
from mira_batch.storage.catalogue.bucketfiles import read_part
from mira_batch.storage.catalogue.buckets import digest_records, find_buckets
from mira_batch.storage.catalogue.fold import read_updates
from mira_batch.storage.catalogue.merge import merge
from mira_batch.storage.catalogue.pending import find_pending
from mira_batch.storage.catalogue.place import Catalogue


def find_record(
    catalogue: Catalogue, record_id: str, fields: pa.Schema, on_damaged: Callable[[StoreError], None]
) -> pa.Table:
    """All that is known of a record, the newest plan last (schema `SNAPSHOT`): empty where that is nothing.

    Of the snapshot one bucket is read; of runs that it does not know yet, the ids of their results.

    Args:
        catalogue: of which.
        record_id: the record.
        fields: schema of the job's results.
        on_damaged: told of a run or a file that is damaged and left out.

    Raises:
        StoreError: the store can't be used, or the snapshot is damaged.
    """
    pending = find_pending(catalogue, on_damaged)
    base, known = pending.base, schema.SNAPSHOT.empty_table()
    if base.files:
        bucket = int(find_buckets(digest_records([record_id]), len(base.files))[0])
        known = read_part(catalogue.store, base, bucket, len(base.files))
        known = known.filter(pc.field("record_id") == record_id)
    updates = [
        table.filter(pc.field("record_id") == record_id)
        for table in read_updates(catalogue, pending, fields, on_damaged)
    ]
    return merge(known, pa.concat_tables(updates)) if updates else known
