"""Benchmarks of editors from the published data set to the table and the owners' own layout."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mira_batch.evaluate.benchmarks.gedit import GROUPS
from mira_batch.evaluate.benchmarks.imgedit import TYPES
from mira_batch.models.judges import IMGEDIT_AXES
from tests.support.published import EDITS, UNCLEAR, gedit_rows, save_gedit, save_imgedit
from tests.support.runs.benchmarks import edit, evaluate
from tests.support.runs.commands import Commands
from tests.support.runs.nights import Nights
from tests.support.servers.models import Answer, Asked, ModelServer


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Commands:
    return Commands(Nights(tmp_path / "night"), capfd)


def vie(scores: Callable[[Asked], tuple[float, float]]) -> Callable[[Asked], Answer]:
    """A judge that gives SC and PQ; of prose for the instruction where SC is below 0."""

    def answer(asked: Asked) -> Answer:
        semantic, perceptual = scores(asked)
        value = semantic if len(asked.images) == 2 else perceptual
        if semantic < 0 and len(asked.images) == 2:
            return Answer("rather nice")
        return Answer(json.dumps({"score": [value, 10], "reasoning": "so"}))

    return answer


def shade(asked: Asked) -> int:
    """What tells the images apart."""
    return sum(asked.images[-1].convert("RGB").resize((1, 1)).getpixel((0, 0)))  # type: ignore[arg-type]


def test_gedit_from_the_data_set_to_its_table_and_layout(
    cli: Commands, server: ModelServer, tmp_path: Path
) -> None:
    rows = gedit_rows(2)
    rows[5]["instruction"] = UNCLEAR
    prepared = tmp_path / "gedit"
    found = cli.json("benchmark", "prepare", "gedit", save_gedit(tmp_path / "data", rows), "--to", prepared)
    assert found["counts"] == {"en": 22, "cn": 22} and found["items"] == 44 and not found["already"]
    run = edit(cli, prepared)
    sizes = set()

    def scores(asked: Asked) -> tuple[float, float]:
        sizes.update(image.size for image in asked.images)
        return (-1 if EDITS[3] in asked.text else 2 + shade(asked) % 7), 3 + shade(asked) % 5

    server.script = vie(scores)
    scored = evaluate(cli, run, prepared, server)
    table = cli.json("benchmark", "table", "gedit", scored)
    assert sizes == {(24, 16)}, "rotated by 90 degrees or not, a judge sees the size of the original"
    failed = sum(row["instruction"] == EDITS[3] for row in rows)
    assert (table["items"], table["judged"], table["failed"], table["missing"]) == (
        44,
        43 - failed,
        failed,
        1,
    )
    assert table["reasons"] == {"the edit failed": 1, "judge_failed": failed} and not table["complete"]
    assert any("judged by viescore-form/1" in note for note in table["notes"])
    by_key = {row["key"]: (row["task_type"], row["instruction_language"]) for row in rows}
    check_gedit_means(table["figures"], scored, by_key)
    text = cli.text("benchmark", "table", "gedit", scored)
    assert (
        f"INCOMPLETE: {failed + 1} of 44 items are in no mean" in text
        and "macro mean of the 11 groups" in text
    )
    check_gedit_layout(cli, run, tmp_path / "official", rows)


def check_gedit_means(figures: dict[str, Any], scored: Path, by_key: dict[str, tuple[str, str]]) -> None:
    """The means once more, from the rows of the evaluation, as the owners' script takes them."""
    import pyarrow.parquet as pq

    items: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in pq.read_table(scored / "results").to_pylist():
        if row["score"] is not None:
            axes = {axis["name"]: axis["value"] for axis in row["axes"]}
            items.setdefault(by_key[row["of"].partition("-")[2]], []).append((axes["SC"], axes["PQ"]))
    for language in ("en", "cn"):
        groups = figures[language]["all"]["groups"]
        means = []
        for group in GROUPS:
            overall = [math.sqrt(sc * pq) for sc, pq in items.get((group, language), [])]
            assert groups[group]["O"]["judged"] == len(overall)
            means.append(np.mean(overall) if overall else None)
            assert groups[group]["O"]["value"] == (pytest.approx(means[-1]) if overall else None)
        macro = figures[language]["all"]["macro"]["O"]["value"]
        assert macro == (None if None in means else pytest.approx(np.mean(means)))


