"""From real runs of the edit job to samples: selection, wrong turns, kills, and counts that add up."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mira_batch.cli import main
from mira_batch.config.construct import ConstructOutput
from mira_batch.construct.run import construct
from mira_batch.core.errors import ConfigError, RunConflict
from mira_batch.core.identity import frame_of
from mira_batch.storage.samples import SAMPLES
from mira_batch.storage.stores import Store
from tests.support.runs.astray import WAYS, configure_construct, edit_astray, read_samples


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return edit_astray(tmp_path_factory.mktemp("construct"))


def test_a_run_becomes_samples_that_add_up(edited: Path, tmp_path: Path) -> None:
    found = construct(configure_construct(edited, tmp_path / "d"))
    counts = found["samples"]["counts"]
    dropped = sum(n for name, n in counts.items() if name.startswith("dropped."))
    assert counts["questions"] == counts["samples"] + dropped == 3 + 5 + 3 + 3
    assert counts["dropped.duplicate"] == 3  # the twin's photograph has the same pixels
    assert counts["dropped.worse"] + counts.get("dropped.undone", 0) >= 1
    rows = read_samples(tmp_path / "d")
    assert len(rows) == counts["samples"] == found["card"]["samples"]
    assert len({row["sample_id"] for row in rows}) == len(rows)
    assert pq.read_schema(next((tmp_path / "d").glob("samples/*.parquet"))).equals(SAMPLES)
    for row in rows:
        for name in ("original", "current"):
            digest = row["source_digest" if name == "original" else "current_digest"]
            if row[name] is not None:
                image = Image.open(io.BytesIO(row[name]["bytes"]))
                assert frame_of(image).digest == digest  # the very pixels that the policy saw
    assert {row["licence"] for row in rows} == {"CC0-1.0"} and {row["dataset"] for row in rows} == {"r"}
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["source_digest"], set()).add(row["split"])
    assert all(len(names) == 1 for names in splits.values())


def test_a_detour_gives_a_recovery_and_its_wrong_step_none(edited: Path, tmp_path: Path) -> None:
    construct(configure_construct(edited, tmp_path / "d"))
    rows = [row for row in read_samples(tmp_path / "d") if row["record_id"] == "detour"]
    assert [(row["step"], row["origin"]) for row in sorted(rows, key=lambda row: row["step"])] == [
        (0, "trajectory"),
        (2, "recovery"),
        (3, "trajectory"),
        (4, "trajectory"),
    ]
    repair = next(row for row in rows if row["origin"] == "recovery")
    assert [step["instruction"] for step in repair["history"]] == WAYS["detour"][:2]


def test_the_best_are_kept_by_the_runs_own_judge(edited: Path, tmp_path: Path) -> None:
    config = configure_construct(
        edited, tmp_path / "d", source={"scores": "run"}, select={"threshold": 0.9, "keep": 1}
    )
    found = construct(config)
    assert found["select"]["counts"] == {"trajectories": 4, "chosen": 3, "dropped.below_threshold": 1}
    rows = read_samples(tmp_path / "d")
    assert {row["record_id"] for row in rows} == {"right", "detour"}  # twin's are duplicates
    assert {row["score"] for row in rows} == {1.0}


def test_what_went_wrong_is_right_for_another_instruction(edited: Path, tmp_path: Path) -> None:
    hindsight = {"samples": {"hindsight": "trust_editor"}, "select": {"threshold": 0.9}}
    construct(configure_construct(edited, tmp_path / "d", source={"scores": "run"}, **hindsight))
    rows = [row for row in read_samples(tmp_path / "d") if row["origin"] == "hindsight"]
    lost = [row for row in rows if row["record_id"] == "lost"]
    assert {row["instruction"] for row in lost} == {"rotate it a quarter turn clockwise, then mirror it."}
    assert [row["kind"] for row in lost] == ["start", "continue", "stop"]
    detour = {row["instruction"] for row in rows if row["record_id"] == "detour"}
    assert detour == {"make it sepia, then flip it upside down."}


def test_scores_of_an_evaluation(edited: Path, tmp_path: Path) -> None:
    words = ["evaluate", str(edited), "--output", str(tmp_path / "scores"), "--set", "run_id=e"]
    judge = ["--judge", "rules", "--set", "backend=inline"]
    assert main([*words, *judge]) == 0
    scored = {"scores": str(tmp_path / "scores" / "e")}
    found = construct(configure_construct(edited, tmp_path / "d", source=scored, select={"threshold": 0.9}))
    assert found["select"]["counts"]["dropped.below_threshold"] == 1
    with pytest.raises(ConfigError, match="is a run of the job edit"):
        construct(
            configure_construct(edited, tmp_path / "e", source={"scores": str(edited)}, select={"keep": 1})
        )


def test_a_missing_score_is_refused_or_dropped(edited: Path, tmp_path: Path) -> None:
    words = ["evaluate", str(edited), "--output", str(tmp_path / "scores"), "--set", "run_id=e"]
    few = ["--judge", "rules", "--set", "backend=inline", "--set", "sample=2"]
    assert main([*words, *few]) == 0
    scored = {"scores": str(tmp_path / "scores" / "e")}
    with pytest.raises(ConfigError, match="has no score"):
        construct(configure_construct(edited, tmp_path / "d", source=scored, select={"keep": 1}))
    found = construct(
        configure_construct(edited, tmp_path / "e", source=scored, select={"keep": 1, "unscored": "drop"})
    )
    counts = found["select"]["counts"]
    assert counts["dropped.unscored"] + counts["chosen"] == counts["trajectories"] == 4


def test_selection_that_needs_scores_asks_for_them(edited: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"select.keep needs scores"):
        configure_construct(edited, tmp_path / "d", select={"keep": 1})


def test_a_call_killed_after_any_of_its_writes_goes_on_and_ends_alike(
    edited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill leaves is a beginning of the files in the order of their creation: each such is tried."""
    small = {"samples": {"part_rows": 3}, "source": {"scores": "run"}}
    whole = tmp_path / "d"
    made: list[Path] = []
    create = Store.create

    def note_order(store: Store, key: str, data: Any) -> bool:  # file times are too coarse to tell
        made.append(whole / key)
        return create(store, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "create", note_order)
        construct(configure_construct(edited, whole, **small))
    assert sorted(made) == sorted(path for path in whole.rglob("*") if path.is_file())
    contents = {path: path.read_bytes() for path in made}
    assert len([path for path in made if path.match("samples/*.parquet")]) > 2
    for count in range(len(made)):
        for path in made[count:]:
            path.unlink(missing_ok=True)
        construct(configure_construct(edited, whole, **small))
        assert {path: path.read_bytes() for path in made} == contents, made[count]
        assert len([path for path in whole.rglob("*") if path.is_file()]) == len(made)


