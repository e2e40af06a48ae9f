"""An adapter that a run has taken from a place of promotions: whether it is still what was promoted."""

from __future__ import annotations

from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.models.local import PolicyAdapterConfig, QwenVLConfig
from mira_batch.core.errors import ConfigError
from mira_batch.storage.promotions import check_adapter, check_base, open_place, read_promotion


def find_adapter(config: BulkEditConfig) -> PolicyAdapterConfig | None:
    """The adapter of a job's policy, if it has one.

    Args:
        config: of the job.
    """
    return config.policy.adapter if isinstance(config.policy, QwenVLConfig) else None


def check_promoted(config: BulkEditConfig) -> str:
    """See that the adapter that a run has taken is still the one that was promoted, and of its model.

    Args:
        config: of the run; one that names its adapter by a directory is not looked at.

    Raises:
        ConfigError: it isn't.
        StoreError: the promotion is damaged, or a store can't be used.
    """
    adapter = find_adapter(config)
    if adapter is None or adapter.promoted is None:
        return ""
    assert isinstance(config.policy, QwenVLConfig)
    promotion = read_promotion(open_place(adapter.promoted, config.storage), adapter.promotion)
    if promotion is None:
        raise ConfigError(
            f"policy.adapter: promotion {adapter.promotion} of {adapter.promoted} is gone, which this run "
            "began with; restore its document, or begin another run"
        )
    check_base(promotion, config.policy.weights, config.policy.prompt, config.storage)
    check_adapter(promotion, config.storage)
    return f"{promotion.adapter}, promotion {promotion.number} of {adapter.promoted}"
