"""A training from its config: what the driver checks beforehand, the workers, and what they made."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

from mira_batch.config.train import SftConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.stop_request import StopRequest
from mira_batch.runtime.lease import lease
from mira_batch.runtime.training import run_training
from mira_batch.storage.stores import check_create_only, open_store
from mira_batch.train.record import claim_output, give_way, read_result
from mira_batch.train.samples import check_splits_apart, find_samples
from mira_batch.train.sft import plan_order, train_policy


def train(config: SftConfig, note: Callable[[str], None], stop: StopRequest | None = None) -> dict[str, Any]:
    """Train a policy by demonstrations, going on from wherever an earlier call stopped.

    Args:
        config: of the training.
        note: told how it goes, for people.
        stop: by this a signal handler ends a training inline between two steps, with a checkpoint.

    Returns:
        The figures of `result.json`; of a training that is complete, those that are there.

    Raises:
        RunConflict: another driver trains here, or other settings or data were trained here.
        UserError: settings, files or data are wrong, the model is blind, or its loss is no number any more.
        ClusterLost: workers died more often than `workers.retries`.
        KeyboardInterrupt: `stop` was asked, and the checkpoint is written. The same call goes on.
    """
    if importlib.util.find_spec("trl") is None:
        raise ConfigError("a training needs the package trl: pip install 'mira-batch[train]'")
    store = open_store(config.output.uri, config.storage)
    splits = ["train", *(["val"] if config.validation else [])]
    data = {split: find_samples(config.data.uri, split, config.storage) for split in splits}
    if "val" in data:
        check_splits_apart(data["train"], data["val"])
    plan_order(config, data["train"])
    check_create_only(store)
    claim_output(store, config, data)
    if (result := read_result(store)) is not None:
        note(f"complete already: {store.locate(result['learned'])}")
        return result
    settings = config.model_dump(mode="json", exclude_unset=True)
    # On Ray a signal ends the workers; they go on from the newest checkpoint.
    function = partial(train_policy, stop=stop) if config.backend == "inline" else train_policy
    with lease(store, give_way, note):
        return run_training(function, settings, config.workers, config.backend, note)
