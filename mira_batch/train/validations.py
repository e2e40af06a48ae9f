"""Validations of a training by iterations: what is kept of them, and what tells one kind from another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mira_batch.core.errors import RunConflict
from mira_batch.storage.run.layout import read_document
from mira_batch.train.iterations import Course, Figures
from mira_batch.train.record import REMADE


def read_validation(course: Course[Any], done: int) -> Figures | None:
    """The figures of a validation that an earlier call made; None where there is none yet.

    Args:
        course: the training.
        done: iterations that were done.

    Raises:
        RunConflict: it is of other records or another judge than the next ones will be, and the scores of
            both mean different things.
        StoreError: it is damaged.
    """
    key = f"{name_validation(done)}/validation.json"
    found = read_document(course.store, key, "iteration", "score", cure=REMADE)
    if found is None:
        _ = course.held_out  # as it is before the records run
        return None
    settings = course.config.identify_validation()
    # Earlier releases put neither.
    if found.get("settings", settings) != settings or (
        "manifest" in found and found["manifest"] != course.held_out
    ):
        raise RunConflict(
            f"{course.store.locate(key)}: was made by other records or settings of validation, or another "
            f"judge, than are given now, and adapters are chosen by its score; give those, or delete "
            f"{course.store.locate('validation')}, and the same command makes all validations anew"
        )
    return found


def put_validation(course: Course[Any], done: int, figures: Mapping[str, Any]) -> Figures:
    """Keep the figures of a validation, with what they are of.

    Args:
        course: the training.
        done: iterations that are done.
        figures: with `iteration` and `score`.

    Raises:
        RunConflict: the manifest of the held-out records has changed since this call began.
    """
    if course.find_held_out() != course.held_out:
        raise RunConflict(
            f"{course.config.validation.input.manifest}: has changed since the training's first look at it; "
            f"put that back, and delete {course.store.locate(name_validation(done))}"
        )
    found = {**figures, "settings": course.config.identify_validation(), "manifest": course.held_out}
    data = json.dumps(found, indent=2).encode()
    course.store.create(f"{name_validation(done)}/validation.json", data)
    return found


def name_validation(done: int) -> str:
    """The folder of the validation after so many iterations."""
    return f"validation/{done:06d}"
