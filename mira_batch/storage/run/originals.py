"""The originals of a run: what its `run.json` says of where they are, and may be read from."""

from __future__ import annotations

from mira_batch.config.shared import ManifestConfig, StorageConfig
from mira_batch.storage.manifest import OriginalReader
from mira_batch.storage.run.layout import read_edit_run
from mira_batch.storage.stores import Store


def open_originals(store: Store, storage: StorageConfig) -> tuple[ManifestConfig, OriginalReader]:
    """The input of a run of the edit job, and what reads its originals once more.

    Args:
        store: the run's directory.
        storage: how its images are reached.

    Raises:
        RunConflict: there is no run, or it is of another job.
        StoreError: it is damaged.
    """
    about = read_edit_run(store)
    given = about["config"].get("input", {})
    known = {name: given[name] for name in ManifestConfig.model_fields if name in given}
    known["columns"] = {"image": given.get("columns", {}).get("image", "image")}
    source = ManifestConfig.model_validate(known)
    return source, OriginalReader(source, storage, [file["path"] for file in about["manifest"]])