def test_a_killed_process_goes_on(edited: Path, tmp_path: Path) -> None:
    config = configure_construct(edited, tmp_path / "d", samples={"part_rows": 1})
    file = tmp_path / "c.json"
    file.write_text(json.dumps(config.model_dump(mode="json", exclude_none=True)))
    begun = subprocess.Popen([sys.executable, "-m", "mira_batch.cli", "construct", "--config", str(file)])
    while begun.poll() is None and not list(tmp_path.glob("d/samples/*.parquet")):
        time.sleep(0.001)
    begun.kill()
    begun.wait(30)
    whole = construct(config.model_copy(update={"output": ConstructOutput(uri=str(tmp_path / "whole"))}))
    assert construct(config)["samples"] == whole["samples"]


def test_a_second_call_writes_nothing_and_other_settings_are_refused(edited: Path, tmp_path: Path) -> None:
    first = construct(configure_construct(edited, tmp_path / "d"))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "d").rglob("*") if path.is_file()}
    assert construct(configure_construct(edited, tmp_path / "d")) == first
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "d").rglob("*") if path.is_file()}
    with pytest.raises(RunConflict, match=r"split\.seed: was 0, now 1"):
        construct(configure_construct(edited, tmp_path / "d", split={"val_fraction": 0.4, "seed": 1}))


