"""The HTML report: what it shows of a run, how it bounds it, and that nothing in it can escape."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import RunConflict
from mira_batch.core.identity import content_hash, frame_of
from mira_batch.core.pixels import encode_png
from mira_batch.core.receipts import Receipt, RunSummary, Tally
from mira_batch.core.types import (
    ErrorKind,
    Failure,
    Frame,
    LoggedStep,
    Step,
    StopReason,
    Trajectory,
)
from mira_batch.core.usage import Usage
from mira_batch.edit.rows import result_row
from mira_batch.report.contact_sheet import choose, write_report
from mira_batch.storage import schema
from mira_batch.storage.manifest.listing import list_files
from mira_batch.storage.manifest.planned import PlannedRecord
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.planfile import PlanWriter
from tests.support.runs.edits import edit_results, open_edit_run

RED, GREEN, BLUE = (200, 30, 30), (30, 160, 60), (40, 60, 200)
HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(2)'> & </style>"
MODELS = {"policy": "policy/1", "editor": "editor/1", "judge": None}


class Run:
    """A run's directory, made with the functions that make real ones."""

    def __init__(self, folder: Path, manifest: pa.Table | None = None) -> None:
        self.folder = folder
        (folder / "images").mkdir(parents=True)
        rows = manifest or pa.table({"record_id": ["a"], "image": ["images/a.png"], "instruction": ["x"]})
        self.manifest = str(folder / "manifest.parquet")
        pq.write_table(rows, self.manifest, row_group_size=2)
        self.config = BulkEditConfig.model_validate(
            {"input": {"manifest": self.manifest}, "output": {"uri": str(folder / "out")}, "run_id": "r"}
        )
        self.store = open_edit_run(self.config, list_files(self.config.input, self.config.storage))
        self.shards = 0

    def image(self, name: str, colour: tuple[int, ...] = RED, size: tuple[int, int] = (60, 40)) -> str:
        path = str(self.folder / "images" / f"{name}.png")
        painted(colour, size).save(path)
        return path

    def commit(self, *rows: dict[str, Any]) -> None:
        self.store.create(result_key(self.shards), edit_results(rows))
        self.shards += 1

    def reject(self, rows: list[dict[str, Any]]) -> None:
        PlanWriter(self.store, 1, 1).finish(pa.Table.from_pylist(rows, schema=schema.REJECTS), 0)

    def report(self, most: int = 48, **figures: Any) -> Shown:
        summary = RunSummary(self.store.uri, "r", planned=100, **figures)
        location = write_report(self.config, summary, most)
        assert location == self.store.locate("report.html")
        return shown(Path(location).read_text(encoding="utf-8"))


def painted(colour: tuple[int, ...], size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour)


def row(
    name: str,
    source: str,
    colours: tuple[Any, ...] = (GREEN,),
    failure: Failure | None = None,
    keep: Any = lambda step, png: {"bytes": png, "path": None},
    original: Image.Image | None = None,
    plan: dict[str, Any] | None = None,
    accepted: tuple[bool, ...] = (),
    words: str = "",
) -> dict[str, Any]:
    """The result row of a record whose original is red and whose steps painted it in these colours."""
    start = frame_of(original or painted(RED))
    frames = [frame_of(c if isinstance(c, Image.Image) else painted(c)) for c in colours]
    good = accepted or (True,) * len(frames)
    steps, current = [], start
    for k, (frame, taken) in enumerate(zip(frames, good, strict=True)):
        text = words or f"edit {k + 1}"
        step = Step(
            k,
            f"thought {k + 1} {words}",
            text,
            "",
            1,
            0,
            current.digest,
            frame.digest,
            taken,
            0.5 if accepted else None,
        )
        steps.append(LoggedStep(step, frame))
        current = frame if taken else current
    stop = None if failure else StopReason.policy_stop
    ended = Trajectory(
        tuple(steps),
        current,
        stop,
        failure,
        Usage.of(policy=1, editor=2, waiting=3, io=4),
        final_thought=words,
    )
    planned = {
        "record_id": name,
        "work_id": content_hash(name),
        "instruction": words or f"do {name}",
        "image_uri": source,
        "metadata": "{}",
    }
    kept = [keep(step.step, encode_png(step.frame.pixels)) for step in steps]
    record = PlannedRecord.from_row(planned | (plan or {}))
    return result_row(record, ended, encode_png(current.pixels), kept, MODELS, start.digest)


