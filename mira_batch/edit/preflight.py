"""What of a bulk edit can be checked before anything is spent: manifest, images, models, weights."""

from __future__ import annotations

from collections.abc import Callable

from mira_batch.config.base import is_remote
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.models.local import TorchConfig
from mira_batch.edit.promoted import check_promoted, find_adapter
from mira_batch.models.checks import check_files, check_model, describe_sharing
from mira_batch.models.serving import ROLES
from mira_batch.storage.manifest import make_manifest_checks
from mira_batch.storage.weights import describe_weights, name_weights


def make_checks(config: BulkEditConfig) -> list[tuple[str, Callable[[], str]]]:
    """The checks by name; see `runtime/preflight.py`."""
    return [
        *make_manifest_checks(config.input, config.storage, config.output.uri),
        ("models", lambda: check_models(config)),
        *([("adapter", lambda: check_promoted(config))] if _takes_promotion(config) else []),
        *([("weights", lambda: _check_weights(config))] if _list_locations(config) else []),
    ]


def _takes_promotion(config: BulkEditConfig) -> bool:
    adapter = find_adapter(config)
    return adapter is not None and adapter.promoted is not None


def check_models(config: BulkEditConfig) -> str:
    """Check that every model can be built, as far as that shows without loading it.

    Raises:
        ConfigError: one can't.
    """
    return ", ".join(check_model(model, ROLES[role].field) for role, model in config.models().items())


def _list_locations(config: BulkEditConfig) -> list[str]:
    """Where the weights of the models are, adapters included, each place once."""
    places = (place for model in config.models().values() for place in model.weight_locations())
    return list(dict.fromkeys(places))


def _check_weights(config: BulkEditConfig) -> str:
    """Look at all weights, and into those of models that lie on this machine; say which are loaded once for
    several models."""
    found = [describe_weights(location, config.storage) for location in _list_locations(config)]
    for field, model in config.engines().items():
        if isinstance(model, TorchConfig) and not is_remote(model.weights):
            check_files(model, field)
    return "; ".join([*found, *describe_sharing(config.engines(), name_weights)])
