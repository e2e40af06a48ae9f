"""Edit images in bulk by instruction: MIRA's loop as a distributed batch job on Ray.

    from mira_batch import load_config, run, read_outputs, read_trajectories

The names are loaded when first used, so that `import mira_batch.core` stays free of dependencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mira_batch.core.version import __version__

if TYPE_CHECKING:
    from mira_batch.catalogue.current import read_catalogue as read_catalogue
    from mira_batch.config.load import load_config as load_config
    from mira_batch.launch import run as run
    from mira_batch.storage.counterfactual import read_counterfactual as read_counterfactual
    from mira_batch.storage.run.results import read_outputs as read_outputs
    from mira_batch.storage.run.results import read_trajectories as read_trajectories

__all__ = [
    "__version__",
    "load_config",
    "read_catalogue",
    "read_counterfactual",
    "read_outputs",
    "read_trajectories",
    "run",
]

_HOME = {
    "load_config": "mira_batch.config.load",
    "run": "mira_batch.launch",
    "read_catalogue": "mira_batch.catalogue.current",
    "read_counterfactual": "mira_batch.storage.counterfactual",
    "read_outputs": "mira_batch.storage.run.results",
    "read_trajectories": "mira_batch.storage.run.results",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'mira_batch' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
