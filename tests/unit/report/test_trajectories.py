"""A record's pictures: the original, the steps and the result, or in words why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mira_batch.core.types import (
    ErrorKind,
    Failure,
    Step,
)
from mira_batch.imaging import encode_png
from mira_batch.storage import schema
from tests.unit.report.parse import colours, labels, picture
from tests.unit.report.runs import BLUE, GREEN, RED, Run, painted, row


def test_a_failed_record_without_steps_shows_its_original_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(
        row("a", run.image("a"), (), Failure(ErrorKind.instruction_unclear, "what?")),
        row("b", run.image("b"), ()),
    )
    failed, ok = run.report().cards
    assert labels(failed) == ["Before"] and labels(ok) == ["Before", "Result"]


def test_embedded_originals_are_read_from_the_manifest(tmp_path: Path) -> None:
    pngs = [encode_png(painted(colour)) for colour in (GREEN, GREEN, GREEN, RED, BLUE)]
    images = pa.array([{"bytes": png, "path": None} for png in pngs], schema.IMAGE)
    run = Run(tmp_path, pa.table({"record_id": list("abcde"), "image": images, "instruction": ["x"] * 5}))

    def at(group: int, index: int) -> dict[str, Any]:
        return {"image_uri": None, "image_file": run.manifest, "image_row_group": group, "image_row": index}

    run.commit(row("d", "", plan=at(1, 1)), row("e", "", plan=at(2, 0), original=painted(BLUE)))
    run.commit(row("gone", "", plan=at(7, 0)), row("none", "", plan=at(2, 9)))
    d, e, gone, none = run.report().cards
    assert colours(d) == ["red", "green"] and colours(e) == ["blue", "green"]
    for card in (gone, none):
        assert colours(card) == ["green"] and "no longer in the manifest" in card.text


def test_an_image_uri_that_looks_like_a_place_opens_no_other_file(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    secret = str(tmp_path / "secret.parquet")
    pq.write_table(pa.table({"image": [encode_png(painted(RED))]}), secret)
    run.commit(row("a", f"{secret}#row_group=0&row=0"))
    (card,) = run.report().cards
    assert colours(card) == ["green"] and "can no longer be read" in card.text


def test_originals_that_are_gone_changed_or_forbidden_give_a_placeholder(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    outside = tmp_path / "outside.png"
    painted(RED).save(outside)
    torn = tmp_path / "run" / "images" / "torn.png"
    torn.write_bytes(encode_png(painted(RED))[:60])
    run.commit(
        row("gone", str(tmp_path / "run" / "images" / "gone.png")),
        row("forbidden", str(outside)),
        row("torn", str(torn)),
        row("scheme", "nosuchscheme://bucket/a.png"),
        row("changed", run.image("changed", BLUE)),
    )
    cards = run.report().cards
    assert [len(card.find("img")) for card in cards] == [1] * 5
    assert ["can no longer be read" in card.text for card in cards] == [True] * 4 + [False]
    assert "has changed since the run" in cards[4].text


def test_dropped_step_images_leave_the_edits_in_words(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("a", run.image("a"), (GREEN, BLUE), keep=lambda step, png: None))
    (card,) = run.report().cards
    assert labels(card) == ["Before", "Steps 1 to 2", "Result"] and colours(card) == ["red", "blue"]
    assert [li.text for li in card.find("div", "words")[0].find("li")] == ["edit 1", "edit 2"]


def test_referenced_step_images_are_loaded_from_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path)

    def keep(step: Step, png: bytes) -> dict[str, Any]:
        key = f"steps/abc/{step.index}.png"
        if step.index != 1:
            run.store.create(key, png)
        return {"bytes": None, "path": f"/where/the/run/was/made/{key}"}

    run.commit(row("a", run.image("a"), (GREEN, RED, BLUE), keep=keep))
    (card,) = run.report().cards
    assert labels(card) == ["Before", "Step 1", "Step 2", "Step 3 · Result"]
    assert colours(card) == ["red", "green", "blue"] and "Image not found" in card.text


def test_steps_that_were_rolled_back_say_so(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("a", run.image("a"), (GREEN, BLUE), accepted=(True, False)))
    (card,) = run.report().cards
    assert labels(card) == ["Before", "Step 1 · Result", "Step 2"]
    assert card.find("li", "undone")[0].find("b")[0].text == "Step 2" and "score 0.50" in card.text


def test_a_long_trajectory_is_shown_by_its_ends(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("a", run.image("a"), (GREEN, BLUE) * 10))
    (card,) = run.report().cards
    shown_steps = ["Step 1", "Step 2", "Step 3", "Steps 4 to 17", "Step 18", "Step 19", "Step 20 · Result"]
    assert labels(card) == ["Before", *shown_steps]
    words = card.find("div", "words")[0]
    assert words.find("ol")[0].attributes["start"] == "4" and "and 6 more" in words.text


def test_thumbnails_are_small_and_keep_transparency(tmp_path: Path) -> None:
    run = Run(tmp_path)
    clear = painted((200, 30, 30, 90), (900, 30))
    clear.save(tmp_path / "images" / "clear.png")
    run.commit(
        row("a", str(tmp_path / "images" / "clear.png"), (painted(GREEN, (20, 1000)),), original=clear)
    )
    before, after = run.report().cards[0].find("img")
    assert picture(before).size == (320, 11) and picture(before).mode == "RGBA"
    assert "transparent" in (before.attributes["class"] or "")
    assert picture(after).size == (6, 320) and "transparent" not in (after.attributes["class"] or "")


def test_the_page_stays_small_whatever_the_pictures(tmp_path: Path) -> None:
    run = Run(tmp_path)
    draw = np.random.default_rng(0)
    noise = [Image.fromarray(draw.integers(0, 256, (340, 340, 3), dtype=np.uint8)) for _ in range(8)]
    noise[0].save(tmp_path / "images" / "noise.png")
    run.commit(row("a", str(tmp_path / "images" / "noise.png"), tuple(noise[1:]), original=noise[0]))
    page = run.report()
    assert len(page.root.find("img")) == 8
    assert len(page.html) < 6_000_000 / 48