def unopened(name: str, message: str = "no such file") -> dict[str, Any]:
    """The row of a record whose image could not be opened."""
    failure = Failure(ErrorKind.image_unreadable, message)
    plan = {"record_id": name, "work_id": name, "instruction": "x", "image_uri": "/no", "metadata": "{}"}
    record = PlannedRecord.from_row(plan)
    return result_row(record, Trajectory((), Frame(None, ""), None, failure, Usage()), None, [], MODELS, None)


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list[Element | str] = field(default_factory=list)

    def find(self, tag: str = "", of: str = "") -> list[Element]:
        """The elements below, of this tag and class, in order."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                kinds = (child.attributes.get("class") or "").split()
                if (not tag or child.tag == tag) and (not of or of in kinds):
                    found.append(child)
                found += child.find(tag, of)
        return found

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in ("meta", "img"):
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


@dataclass
class Shown:
    """A report as a browser would read it."""

    html: str
    root: Element

    @property
    def cards(self) -> list[Element]:
        return self.root.find("article")

    @property
    def names(self) -> list[str]:
        return [card.find("bdi")[0].text for card in self.cards]

    @property
    def figures(self) -> dict[str, str]:
        cells = self.root.find("dl", "figures")[0].find("div")
        return {cell.find("dt")[0].text: cell.find("dd")[0].text.strip() for cell in cells}


def shown(html: str) -> Shown:
    tree = _Tree()
    tree.feed(html)
    tree.close()
    assert tree.open == [tree.root], "every element is closed"
    return Shown(html, tree.root)


def labels(card: Element) -> list[str]:
    return [still.find("b")[0].text for still in card.find("li", "still")]


def picture(element: Element) -> Image.Image:
    uri = element.attributes["src"] or ""
    assert uri.startswith("data:image/webp;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def colours(card: Element) -> list[str]:
    """Of each picture the channel that is strongest in its middle."""
    found = []
    for image in map(picture, card.find("img")):
        pixel = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
        assert isinstance(pixel, tuple)
        found.append(["red", "green", "blue"][int(np.argmax(pixel))])
    return found


def test_a_card_shows_every_step_from_the_original_to_the_result(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("one", run.image("a"), (GREEN, BLUE)))
    page = run.report()
    (card,) = page.cards
    assert labels(card) == ["Before", "Step 1", "Step 2 · Result"]
    assert colours(card) == ["red", "green", "blue"]
    assert [caption.text for caption in card.find("p", "caption")] == ["edit 1", "edit 2"]
    assert [image.attributes["alt"] for image in card.find("img")] == [
        "Before", "Step 1: edit 1", "Step 2 · Result: edit 2",
    ]  # fmt: skip
    assert "thought 2" in card.text and "do one" in card.text and "policy stop" in card.text
    assert "policy/1" in page.root.find("header")[0].text


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """Text full of markup gives the very elements that plain text gives."""

    def report(folder: Path, text: str) -> Shown:
        run = Run(folder)
        failure = Failure(ErrorKind.editor_failed, text)
        source = run.image("a")
        run.commit(row(text, source, words=text), row(text, source, failure=failure, words=text))
        run.reject([{"where": text, "record_id": text, "field": text, "reason": text}])
        return report_with_models(run, text)

    def report_with_models(run: Run, text: str) -> Shown:
        run.commit(row("m", run.image("b")) | {"models": {"policy": text, "editor": text, "judge": text}})
        return run.report()

    hostile, plain = report(tmp_path / "hostile", HOSTILE), report(tmp_path / "plain", "harmless")

    def outline(page: Shown) -> list[tuple[str, list[str]]]:
        return [(element.tag, sorted(element.attributes)) for element in page.root.find()]

    assert outline(hostile) == outline(plain)
    assert hostile.names.count(HOSTILE) == 2
    assert hostile.root.text.count(HOSTILE) == plain.root.text.count("harmless")
    assert not hostile.root.find("script")
    assert all(
        (img.attributes["src"] or "").startswith("data:image/webp") for img in hostile.root.find("img")
    )


def test_the_page_asks_for_nothing_from_elsewhere(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("one", run.image("a")))
    page = run.report()
    policy = {
        m.attributes.get("http-equiv"): m.attributes["content"]
        for m in page.root.find("meta")
        if "content" in m.attributes
    }
    assert policy["Content-Security-Policy"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not re.search(r"https?://|@import|<script|<link|url\(", page.html)


def test_choice_is_spread_evenly_with_failed_records_first() -> None:
    failed = np.zeros(100, bool)
    failed[[3, 50, 51, 52, 99]] = True
    assert choose(failed, 6) == [50, 52, 12, 36, 63, 87]
    assert choose(failed, 6) == choose(failed.copy(), 6)
    assert choose(np.zeros(4, bool), 48) == [0, 1, 2, 3]
    assert len(choose(np.ones(100, bool), 48)) == 16, "failed ones fill a third at most"
    assert choose(np.zeros(0, bool), 48) == [] and choose(failed, 0) == []


@pytest.mark.parametrize("most", [1, 12])
def test_the_number_of_cards_is_bounded_and_each_is_the_record_chosen(tmp_path: Path, most: int) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    names: list[str] = []
    failed: list[bool] = []
    for shard in range(30):
        rows = []
        for k in range(shard % 4 + 1):
            bad = k == 2
            names.append(f"s{shard}-{k}")
            failed.append(bad)
            rows.append(
                row(names[-1], source, failure=Failure(ErrorKind.step_timeout, "slow") if bad else None)
            )
        run.commit(*rows)
    page = run.report(most)
    assert page.names == [names[k] for k in choose(np.array(failed), most)]
    assert len(page.cards) == most
    assert page.figures["failed"] == str(sum(failed))


def test_rows_are_found_in_later_row_groups(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    run.commit(*(row(f"r{k}", source) for k in range(150)))
    assert pq.ParquetFile(f"{run.store.uri}/{result_key(0)}").num_row_groups == 3
    assert run.report(most=3).names == ["r25", "r75", "r125"]


def test_a_resumed_run_has_the_figures_of_the_whole(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    run.commit(row("a", source), row("b", source, failure=Failure(ErrorKind.judge_failed, "no")))
    run.commit(row("c", source, (GREEN, BLUE, RED)))
    once = run.report(total=Receipt(tally=Tally(3, 2, 5)), committed=3, wall=6.0)
    resumed = run.report(total=Receipt(tally=Tally(1, 1, 3)), committed=3, already=2, wall=2.0)
    idle = run.report(committed=3, already=3, wall=0.1)
    for page in (once, resumed, idle):
        assert page.names == once.names == ["b", "a", "c"]
        assert page.figures["records"] == "3 of 100"
        assert [page.figures[name] for name in ("ok", "failed", "edits", "edits per record")] == [
            "2",
            "1",
            "5",
            "1.7",
        ]
        assert [li.text for li in page.root.find("ul", "counts")[0].find("li")] == ["policy stop2"]
        assert [li.text for li in page.root.find("ul", "bad")[0].find("li")] == ["judge failed1"]
        times = [li.text for li in page.root.find("ul", "legend")[0].find("li")]
        assert times == ["policy10 %", "editor20 %", "waiting30 %", "io40 %"]
    assert [p.figures["images per minute"] for p in (once, resumed)] == ["30", "30"]
    assert idle.figures == resumed.figures, "a call that did nothing leaves the page of the one that did"
    assert once.figures["wall time"] == "6.0 s" and resumed.figures["last call"] == "2.0 s"


def test_the_page_says_what_an_accepted_image_cost(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    run.commit(
        row("a", source), row("b", source), row("c", source, failure=Failure(ErrorKind.judge_failed, "no"))
    )
    assert "cost" not in run.report(committed=3).figures
    page = run.report(committed=3, total=Receipt(breakdown=Usage.of(gpu=7200)), gpu_hour=1.5)
    assert page.figures["cost"] == "$3.00 $1.5000 an accepted image"


def test_the_same_run_gives_the_same_page_but_for_the_time(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    run.commit(*(row(f"r{k}", source) for k in range(9)))
    stamp = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
    pages = [stamp.sub("", run.report(most=5).html) for _ in range(2)]
    assert pages[0] == pages[1]


def test_failed_records_show_their_message(tmp_path: Path) -> None:
    run = Run(tmp_path)
    failure = Failure(ErrorKind.editor_failed, "RuntimeError: it broke")
    run.commit(row("broken", run.image("a"), (GREEN,), failure), unopened("gone", "/no: no such file"))
    broken, gone = run.report().cards
    assert labels(broken) == ["Before", "Step 1 · Best so far"] and colours(broken) == ["red", "green"]
    assert broken.find("li", "message")[0].text == "editor failedRuntimeError: it broke"
    assert gone.find("li", "message")[0].text == "image unreadable/no: no such file"
    assert not gone.find("img") and "could not be opened" in gone.text


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
    assert "rolled back" in card.find("li", "undone")[0].text and "score 0.50" in card.text


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


def test_rejected_rows_are_listed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("a", run.image("a")))
    run.reject(
        [
            {"where": f"m.csv:{k}", "record_id": None, "field": "image", "reason": "is empty"}
            for k in range(70)
        ]
    )
    page = run.report(rejected=70)
    rows = page.root.find("tbody")[0].find("tr")
    assert len(rows) == 50 and page.figures["rejected rows"] == "70"
    assert [cell.text for cell in rows[0].find("td")] == ["m.csv:0", "–", "image", "is empty"]


def test_a_run_without_results_has_a_report(tmp_path: Path) -> None:
    page = Run(tmp_path).report()
    assert page.cards == [] and "No results yet" in page.root.text
    assert page.figures["records"] == "0 of 100" and page.figures["edits per record"] == "–"


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with pytest.raises(RunConflict, match="holds no run"):
        write_report(run.config, replace(RunSummary("", "r"), run=str(tmp_path / "images")))
