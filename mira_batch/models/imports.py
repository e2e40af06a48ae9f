"""Imports that depend on the config or on an extra: what they raise becomes one line that says what to do."""

from __future__ import annotations

import importlib
from typing import Any

from mira_batch.core.errors import ConfigError, describe, is_interrupt


def import_foreign(module: str, what: str, remedy: str) -> Any:
    """A module that the user names. A boundary: importing runs foreign code.

    Raises:
        ConfigError: it can't be imported; `what` names it, `remedy` says what to do.
    """
    try:
        return importlib.import_module(module)
    except BaseException as error:  # a script ends with sys.exit(), say
        if is_interrupt(error):
            raise
        raise ConfigError(f"{what} can't be imported ({describe(error)}); {remedy}") from error


def import_extra(module: str, needed_by: str, package: str, extra: str) -> Any:
    """A module of a package that an extra of ours brings.

    Raises:
        ConfigError: it isn't installed; names what needs it, and how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{needed_by} needs the {package} package on every worker: pip install 'mira-batch[{extra}]'"
        ) from error
