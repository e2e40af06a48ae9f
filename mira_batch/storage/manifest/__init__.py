"""Manifests: what a user wants done to which image, a row each.

Owns how a manifest is found, split, read and validated (`list_files`, `split_manifest`, `read_split`), how
its rows become rows of a plan (`scan_split`), and how the images that results came from are read again.

Leaves to others how files are reached (`storage.stores`), what an image is (`storage.images`), and the plan
itself (`storage.run`). It starts no task: a split is read by whoever asks.
"""

from mira_batch.storage.manifest.embedded import EmbeddedReader
from mira_batch.storage.manifest.images import ManifestImages
from mira_batch.storage.manifest.listing import (
    SPLIT_BYTES,
    ManifestFile,
    find_manifest,
    list_files,
    split_manifest,
)
from mira_batch.storage.manifest.made import EXPORT
from mira_batch.storage.manifest.originals import OriginalReader
from mira_batch.storage.manifest.planned import PlannedRecord, State, read_state
from mira_batch.storage.manifest.preflight import make_manifest_checks
from mira_batch.storage.manifest.rows import Embedded, Place, Record, Reject, resolve_image
from mira_batch.storage.manifest.scan import SCAN, identify_images, scan_split
from mira_batch.storage.manifest.splits import Split, number_lines, read_split

__all__ = [
    "EXPORT",
    "SCAN",
    "SPLIT_BYTES",
    "Embedded",
    "EmbeddedReader",
    "ManifestFile",
    "ManifestImages",
    "OriginalReader",
    "Place",
    "PlannedRecord",
    "Record",
    "Reject",
    "Split",
    "State",
    "find_manifest",
    "identify_images",
    "list_files",
    "make_manifest_checks",
    "number_lines",
    "read_split",
    "read_state",
    "resolve_image",
    "scan_split",
    "split_manifest",
]