def check_gedit_layout(cli: Commands, run: Path, to: Path, rows: list[dict[str, Any]]) -> None:
    words = ("benchmark", "layout", "gedit", run, "--to", to, "--model", "mine")
    error = cli.json(*words, code=2)["error"]
    assert (
        "1 of 44 results are missing (the edit failed (instruction_unclear) 1)" in error
        and "en-k005" in error
    )
    assert not to.exists() or not list(to.rglob("*.png")), "nothing is written then"
    found = cli.json(*words, "--partial")
    assert (found["expected"], found["written"], found["already"]) == (44, 43, 0)
    assert cli.json(*words, "--partial")["already"] == 43, "a second call writes nothing"
    for row in (row for row in rows if row["instruction"] != UNCLEAR):
        folder = to / "mine" / "fullset" / row["task_type"] / row["instruction_language"]
        source = Image.open(folder / f"{row['key']}_SRCIMG.png")
        assert source.tobytes() == row["input_image"].tobytes()
        result = Image.open(folder / f"{row['key']}.png")
        assert result.format == "PNG" and result.convert("RGB").tobytes() != source.tobytes()
    assert len(list(to.rglob("*.png"))) == 2 * 43
    (folder / f"{row['key']}.png").write_bytes(b"another")
    assert "is there already, with other content" in cli.json(*words, "--partial", code=2)["error"]


def test_imgedit_from_the_data_set_to_its_table_and_layout(
    cli: Commands, server: ModelServer, tmp_path: Path
) -> None:
    prepared = tmp_path / "imgedit"
    data = save_imgedit(tmp_path / "Benchmark" / "singleturn", 2)
    found = cli.json("benchmark", "prepare", "imgedit", data, "--to", prepared)
    assert found["counts"] == dict.fromkeys(TYPES, 2)
    run = edit(cli, prepared)
    asked_for: list[str] = []

    def script(asked: Asked) -> Answer:
        (kind,) = (k for k, axes in IMGEDIT_AXES.items() if is_asked(asked.text, k, axes))
        asked_for.append(kind)
        if asked_for.count("add") == 1 and kind == "add":
            return Answer("rather nice")
        compliance = 1 + list(TYPES).index(kind) % 5
        values = (compliance, 2, 2) if kind != "style" else (compliance, 5, 4)
        return Answer("\n".join(f"{axis}: {v}" for axis, v in zip(IMGEDIT_AXES[kind], values, strict=True)))

    server.script = script
    scored = evaluate(cli, run, prepared, server)
    assert sorted(asked_for) == sorted([*TYPES] * 2), "each is asked about by its own type"
    table = cli.json("benchmark", "table", "imgedit", scored)
    figures = table["figures"]
    assert (table["judged"], table["failed"], table["missing"]) == (17, 1, 0)
    expected = {k: round((1 + i % 5 + (9 if k == "style" else 4)) / 3, 2) for i, k in enumerate(TYPES)}
    assert {k: mean["value"] for k, mean in figures["types"].items()} == pytest.approx(expected)
    assert figures["macro"]["value"] == pytest.approx(np.mean(list(expected.values())))
    weights = [1 if kind == "add" else 2 for kind in TYPES]
    weighted = np.average(list(expected.values()), weights=weights)
    assert figures["weighted"]["value"] == pytest.approx(weighted) != figures["macro"]["value"]
    assert figures["rule_breaks"] == 1 + 2 + 2, "of add, background and style"
    text = cli.text("benchmark", "table", "imgedit", scored)
    assert "macro mean of the 9 types" in text and "mean weighted by judged items" in text
    assert "INCOMPLETE: 1 of 18 items are in no mean (judge_failed 1)" in text
    to = tmp_path / "edited_images"
    assert cli.json("benchmark", "layout", "imgedit", run, "--to", to)["written"] == 18
    given = json.loads((data / "singleturn.json").read_text())
    assert {path.name for path in to.iterdir()} == {f"{key}.png" for key in given}


def is_asked(text: str, kind: str, axes: tuple[str, ...]) -> bool:
    """Whether a question is of a type; two of them have the same axes."""
    words = {"remove": "taken away", "replace": "in the place of another"}
    return all(f"{axis}: a number" in text for axis in axes) and words.get(kind, "") in text
