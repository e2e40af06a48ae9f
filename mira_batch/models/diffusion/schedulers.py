"""Settings of a pipeline's scheduler that differ from its checkpoint's.

Adapters of step distillation (Lightning, Turbo) were trained at noise levels of their own, and spoil the
image at any others.
"""

from __future__ import annotations

import inspect
from typing import Any

from mira_batch.core.errors import ConfigError, describe


def set_scheduler(pipe: Any, settings: dict[str, Any]) -> None:
    """Build the pipeline's scheduler anew with `settings`; the rest stays as the checkpoint has it.

    Raises:
        ConfigError: the pipeline has none, or it doesn't take a setting.
    """
    if not settings:
        return
    scheduler = getattr(pipe, "scheduler", None)
    if scheduler is None:
        raise ConfigError(f"editor.scheduler: a {type(pipe).__name__} has none; leave it out")
    kind = type(scheduler)
    known = inspect.signature(kind.__init__).parameters.keys() - {"self"}
    if unknown := sorted(settings.keys() - known):
        raise ConfigError(
            f"editor.scheduler: {', '.join(unknown)} can't be set on a {kind.__name__}; it takes "
            f"{', '.join(sorted(known))}"
        )
    try:  # a boundary: what values go together, the class says
        pipe.scheduler = kind.from_config(scheduler.config, **settings)
    except Exception as error:
        raise ConfigError(f"editor.scheduler: {kind.__name__}: {describe(error)}") from error
