"""Which adapter a run takes where its config names a place of promotions: found once, when it is planned.

What is found enters the run's config, and by that its fingerprint. The same command goes on with a run that
is planned and not complete by the adapter that this has, whatever has been promoted since.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.models.local import PolicyAdapterConfig, QwenVLConfig
from mira_batch.core.errors import ConfigError
from mira_batch.edit.job import EditJob
from mira_batch.edit.promoted import find_adapter
from mira_batch.runtime.prepare import prepare
from mira_batch.storage.catalogue.place import list_planned, look_at_catalogue
from mira_batch.storage.promotions import check_base, open_place, read_promotion
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.layout import RUN, DamagedFile, parse_run
from mira_batch.storage.stores import Store

_LOOKED_AT = 16
"""So many of the newest plans of a catalogue are asked for a run that goes on."""


def pin_adapter(config: BulkEditConfig) -> BulkEditConfig:
    """The config with the adapter that is promoted; of a run that goes on, with the one that it began with.

    Args:
        config: of a run. One whose adapter is named by its directory stays as it is.

    Raises:
        ConfigError: nothing is promoted there, or it is of another model or prompt; or the run would not be
            found again.
        StoreError: the promotion is damaged, or a store can't be used.
    """
    adapter = find_adapter(config)
    if adapter is None or adapter.promoted is None or not adapter.is_open:
        return config
    if not (config.enters_catalogue or config.run_id):
        raise ConfigError(
            "policy.adapter.promoted: a run of several rollouts or of branches is in no catalogue, in which "
            "it could be found again with the adapter that it began with; set run_id, or name the adapter "
            "by policy.adapter.weights"
        )
    if (standing := _find_standing(config, adapter)) is not None:
        return standing
    promotion = read_promotion(open_place(adapter.promoted, config.storage))
    assert promotion is not None and isinstance(config.policy, QwenVLConfig)
    check_base(promotion, config.policy.weights, config.policy.prompt, config.storage)
    return _pin(config, {"weights": promotion.adapter, "promotion": promotion.number})


def _pin(config: BulkEditConfig, found: dict[str, Any]) -> BulkEditConfig:
    assert isinstance(config.policy, QwenVLConfig) and config.policy.adapter is not None
    adapter = config.policy.adapter.model_copy(update=found)
    return config.model_copy(update={"policy": config.policy.model_copy(update={"adapter": adapter})})


def _find_standing(config: BulkEditConfig, adapter: PolicyAdapterConfig) -> BulkEditConfig | None:
    """The config of the run that the same command goes on with, if there is one."""
    catalogue = look_at_catalogue(config.output.uri, config.job, config.storage)
    if config.run_id and "{date}" not in config.run_id:  # then it is that run, complete or not
        found = _read_pin(catalogue.output, config.run_id, adapter)
        return None if found is None else _pin(config, found)
    tried: list[dict[str, Any]] = []
    for run in islice(list_planned(catalogue), _LOOKED_AT):
        found = _read_pin(catalogue.output, run, adapter)
        if found is None or found in tried:
            continue
        tried.append(found)
        if _goes_on(pinned := _pin(config, found)):
            return pinned
    return None


def _read_pin(output: Store, run: str, adapter: PolicyAdapterConfig) -> dict[str, Any] | None:
    """Which promotion of the same place a run has taken."""
    key = f"{run}/{RUN}"
    try:
        about = output.read(key, lambda data: parse_run(data, output.locate(key)))
    except DamagedFile:  # it is told when the run is opened
        return None
    taken = {} if about is None else about["config"].get("policy", {}).get("adapter") or {}
    if taken.get("promoted") != adapter.promoted or not taken.get("promotion"):
        return None
    return {"weights": taken["weights"], "promotion": taken["promotion"]}


def _goes_on(config: BulkEditConfig) -> bool:
    """Whether a run of these very settings is planned, and neither complete nor overtaken."""
    prepared = prepare(EditJob(config))
    if prepared.splits or prepared.standing is None:
        return False
    store, plan = prepared.standing
    return not find_committed_shards(store).keys() >= set(range(len(plan.sizes)))
