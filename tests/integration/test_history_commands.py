"""What was asked of a record and of runs, as a user asks it: explain, show, replay, diff."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.support.runs.commands import EMBEDDED, Commands
from tests.support.runs.nights import Nights

TWO = "make it sepia, then rotate it 90 degrees"
FORMAT = 'pixels.output.format: was "png", now "webp"'
ODD = ('it\'s/../a "b" -- c', "ünï ✓ 日本; $HOME")


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Commands:
    """A night of four records of the embedded models, the last of which has no image."""
    nights = Nights(tmp_path)
    nights.add(4, TWO)
    nights.rows["rec-0003"]["image"] = "nowhere.png"
    return Commands(nights, capfd, **EMBEDDED)


def first(lines: str) -> str:
    return lines.splitlines()[0]


def test_a_record_is_shown_step_by_step(cli: Commands, tmp_path: Path) -> None:
    run, out = cli.run(), cli.nights.output
    for where in (out, str(run)):
        shown = cli.text("show", where, "rec-0000", "--images", tmp_path / f"from-{Path(where).name}")
        assert first(shown) == f"rec-0000 {TWO}" and "ok  policy_stop" in shown
        assert "1  make the image sepia" in shown and "2  rotate the image 90 degrees clockwise" in shown
        assert f"in   {run}" in shown and "result.png" in shown
    sizes = {}
    for path in (tmp_path / f"from-{run.name}").iterdir():
        with Image.open(path) as image:
            sizes[path.name] = image.size
    assert sizes == {"step-01.png": (12, 8), "step-02.png": (8, 12), "result.png": (8, 12)}
    found = cli.json("show", out, "rec-0000")
    assert (found["run"], found["status"], found["images"]) == (str(run), "ok", [])
    assert [step["index"] for step in found["steps"]] == [0, 1] and "image" not in found["steps"][0]
    failed = cli.text("show", out, "rec-0003", "--images", tmp_path / "none")
    assert "failed  image_unreadable: " in failed and not list((tmp_path / "none").iterdir())


def test_pictures_of_two_trajectories_are_never_mixed(cli: Commands, tmp_path: Path) -> None:
    cli.nights.rows["rec-0001"]["instruction"] = "make it sepia"
    cli.run()
    out, pictures = cli.nights.output, tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "notes.txt").write_text("mine")
    cli.text("show", out, "rec-0000", "--images", pictures)
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    assert len(before) == 4
    for record in ("rec-0001", "rec-0000", "rec-0003"):
        error = cli.json("show", out, record, "--images", pictures, code=2)["error"]
        assert error.startswith(f"{pictures}: has result.png already") and "name another folder" in error
        assert {path: path.read_bytes() for path in pictures.iterdir()} == before
    (pictures / "result.png").unlink()
    error = cli.json("show", out, "rec-0001", "--images", pictures, code=2)["error"]
    assert "has step-01.png already" in error and not (pictures / "result.png").exists()


def test_what_cannot_be_shown_is_said(cli: Commands, tmp_path: Path) -> None:
    run, out = cli.run(), cli.nights.output
    for command in ("show", "replay"):
        assert "has a record 'nobody'" in cli.json(command, out, "nobody", code=2)["error"]
        assert "has no result of a record 'nobody'" in cli.json(command, run, "nobody", code=2)["error"]
        assert "no such directory" in cli.json(command, tmp_path / "no", "rec-0000", code=2)["error"]
    (tmp_path / "file").touch()
    refused = cli.json("show", out, "rec-0000", "--images", tmp_path / "file", code=2)
    assert "the images can't be written there" in refused["error"]


def test_a_run_of_another_job_is_no_damaged_one(cli: Commands, tmp_path: Path) -> None:
    run = cli.run()
    words = ("inspect", tmp_path / "m.jsonl", "--output", tmp_path / "facts", "--set", "backend=inline")
    facts = cli.json(*words)["run"]
    for words in (("show", facts, "rec-0000"), ("replay", facts, "rec-0000"), ("diff", run, facts)):
        assert (
            cli.json(*words, code=2)["error"]
            == f"{facts}: is a run of the job inspect; give one of the edit job"
        )
    assert "holds no run" in cli.json("diff", cli.nights.output, run, code=2)["error"]


def test_record_ids_are_taken_as_they_are(cli: Commands) -> None:
    for name, odd in zip(list(cli.nights.rows), ODD, strict=False):
        cli.nights.rows[name]["record_id"] = odd
    cli.run()
    for odd in ODD:
        assert cli.json("show", cli.nights.output, odd)["record_id"] == odd
        assert cli.json("explain", odd, "--config", cli.config)["cause"] == "unchanged"
        assert first(cli.text("replay", cli.nights.output, odd)) == f"{odd} bitwise the same"
        where = "record_id = '{}'".format(odd.replace("'", "''"))
        again = cli.json("retry", "--config", cli.config, "--where", where)
        assert (again["planned"], again["ok"]) == (1, 1)


def test_step_images_kept_as_references_are_found_wherever_the_run_is(cli: Commands, tmp_path: Path) -> None:
    cli.settings["output"] = {"uri": cli.nights.output, "step_images": "reference"}
    run, names = cli.run(), {"step-01.png", "step-02.png", "result.png"}
    assert 'alt="Step 1"' in (page := make_report(cli)) or "Step 1" in page
    assert "not found" not in page

    def check(where: Path, run: Path) -> None:
        pictures = tmp_path / f"pictures-{run.name}-{where.name}"
        cli.text("show", where, "rec-0000", "--images", pictures)
        assert {path.name for path in pictures.iterdir()} == names
        assert cli.json("replay", where, "rec-0000", "--from-step", "2")["verdict"] == "same"
        assert cli.json("verify", run)["whole"]

    check(Path(cli.nights.output), run)
    for name in ("rec-0001", "rec-0002"):
        cli.nights.rows[name]["instruction"] = "mirror it"
    cli.run()
    assert cli.json("forget", cli.nights.output)["copied"] == {run.name: 1}
    check(Path(cli.nights.output), run.with_name(f"{run.name}.kept1"))
    moved = tmp_path / "steps" / "moved"
    moved.parent.mkdir()
    Path(cli.nights.output).rename(moved)
    check(moved, moved / f"{run.name}.kept1")


def make_report(cli: Commands) -> str:
    return Path(cli.json("run", "--config", cli.config)["report"]).read_text()


def test_the_embedded_models_give_bitwise_the_same_again(cli: Commands) -> None:
    cli.run()
    for name, steps in (("rec-0000", 2), ("rec-0003", 0)):
        for step in range(1, steps + 2):
            words = ("replay", cli.nights.output, name, "--from-step", str(step))
            assert first(cli.text(*words)) == f"{name} bitwise the same"
            assert cli.json(*words) == {"verdict": "same", "difference": None, "models": {}}
    beyond = cli.json("replay", cli.nights.output, "rec-0000", "--from-step", "4", code=2)
    assert beyond["error"] == "--from-step 4: should be at most 3: 2 steps were made"


@pytest.mark.parametrize(
    ("change", "role", "step", "now"),
    [
        ("editor={type: simulated}", "editor", 0, ""),
        (
            "editor={type: simulated, faults: [{records: '*', does: raise, step: 0}]}",
            "editor",
            0,
            "editor_failed",
        ),
        ("policy={type: passthrough}", "policy", 0, f"<edit>{TWO}"),
        ("policy={type: simulated}", "policy", 0, "editor_failed"),  # it asks for what pillow can't do
        ("judge={model: {type: rules}}", "judge", 0, "score 0.5"),
        ("judge={model: {type: simulated}, satisfied: 0.0}", "judge", 0, "score"),
        ("limits.max_steps=1", "limits", 1, "max_steps"),
    ],
)
def test_a_replay_says_which_component_moved(
    cli: Commands, change: str, role: str, step: int, now: str
) -> None:
    cli.run()
    words = ("replay", cli.nights.output, "rec-0000", "--set", change)
    found = cli.json(*words, code=1)
    assert found["verdict"] == "different"
    assert (found["difference"]["role"], found["difference"]["step"]) == (role, step)
    assert now in found["difference"]["now"]
    assert set(found["models"]) == {role} - {"limits"}
    said = cli.text(*words, code=1)
    assert first(said) == "rec-0000 different" and f"the {role} moved at step {step + 1}" in said


def test_a_failed_edit_that_succeeds_now_is_the_editors_doing(cli: Commands) -> None:
    broken = {"type": "simulated", "faults": [{"records": "*", "does": "raise", "step": 1}]}
    cli.run(policy={"type": "simulated", "steps": {"exact": {"*": 2}}}, editor=broken)
    found = cli.json("replay", cli.nights.output, "rec-0000", "--set", "editor={type: simulated}", code=1)
    assert (found["difference"]["role"], found["difference"]["step"]) == ("editor", 1)
    assert "editor_failed: RuntimeError: scripted failure" in found["difference"]["was"]


def test_a_replay_over_another_image_says_so(cli: Commands) -> None:
    cli.run()
    cli.nights.paint("rec-0000", 200)
    cli.nights.store.delete(["rec-0001.png"])
    for words in (("rec-0000",), ("rec-0000", "--from-step", "2"), ("rec-0001",)):
        found = cli.json("replay", cli.nights.output, *words, code=1)["difference"]
        assert (found["role"], found["step"]) == ("input", None)
    assert found["now"].startswith("image_unreadable: ") and found["now"].endswith("no such file")
    assert "the input is another" in cli.text("replay", cli.nights.output, "rec-0000", code=1)


def change_all(cli: Commands) -> dict[str, str]:
    """Another manifest, and what becomes of its records."""
    nights = cli.nights
    nights.add(4, "mirror it")
    nights.rows["rec-0000"]["instruction"] = "mirror it"
    nights.paint("rec-0001", 200)
    nights.paint("rec-0002", 3, optimize=True, compress_level=1)
    nights.rows["rec-0006"]["image"] = ""
    twice = nights.rows["rec-0007"]
    nights.rows |= {"unusable": twice | {"instruction": ""}, "rec-0007": twice}
    nights.rows["rec-0007"] = nights.rows.pop(
        "rec-0007"
    )  # behind the row of the same record that can't be used
    return {
        "rec-0000": "instruction", "rec-0001": "image", "rec-0002": "same_pixels", "rec-0003": "failed",
        "rec-0004": "new", "rec-0006": "rejected", "rec-0007": "new",
    }  # fmt: skip


def test_it_is_explained_why_a_record_would_run(cli: Commands) -> None:
    run, becomes = cli.run(), change_all(cli)
    del cli.nights.rows["rec-0005"]
    planned = cli.json("plan", "--config", cli.config)["causes"]
    for name, cause in becomes.items():
        found = cli.json("explain", name, "--config", cli.config)
        assert (found["record_id"], found["cause"]) == (name, cause)
        assert cause in planned, "a plan says the same"
    assert {name: cause["records"] for name, cause in planned.items()} == {
        "new": 2, "instruction": 1, "image": 1, "same_pixels": 1, "failed": 1, "rejected": 2,
    }  # fmt: skip
    said = cli.text("explain", "rec-0000", "--config", cli.config)
    assert said.splitlines()[:2] == [
        "rec-0000: instruction changed",
        f"  instruction: was {TWO!r}, now 'mirror it'",
    ]
    assert run.name in said and "current" in said
    assert "image: " in cli.text("explain", "rec-0001", "--config", cli.config)
    cannot = cli.json("explain", "rec-0006", "--config", cli.config)
    assert "m.jsonl:" in cannot["place"] and "image" in cannot["place"]
    other = cli.json("explain", "rec-0002", "--config", cli.config, "--set", "output.format=webp")
    assert other["cause"] == "image" and other["changes"][-1] == FORMAT


def test_what_is_known_of_a_record_that_is_gone_and_of_one_that_never_was(cli: Commands) -> None:
    run = cli.run()
    del cli.nights.rows["rec-0000"]
    gone = cli.json("explain", "rec-0000", "--config", cli.config)
    assert gone["cause"] == "gone" and [row["run"] for row in gone["history"]] == [run.name]
    never = cli.json("explain", "nobody", "--config", cli.config, code=1)
    assert (never["cause"], never["history"]) == ("unknown", [])
    said = cli.text("explain", "nobody", "--config", cli.config, code=1)
    assert "neither the manifest nor the catalogue has such a record" in said


def test_an_explanation_is_about_the_records_that_a_config_selects(cli: Commands) -> None:
    cli.run()
    cli.nights.rows["rec-0000"]["instruction"] = "mirror it"
    only = "select.where=record_id = 'rec-0001'"
    causes = {
        name: cli.json("explain", name, "--config", cli.config, "--set", only, "--set", "select.again=true")[
            "cause"
        ]
        for name in ("rec-0000", "rec-0001", "rec-0003")
    }
    assert causes == {"rec-0000": "not_selected", "rec-0001": "selected", "rec-0003": "not_selected"}


def test_a_history_has_every_run_the_newest_first(cli: Commands) -> None:
    runs = [cli.run().name]
    cli.nights.rows["rec-0000"]["instruction"] = "mirror it"
    runs.append(cli.run().name)
    cli.nights.rows["rec-0000"]["instruction"] = TWO
    cli.run()
    history = cli.json("explain", "rec-0000", "--config", cli.config)["history"]
    assert [(row["run"], row["current"]) for row in history] == [(runs[1], False), (runs[0], True)]


def test_two_runs_side_by_side(cli: Commands) -> None:
    old, becomes = cli.run(), change_all(cli)
    cli.nights.store.put("nowhere.png", cli.nights.store.get("rec-0001.png") or b"")
    new = cli.run(output={"uri": cli.nights.output, "format": "webp", "quality": 100})
    found = cli.json("diff", old, new)
    assert FORMAT in found["settings"]
    assert (found["same"], found["came"], found["went"]) == (1, ["rec-0004", "rec-0005", "rec-0007"], [])
    changed = {row["record_id"]: row for row in found["changed"]}
    assert set(changed) == {
        name for name, cause in becomes.items() if cause in ("instruction", "image", "failed")
    }
    assert changed["rec-0000"]["old_num_steps"] == 2 and changed["rec-0000"]["new_num_steps"] == 0
    assert found["moves"] == {"failed -> ok": 1}
    for side, run, statuses in (("old", old, {"ok": 3, "failed": 1}), ("new", new, {"ok": 7})):
        assert (found[side]["run"], found[side]["statuses"]) == (str(run), statuses)
        assert found[side]["records"] == sum(statuses.values())
    assert found["same"] + len(found["changed"]) + len(found["went"]) == found["old"]["records"]
    assert found["same"] + len(found["changed"]) + len(found["came"]) == found["new"]["records"]
    said = cli.text("diff", old, f"{new}/")
    assert "1 the same, 3 changed, 3 came, 0 went" in said and "1  failed -> ok" in said
    assert "rec-0000: policy_stop, other pixels" in said
    assert "rec-0003: image_unreadable -> policy_stop, other pixels" in said
    back = cli.json("diff", new, old)
    assert (back["came"], back["went"]) == (found["went"], found["came"])
    alike = cli.json("diff", old, old)
    assert (alike["same"], alike["changed"], alike["moves"], alike["settings"]) == (4, [], {}, [])