def test_a_source_that_is_not_there_is_told_before_anything_is_made(edited: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="-typo: holds no run of the edit job"):
        construct(configure_construct(Path(f"{edited}-typo"), tmp_path / "d"))
    assert not [path for path in (tmp_path / "d").iterdir() if path.is_dir()]
    assert construct(configure_construct(edited, tmp_path / "d"))["card"]["samples"]  # at the same output


def test_a_stage_by_itself_needs_those_before_it(
    edited: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.json"
    config.write_text(
        json.dumps(configure_construct(edited, tmp_path / "d").model_dump(mode="json", exclude_none=True))
    )
    capfd.readouterr()
    assert main(["construct", "--config", str(config), "--stage", "samples", "--json"]) == 2
    assert "needs select, which is not done" in json.loads(capfd.readouterr().out)["error"]
    assert main(["construct", "--config", str(config), "--stage", "select"]) == 0
    capfd.readouterr()
    assert main(["construct", "--config", str(config), "--json"]) == 0
    card = json.loads(capfd.readouterr().out)["card"]
    assert card == json.loads((tmp_path / "d" / "card.json").read_text())
    assert "## Licences of the sources, the strictest first" in (tmp_path / "d" / "card.md").read_text()


def test_only_what_people_approved_of(edited: Path, tmp_path: Path) -> None:
    table = pq.read_table(next(edited.glob("results/*.parquet")), columns=["record_id", "result_digest"])
    row = table.to_pylist()[0]
    decisions = tmp_path / "decisions.jsonl"
    decisions.write_text(json.dumps(row | {"decision": "approve"}) + "\n")
    approved = {"approved_only": True, "decisions": str(decisions)}
    found = construct(configure_construct(edited, tmp_path / "d", source=approved))
    assert found["select"]["counts"] == {"trajectories": 4, "chosen": 1, "dropped.not_approved": 3}
    assert {sample["record_id"] for sample in read_samples(tmp_path / "d")} == {row["record_id"]}
    whole = configure_construct(
        edited.parent, tmp_path / "e", source=approved
    )  # the catalogue of that one run
    assert construct(whole)["select"]["counts"] == found["select"]["counts"]


def test_what_people_rejected_is_left_out(edited: Path, tmp_path: Path) -> None:
    table = pq.read_table(edited / "results", columns=["record_id", "result_digest"])
    bad, good, *_ = table.to_pylist()
    decisions = tmp_path / "decisions.jsonl"
    lines = [bad | {"decision": "approve"}, bad | {"decision": "reject"}, good | {"decision": "approve"}]
    decisions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rejected = {"rejected": "drop", "decisions": str(decisions)}
    found = construct(configure_construct(edited, tmp_path / "d", source=rejected))
    assert found["select"]["counts"] == {"trajectories": 4, "chosen": 3, "dropped.rejected": 1}
    assert bad["record_id"] not in {sample["record_id"] for sample in read_samples(tmp_path / "d")}
    with pytest.raises(ValueError, match="rejected: has no effect with approved_only"):
        configure_construct(edited, tmp_path / "e", source=rejected | {"approved_only": True})


def test_an_original_that_changed_is_counted_and_left_out(edited: Path, tmp_path: Path) -> None:
    path = edited.parents[1] / "images" / "lost.png"
    kept = path.read_bytes()
    try:
        Image.new("RGB", (8, 8)).save(path)
        counts = construct(configure_construct(edited, tmp_path / "d"))["samples"]["counts"]
    finally:
        path.write_bytes(kept)
    assert counts["lost.original_changed"] == 1 and counts["demonstrations"] == 3


def test_a_construct_without_any_sample_says_so(
    edited: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = configure_construct(edited, tmp_path / "d", source={"approved_only": True})
    file = tmp_path / "c.json"
    file.write_text(json.dumps(config.model_dump(mode="json", exclude_none=True)))
    capfd.readouterr()
    assert main(["construct", "--config", str(file)]) == 0
    said = capfd.readouterr().out
    assert "without not approved 4" in said and "no samples were made" in said
