"""Refuses to go on with other models than a run was made with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from mira_batch.core.errors import RunConflict
from mira_batch.storage.run.layout import MODELS, PLAN, read_document
from mira_batch.storage.stores import Store


def check_identities(store: Store, identities: Mapping[str, str | None]) -> None:
    """Refuse to go on with other models than the run, or what it builds upon, was made with.

    The settings can't tell, since they stay the same when a model's code or weights change. The first to
    load a run's models notes in `models.json` what they are.

    Args:
        store: the run's directory.
        identities: identity by role: policy, editor and judge; None where there is no such model.

    Raises:
        RunConflict: the run was begun with another model, or records were left out of its plan because
            another model has done them.
        StoreError: the store can't be used, or a document of the run is damaged.
    """
    _check_skipped(store, identities)
    if store.create(MODELS, json.dumps(dict(identities), indent=2).encode()):
        return
    noted = read_document(store, MODELS) or {}
    if changed := ", ".join(_find_changed_models(noted, identities)):
        raise RunConflict(
            f"{store.uri}: this run was begun with another model: {changed}; restore the model, or choose "
            "another run_id with output.skip_done: false"
        )


def _check_skipped(store: Store, identities: Mapping[str, str | None]) -> None:
    """By the plan: whose results stand in for the records it left out."""
    skipped = (read_document(store, PLAN) or {}).get("skipped_models", [])
    others = [entry for entry in skipped if entry["models"] != dict(identities)]
    if others:
        records = sum(entry["records"] for entry in others)
        changed = ", ".join(_find_changed_models(others[0]["models"], identities))
        raise RunConflict(
            f"{store.uri}: {records:,} records were left out because an earlier run has them, but from "
            f"another model: {changed}; to make them anew set output.skip_done: false and choose another "
            "run_id, or another output.uri; or restore the model"
        )


def _find_changed_models(old: Mapping[str, str | None], new: Mapping[str, str | None]) -> Iterator[str]:
    for role in new:
        if old.get(role) != new[role]:
            yield f"{role} was {old.get(role)!r}, is now {new[role]!r}"
