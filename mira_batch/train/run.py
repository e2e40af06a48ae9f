"""A training from its config: what the driver checks beforehand, the workers, and what they made."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mira_batch.config.train import SftConfig, TrainingConfig
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
    splits = ["train", *(["val"] if config.validation else [])]
    data = {split: find_samples(config.data.uri, split, config.storage) for split in splits}
    if "val" in data:
        check_splits_apart(data["train"], data["val"])
    plan_order(config, data["train"])
    digests = {split: samples.digest for split, samples in data.items()}
    return train_once(train_policy, config, digests, note, stop)


def train_once(
    function: Callable[..., dict[str, Any]],
    config: TrainingConfig,
    data: Mapping[str, str],
    note: Callable[[str], None],
    stop: StopRequest | None,
) -> dict[str, Any]:
    """Run a training's workers, unless all is done, or another driver is at work.

    Args:
        function: of each worker: of the settings as JSON data, `note` and `stop`.
        config: of the training.
        data: digests of what it learns from.
        note: told how it goes, for people.
        stop: as `train` takes it.

    Raises:
        RunConflict, UserError, ClusterLost, KeyboardInterrupt: as `train`.
    """
    store = open_store(config.output.uri, config.storage)
    check_create_only(store)
    settings = config.model_dump(mode="json", exclude_unset=True)
    # On Ray a signal ends the workers; they go on from the newest checkpoint.
    worker = partial(function, stop=stop) if config.backend == "inline" else function
    with lease(store, give_way, note):
        claim_output(store, config, data)
        if (result := read_result(store)) is not None:
            note(f"complete already: {store.locate(result['learned'])}")
            return result
        return run_training(worker, settings, config.workers, config.backend, note)
