"""Writes the page of a training: how each figure went, as small charts one beside the other.

It is made of `metrics.jsonl` and, where the training has ended, `result.json`, so it can be made of one that
is still at work. `templates/training.html.j2` draws it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.report.render import render_training
from mira_batch.report.training_contents import Chart, Dot, Line, TrainingPage
from mira_batch.storage.stores import Store, open_store
from mira_batch.storage.training import METRICS, RESULT

_PAGE = "report.html"
_HELD_OUT = "held out: "
_FIRST = (
    "success", "score", "reward_mean", "loss", "token_accuracy", "entropy", "answers_stop",
    "answers_malformed", "ratio", "clip_fraction", "kl", "drift", "diversity", "grad_norm", "groups_alike",
    "learning_rate",
)  # fmt: skip
"""Figures that people look at first; the others follow in the order of the file."""


def is_training(place: str, storage: StorageConfig) -> bool:
    """Whether a directory is that of a training, which has written figures.

    Args:
        place: an absolute path or a URI.
        storage: how it is reached.
    """
    return open_store(place, storage, make=False).exists(METRICS)


def write_training(place: str, storage: StorageConfig) -> str:
    """Write `report.html` into a training's directory, and return its location.

    Args:
        place: the directory: an absolute path or a URI.
        storage: how it is reached.

    Raises:
        ConfigError: it has no figures yet.
        StoreError: they are damaged, or the page can't be written.
    """
    store = open_store(place, storage, make=False)
    page = read_page(store)
    store.put(_PAGE, render_training(page).encode())
    return store.locate(_PAGE)


def read_page(store: Store) -> TrainingPage:
    """What the page of a training shows.

    Args:
        store: its directory.

    Raises:
        ConfigError: it has no figures yet.
        StoreError: they are damaged.
    """
    lines = list(_read_lines(store))
    unit = "iteration" if any("iteration" in line for line in lines) else "step"
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        for name, value in _list_figures(line, unit):
            found.setdefault(name, {})[int(line[unit])] = value
    places = {at for values in found.values() for at in values}
    if not places:
        raise ConfigError(f"{store.locate(METRICS)}: has no figures yet; come back after the first {unit}")
    first, last = min(places), max(places)
    result = _read_result(store)
    chosen = result.get("iteration")
    charts, constant = list[Chart](), list[tuple[str, float]]()
    for name in sorted((name for name in found if not _is_twin(name, found)), key=_rank):
        lines_of = {one: found[one] for one in (name, f"{_HELD_OUT}{name}") if one in found}
        values = [value for each in lines_of.values() for value in each.values()]
        if len(values) > 1 and min(values) == max(values):
            constant.append((name, values[0]))
        else:
            charts.append(_lay_out(name, lines_of, first, last))
    words = (result.get("why"), result.get("ended"))
    return TrainingPage(
        store.uri,
        unit,
        first,
        last,
        tuple(charts),
        tuple(constant),
        chosen,
        None if chosen is None else _scale(chosen, first, last),
        tuple(text for text in words if text),
    )


def _read_lines(store: Store) -> Iterator[Mapping[str, Any]]:
    for number, text in enumerate((store.get(METRICS) or b"").decode("utf-8", "replace").splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or not isinstance(line.get("iteration", line.get("step")), int):
            raise StoreError(f"{store.locate(METRICS)}: line {number} is no line of figures; it is damaged")
        yield line


def _read_result(store: Store) -> Mapping[str, Any]:
    """What a training that has ended says of itself; empty where it is at work."""
    try:
        found = json.loads(store.get(RESULT) or b"{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StoreError(f"{store.locate(RESULT)}: is no JSON object; it is damaged")
    return found


def _list_figures(line: Mapping[str, Any], unit: str) -> Iterator[tuple[str, float]]:
    held_out = _HELD_OUT if line.get("of") == "validation" else ""
    for name, value in line.items():
        inside = value.items() if isinstance(value, dict) else [("", value)]
        for part, number in inside:
            if name == unit or isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if not math.isfinite(number):  # of a training that broke down: a gap, as where there is none
                continue
            whole = f"{name}.{part}" if part else name
            kind = _HELD_OUT if whole.startswith("val_") else held_out
            yield f"{kind}{whole.removeprefix('val_')}", float(number)


def _is_twin(name: str, found: Mapping[str, Any]) -> bool:
    """Whether a figure of held-out data is shown in the chart of its own kind."""
    return name.startswith(_HELD_OUT) and name.removeprefix(_HELD_OUT) in found


def _rank(name: str) -> tuple[int, bool]:
    kind = name.removeprefix(_HELD_OUT)
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST), not name.startswith(_HELD_OUT)


def _lay_out(name: str, found: Mapping[str, Mapping[int, float]], first: int, last: int) -> Chart:
    values = [value for each in found.values() for value in each.values()]
    low, high = min(values), max(values)
    lines = [
        Line(
            label,
            tuple(
                Dot(at, value, _scale(at, first, last), 100 - _scale(value, low, high))
                for at, value in sorted(each.items())
            ),
        )
        for label, each in found.items()
    ]
    return Chart(name, low, high, tuple(lines))


def _scale(value: float, low: float, high: float) -> float:
    return 50.0 if high == low else 100 * (value - low) / (high - low)
