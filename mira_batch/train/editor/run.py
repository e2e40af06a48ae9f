"""Teaching an editor from its config: what the driver checks beforehand, and the workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mira_batch.config.base import is_remote
from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.core.stop_request import StopRequest
from mira_batch.storage.stores import open_store
from mira_batch.train.editor.encode import INDEX, read_claimed
from mira_batch.train.editor.pairs import find_pairs
from mira_batch.train.editor.sft import train_editor
from mira_batch.train.run import train_once


def train(
    config: EditorSftConfig, note: Callable[[str], None], stop: StopRequest | None = None
) -> dict[str, Any]:
    """Teach an editor by pairs, going on from wherever an earlier call stopped.

    Args:
        config: of the training.
        note: told how it goes, for people.
        stop: by this a signal handler ends a training inline between two steps, with a checkpoint.

    Returns:
        The figures of `result.json`; of a training that is complete, those that are there.

    Raises:
        RunConflict: another driver trains here, or other settings or data were trained here.
        UserError: settings, files or data are wrong, the editor is blind, or its loss is no number any more.
        ClusterLost: workers died more often than `workers.retries`.
        KeyboardInterrupt: `stop` was asked, and the checkpoint is written. The same call goes on.
    """
    return train_once(train_editor, config, {"pairs": _name_pairs(config)}, note, stop)


def _name_pairs(config: EditorSftConfig) -> str:
    """The digest of the pairs. Where all are encoded, and `data` says what it said, of those: the training
    goes on with them, whatever has come to a run or a manifest since."""
    uri = config.output.uri
    if is_remote(uri) or os.path.isdir(uri):
        store = open_store(uri, config.storage, make=False)
        claimed = read_claimed(store) if store.exists(INDEX) else None
        if claimed is not None and claimed["config"]["data"] == config.model_dump(mode="json")["data"]:
            return claimed["data"]["pairs"]
    return find_pairs(config).digest
