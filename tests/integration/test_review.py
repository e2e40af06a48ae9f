"""The way of a review, with a real run and a real browser: look, decide, hand over, make again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.runs.commands import EMBEDDED, Commands
from tests.support.runs.nights import Nights
from tests.unit.report.browsers import FOUND, MISSING, browse, opened


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Commands:
    nights = Nights(tmp_path)
    nights.add(12)
    return Commands(nights, capfd, **EMBEDDED)


@pytest.mark.skipif(FOUND is None, reason=MISSING)
def test_what_is_rejected_on_the_page_is_made_again(cli: Commands, tmp_path: Path) -> None:
    run = cli.run()
    about = cli.json("report", run, "--review", "--sample", "8")
    assert (about["shown"], about["population"], about["files"]) == (8, 12, False)
    assert about["rule"] == "8 of 12 results that are ok or unfinished, drawn at random."
    assert "review.html" in cli.text("report", run, "--review", "--sample", "8"), "the same page"
    file = tmp_path / "decisions.jsonl"
    with browse() as browser, opened(browser, f"file://{about['page']}") as page:
        page.locator("#queue img").first.wait_for()
        names = page.locator("#queue bdi").all_inner_texts()
        page.locator("#by").fill("ada")
        for key in ("Tab", "a", "a", "r", "2", "r", "6", "a"):
            page.keyboard.press(key) if key != "Tab" else page.locator("#name").click()
        assert page.locator("#done").inner_text() == "5 of 8 decided"
        words = page.locator("#confidence").inner_text()
        with page.expect_download() as waiting:
            page.locator("#download").click()
        assert waiting.value.suggested_filename.startswith(f"decisions-{run.name}-ada-")
        waiting.value.save_as(file)
    assert words == "3 approved, 2 rejected: at most 82 % are bad, with 95 % confidence"
    kept = cli.json("decide", run, file)
    assert (kept["approved"], kept["rejected"], kept["stale"], kept["disputes"]) == (3, 2, 0, [])
    assert Path(kept["file"]) == run / "decisions" / "00001.jsonl"
    again = cli.json("retry", "--config", run / "run.json", "--decisions", run)
    assert (again["planned"], again["ok"]) == (2, 2)
    assert again["causes"]["rejected_by_person"]["records"] == 2
    made = {line["record_id"] for line in map(json.loads, file.read_text().splitlines())
            if line["decision"] == "reject"}  # fmt: skip
    assert made == {names[2], names[3]}
    assert cli.json("retry", "--config", run / "run.json", "--decisions", file)["planned"] == 2, "a file, too"
    approved = {names[0], names[1], names[4]}
    to = tmp_path / "shown"
    found = cli.json("export", to, "--as", "folder", "--catalogue", cli.nights.output, "--approved-only")
    assert (found["records"], found["exported"], found["not_approved"]) == (12, 3, 9)
    assert {path.stem for path in to.glob("*.png")} == approved
    again = cli.json("export", to, "--as", "folder", "--catalogue", cli.nights.output, "--approved-only")
    assert (again["exported"], again["already"]) == (0, 3)


def test_two_people_and_stale_decisions_are_told(cli: Commands, tmp_path: Path) -> None:
    run = cli.run()
    files = []
    for by, word, digest in (("ada", "approve", None), ("bob", "reject", None), ("eve", "reject", "old")):
        file = tmp_path / f"{by}.jsonl"
        found = cli.json("report", run, "--review", "--all")
        data = json.loads(Path(found["page"]).read_text().split('id="data">')[1].split("</script>")[0])
        record = data["records"][0]
        line = {"record_id": record["id"], "work_id": record["work"], "decision": word, "by": by}
        line |= {"at": "2026-11-26T09:30:00Z"}
        file.write_text(json.dumps(line | {"result_digest": digest or record["digest"]}) + "\n")
        files.append(file)
    assert "1 approved, 0 rejected\nkept in " in cli.text("decide", run, files[0])
    told = cli.text("decide", run, files[1])
    assert "disagreements: 1; the last word stands\n" in told and "ada: approve, bob: reject" in told
    assert "0 approved, 0 rejected, 1 stale" in cli.text("decide", run, files[2])
    assert "as they were already" in cli.text("decide", run, files[0])
    assert cli.json("retry", "--config", run / "run.json", "--decisions", run)["planned"] == 1


def test_what_can_not_be_reviewed_is_refused(cli: Commands, tmp_path: Path) -> None:
    run = cli.run()
    words = ("report", run, "--review")
    assert "--sample or --all" in cli.json(*words, "--sample", "3", "--all", code=2)["error"]
    assert "no record has a value of it" in cli.json(*words, "--stratify", "shelf", code=2)["error"]
    assert "is for the sample of a --review" in cli.json("report", run, "--stratify", "x", code=2)["error"]
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"record_id": "rec-0000"}\n')
    assert (
        "bad.jsonl:1: is no decision: it lacks 'result_digest'"
        in cli.json("decide", run, bad, code=2)["error"]
    )
    assert "no such file" in cli.json("decide", run, tmp_path / "none.jsonl", code=2)["error"]
    assert "holds no run" in cli.json("decide", tmp_path, bad, code=2)["error"]


def test_each_kind_has_its_share_of_a_sample(cli: Commands) -> None:
    for k, name in enumerate(cli.nights.rows):
        cli.nights.rows[name]["shelf"] = "rare" if k == 7 else "common"
    run = cli.run()
    found = cli.json("report", run, "--review", "--sample", "4", "--stratify", "shelf")
    data = json.loads(Path(found["page"]).read_text().split('id="data">')[1].split("</script>")[0])
    strata = [record["stratum"] for record in data["records"]]
    assert sorted(strata) == ["common"] * 3 + ["rare"]
    assert found["rule"].endswith("drawn at random; each value of shelf has its share, and at least one.")


def test_a_report_is_written_anew(cli: Commands) -> None:
    run = cli.run()
    page = Path(cli.json("report", run)["report"])
    assert page == run / "report.html" and "12" in page.read_text()
    page.unlink()
    assert f"report: {page}" in cli.text("report", "--config", cli.config) and page.exists()
    sampled = Path(cli.json("report", run, "--sample", "5", "--full")["report"]).read_text()
    assert "5 of 12 records are shown" in sampled and '"whole-4":' in sampled
