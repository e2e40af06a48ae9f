"""Models of the user's own: a factory function that is imported, called, and whose model is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mira_batch.config.models import CustomConfig
from mira_batch.core.errors import ConfigError, MiraError, describe, is_interrupt
from mira_batch.core.source_type import GENERATIVE, find_type_problem
from mira_batch.core.text import MOST_MESSAGE, clean_text
from mira_batch.models.imports import import_foreign
from mira_batch.models.serving import EDITOR, POLICY, Role


def build_custom(config: CustomConfig, role: Role) -> Any:
    """Call the user's factory and see that what it returns can serve. A boundary: it is foreign code."""
    factory = import_factory(config.factory)
    try:
        model = factory(**config.options)
        problems = _find_problems(model, role.method)
    except MiraError:
        raise
    except BaseException as error:  # sys.exit() too: it would end the thread that loads, and be waited for
        if is_interrupt(error):
            raise
        raise ConfigError(f"factory {config.factory} of the {role.name} raised {describe(error)}") from error
    if problems:
        raise ConfigError(
            f"factory {config.factory} returned {type(model).__name__}, which is no {role.name}: "
            f"{'; '.join(problems)} (see mira_batch.core.ports.{role.name.capitalize()})"
        )
    return model


def import_factory(factory: str) -> Callable[..., Any]:
    """The function of a `package.module:function`."""
    module_name, _, name = factory.partition(":")
    module = import_foreign(
        module_name,
        f"factory {factory}: module {module_name}",
        "it must be importable here and on the workers: install it there or put its folder on PYTHONPATH",
    )
    found = getattr(module, name, None)
    if not callable(found):
        what = (
            f"{module_name} has no {name}" if found is None else f"it is {type(found).__name__}, no function"
        )
        raise ConfigError(f"factory {factory}: {what}; it must be importable here and on the workers")
    return found


def _find_problems(model: object, method: str) -> list[str]:
    """What the object lacks of its Protocol."""
    problems = []
    identity = getattr(model, "identity", None)
    if not isinstance(identity, str) or not identity:
        problems.append("identity should be a text that is not empty")
    elif clean_text(identity, MOST_MESSAGE) != identity:
        problems.append(f"identity should be valid Unicode, of at most {MOST_MESSAGE:,} characters")
    max_batch = getattr(model, "max_batch", None)
    if not isinstance(max_batch, int) or isinstance(max_batch, bool) or max_batch < 1:
        problems.append("max_batch should be an integer of at least 1")
    for name in ("bucket", method):
        if not callable(getattr(model, name, None)):
            problems.append(f"{name} should be a method")
    version = getattr(model, "prompt_version", None)
    is_text = isinstance(version, str) and clean_text(version, MOST_MESSAGE) == version
    if method == POLICY.method and version is not None and not is_text:
        problems.append(f"prompt_version should be a text of at most {MOST_MESSAGE:,} characters")
    if method == EDITOR.method and (problem := find_type_problem(getattr(model, "source_type", GENERATIVE))):
        problems.append(problem)
    return problems
