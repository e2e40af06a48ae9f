"""Which step ruined a trajectory: real runs in the synthetic world, where the truth is known.

The policy is always right, but spoils two records at a step that the test chose, and gives up after that. In
branches, which have other names, it spoils nothing: so going on from before that step ends well.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_counterfactual, read_outputs, run
from mira_batch.cli import main
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, RunConflict, RunStopped, StoreError
from mira_batch.core.receipts import RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.report.write import Form, Report, write_report
from mira_batch.storage.counterfactual import VALUED_STEPS
from mira_batch.storage.stores import open_store
from mira_batch.train.counterfactual.run import find_values, plan
from tests.support.runs.counterfactuals import TRIES, configure, edit_settings, write_tasks
from tests.support.runs.disturbed import CLI, until
from tests.support.runs.drivers import Begin
from tests.support.runs.edits import verify_edits
from tests.unit.report.browsers import FOUND, MISSING, browse, opened
from tests.unit.report.parse import parse_page


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("counterfactual")
    return folder, write_tasks(folder)


@pytest.fixture(scope="module")
def ruined(world: tuple[Path, list[str]]) -> dict[str, int]:
    """The spoilt records, and at which step."""
    _, names = world
    return {names[0]: 1, names[2]: 0}


@pytest.fixture(scope="module")
def trunk(world: tuple[Path, list[str]], ruined: dict[str, int]) -> str:
    return run(load_config(edit_settings(world[0], ruined))).run


@pytest.fixture(scope="module")
def found(world: tuple[Path, list[str]], trunk: str) -> tuple[Path, dict[str, Any]]:
    output = world[0] / "whole"
    return output, find_values(configure(trunk, output), lambda text: None)


def test_the_planted_step_is_found_and_no_other(
    found: tuple[Path, dict[str, Any]], ruined: dict[str, int], world: tuple[Path, list[str]]
) -> None:
    output, result = found
    table = read_counterfactual(str(output))
    assert table.schema.equals(VALUED_STEPS)
    rows = table.to_pylist()
    assert {row["record_id"]: row["step"] for row in rows if row["ruined"]} == ruined
    assert (result["trajectories"], result["ruined"], result["none_named"]) == (4, 2, 2)
    for row in rows:
        if row["ruined"]:
            assert row["value_before"] == 1.0 and row["advantage"] == row["end_score"] - 1 < 0
            assert row["advantage_low"] <= row["advantage"] <= row["advantage_high"] < 0
        else:
            assert row["advantage"] == 0, "the policy would have come to the same from the other states"
        assert (row["judged_before"], row["left_out"]) == (TRIES, [])
    assert [row["record_id"] for row in rows if row["action"] == "stop"] == world[1]


def test_what_a_step_did_for_the_end_is_the_score_without_it(
    found: tuple[Path, dict[str, Any]], ruined: dict[str, int]
) -> None:
    rows = read_counterfactual(str(found[0])).to_pylist()
    for row in rows:
        if row["action"] == "stop":
            assert row["drop_effect"] is None and row["judged_drops"] == 0
        elif (
            row["ruined"] and row["step"]
        ):  # without the wrong edit the one before it, which was right, counts
            assert row["drop_effect"] < 0 and row["drop_score"] > row["end_score"] == 0
        elif row["ruined"]:  # without it nothing was made, which is worth as little
            assert row["drop_effect"] == row["drop_score"] == row["end_score"] == 0
        elif row["record_id"] not in ruined:  # one of three clauses is missing
            assert row["drop_effect"] > 0 and row["drop_score"] < row["end_score"] == 1.0


def test_what_was_tried_in_its_place_is_told(
    found: tuple[Path, dict[str, Any]], ruined: dict[str, int]
) -> None:
    rows = read_counterfactual(str(found[0])).to_pylist()
    (row,) = [row for row in rows if row["ruined"] and row["step"] == 1]
    assert [(each["score"], each["steps"]) for each in row["tried"]] == [(1.0, 3)] * TRIES
    assert all(each["edit"] not in (None, row["edit"]) for each in row["tried"])
    (end,) = [each for each in rows if each["record_id"] == row["record_id"] and each["action"] == "stop"]
    assert [each["edit"] for each in end["tried"]] == [None] * TRIES, "from there it stops again"


def test_counts_add_up_and_the_plan_said_what_it_takes(
    found: tuple[Path, dict[str, Any]], trunk: str, world: tuple[Path, list[str]]
) -> None:
    output, result = found
    steps = sum(read_outputs(trunk, ["num_steps"])["num_steps"].to_pylist())
    planned = plan(configure(trunk, world[0] / "nowhere"))
    assert planned.dump() == result["plan"] and not (world[0] / "nowhere").exists()
    assert planned.rows == {"chosen": 4, "not_chosen": 0}
    assert (planned.steps, planned.states, planned.drops) == (steps, steps + 4, steps)
    assert planned.continuations == TRIES * (steps + 4) == result["continuations"]["ends"]
    assert planned.judgings == planned.continuations + steps + 4
    judged = [result[name]["judged"] for name in ("continuations", "laid_down")]
    assert sum(judged) == planned.judgings and result["unusable"] == {"records": 0, "names": []}
    assert result["steps"] == steps + 4 == result["with_advantage"]
    assert result["with_drop_effect"] == result["edits"] == steps
    states, laid = (
        read_outputs(str(output / name / "run"), ["num_steps", "branch"]) for name in ("states", "laid")
    )
    own = sum(row["num_steps"] - row["branch"]["steps"] for row in (*states.to_pylist(), *laid.to_pylist()))
    assert own >= planned.edits and own <= planned.most_edits
    for name in ("states", "laid"):
        assert verify_edits(open_store(str(output / name / "run"), StorageConfig())).problems == []


def test_a_run_that_nothing_ruined_names_no_step(world: tuple[Path, list[str]]) -> None:
    folder, names = world
    done = run(load_config(edit_settings(folder, {}, run_id="good", rollouts=2, first=2)))
    records = [f"{names[0]}#rollout-1", names[1]]
    result = find_values(configure(done.run, folder / "good", records=records, drops=0), lambda text: None)
    assert (result["trajectories"], result["ruined"], result["with_drop_effect"]) == (3, 0, 0)
    assert result["rows"] == {"chosen": 3, "not_chosen": 1}
    rows = read_counterfactual(str(folder / "good")).to_pylist()
    looked_at = {(names[0], 1), (names[1], 0), (names[1], 1)}
    assert {(row["record_id"], row["rollout"]) for row in rows} == looked_at
    assert {row["advantage"] for row in rows} == {0.0} and {row["end_score"] for row in rows} == {1.0}


@pytest.mark.parametrize("phase", [2, *(pytest.param(phase, marks=pytest.mark.soak) for phase in (0, 1, 3))])
def test_the_same_command_goes_on_wherever_it_was_cut(
    found: tuple[Path, dict[str, Any]], trunk: str, tmp_path: Path, phase: int
) -> None:
    """Cut in each of the four runs; made in another place, values are the same, since nothing is drawn."""
    config, stop, told = configure(trunk, tmp_path / "cut"), StopRequest(), list[str]()

    def note(text: str) -> None:
        told.append(text)
        if sum(words in line for line in told for words in ("goes on", "are laid", "are judged")) > phase:
            stop.interrupt("cut")

    with pytest.raises(RunStopped):
        find_values(config, note, stop)
    with pytest.raises(StoreError, match="holds no counterfactual that is done"):
        read_counterfactual(str(tmp_path / "cut"))
    result = find_values(config, lambda text: None)
    whole, rows = (read_counterfactual(str(place)).to_pylist() for place in (found[0], tmp_path / "cut"))
    assert rows == whole and result == found[1]
    assert find_values(config, told.append) == result and "complete already" in told[-1]


@pytest.mark.faults
@pytest.mark.soak
@pytest.mark.parametrize(
    "moment", ["states/run/results", "states-scores/run/plan", "laid/run/plan", "laid-scores/run"]
)
def test_it_goes_on_after_a_kill(
    found: tuple[Path, dict[str, Any]], trunk: str, tmp_path: Path, begin: Begin, moment: str
) -> None:
    config, output = tmp_path / "c.json", tmp_path / "killed"
    config.write_text(configure(trunk, output).model_dump_json(exclude_unset=True))
    driver = begin(*CLI, "counterfactual", "--config", config)
    until(lambda: (output / moment).exists() or driver.process.poll() is not None, 300)
    driver.process.send_signal(signal.SIGKILL)
    driver.process.wait()
    assert not (output / "result.json").exists(), driver.end()
    assert find_values(configure(trunk, output), lambda text: None) == found[1]
    assert read_counterfactual(str(output)).equals(read_counterfactual(str(found[0])))


def test_the_command_says_what_it_takes_and_what_it_found(
    found: tuple[Path, dict[str, Any]],
    trunk: str,
    ruined: dict[str, int],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    output, result = found
    config = tmp_path / "c.json"
    config.write_text(configure(trunk, output).model_dump_json(exclude_unset=True))
    call = ["counterfactual", "--config", str(config)]
    assert main([*call, "--plan", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == result["plan"]
    assert main([*call, "--plan"]) == 0
    assert f"{result['plan']['judgings']} judgings" in capfd.readouterr().out
    assert main([*call, "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == result
    assert main(call) == 0
    told = capfd.readouterr().out
    assert "4 trajectories: a step ruined 2, of 2 none can be named" in told
    assert all(f"  {name}, step {step + 1}: remove the " in told for name, step in ruined.items())
    assert main(["report", trunk, "--counterfactual", str(output), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["counterfactual"]["joined"] == 4
    assert main(["report", trunk, "--review", "--counterfactual", str(output)]) == 2


def test_another_counterfactual_is_refused_in_its_place(
    found: tuple[Path, dict[str, Any]], trunk: str
) -> None:
    with pytest.raises(
        RunConflict, match=r"a counterfactual of other settings or data \(learning\.continuations\)"
    ):
        find_values(configure(trunk, found[0], continuations=TRIES + 1), lambda text: None)


def test_what_cannot_be_had_is_left_out_named_and_counted(
    world: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """An image of a step is gone: the states from there on can't be had, and no value is made up for them."""
    folder, names = world
    given = edit_settings(folder, {}, run_id="referenced")
    given["output"] |= {"step_images": "reference"}
    trunk = run(load_config(given)).run
    outputs = read_outputs(trunk, ["record_id", "num_steps", "steps"]).to_pylist()
    (row,) = [each for each in outputs if each["record_id"] == names[0]]
    Path(row["steps"][1]["image"]["path"]).unlink()
    result = find_values(configure(trunk, tmp_path / "out", records=[names[0]]), lambda text: None)
    steps = row["num_steps"]
    lost = [f"{names[0]} after {k}" for k in range(2, steps + 1)]
    lost += [f"{names[0]} as it ended", *(f"{names[0]} without {k}" for k in range(2, steps))]
    assert result["unusable"] == {"records": len(lost), "names": sorted(lost)}
    assert result["continuations"]["left_out"] == {"state_unusable": TRIES * (steps - 1)}
    assert result["continuations"]["ends"] == result["continuations"]["judged"] + TRIES * (steps - 1)
    rows = read_counterfactual(str(tmp_path / "out")).to_pylist()
    assert [each["advantage"] for each in rows] == [0.0] + [None] * (len(rows) - 1)
    assert rows[2]["left_out"] == [{"kind": "state_unusable", "count": TRIES}]
    assert all(each["drop_effect"] is None and each["end_score"] is None for each in rows)
    assert rows[0]["drop_score"] is not None and rows[-1]["value_after"] is None


def test_what_is_no_source_is_refused_before_anything_is_spent(
    world: tuple[Path, list[str]], trunk: str, tmp_path: Path
) -> None:
    folder, names = world
    given = edit_settings(folder, {}, run_id="lossy")
    given["output"] |= {"format": "jpeg"}
    lossy = run(load_config(given)).run
    for uri, more, words in (
        (lossy, {}, "without loss"),
        (trunk, {"records": ["nobody"]}, "records: .* has no nobody"),
        (trunk, {"max_steps": 1, "records": [names[1]]}, "no trajectory is left .*too long 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            find_values(configure(uri, tmp_path / "out", **more), lambda text: None)
    assert not (tmp_path / "out" / "states").exists()


# In the report


@pytest.fixture(scope="module")
def shown(
    world: tuple[Path, list[str]], trunk: str, found: tuple[Path, dict[str, Any]], ruined: dict[str, int]
) -> Report:
    config = load_config(edit_settings(world[0], ruined))
    summary = RunSummary(trunk, "trunk", planned=4, committed=4)
    return write_report(config, summary, Form(most=3, anew=True, counterfactual=str(found[0])))


def test_the_report_has_the_curve_and_pictures_of_the_step(shown: Report, ruined: dict[str, int]) -> None:
    page = parse_page(Path(shown.page).read_text(encoding="utf-8"))
    assert shown.credit is not None and (shown.credit.joined, shown.credit.absent) == (4, 0)
    records, per = page.data["records"], page.data["per"]
    assert len(records) == 3 and "a step ruined it" in {record["credit"] for record in records}
    for place, record in enumerate(records):
        credit = page.chunks[f"strips-{place // per}"][place % per]["credit"]
        labels = [entry["label"] for entry in credit["pictures"]["entries"]]
        if (step := ruined.get(record["id"])) is None:
            assert (record["credit"], credit["ruin"], labels) == ("no step can be named", None, [])
            assert credit["values"] == [[1.0, 0.0]] * 5 and credit["end"] == 1.0
            continue
        assert (record["credit"], credit["ruin"]) == ("a step ruined it", step)
        after = [f"Before step {step + 1}", f"After step {step + 1}", "The end without it", "Another end"]
        assert labels == after and all("picture" in entry for entry in credit["pictures"]["entries"])
        assert credit["values"] == [[1.0, 0.0]] * (step + 1) + [[0.0, 0.0]] * 2
        assert [each["advantage"] for each in credit["steps"]] == [0.0] * step + [-1.0, 0.0]


@pytest.mark.skipif(FOUND is None, reason=MISSING)
def test_a_browser_draws_it(shown: Report, ruined: dict[str, int]) -> None:
    with browse() as browser, opened(browser, f"file://{shown.page}") as page:
        page.set_default_timeout(60_000)
        spoilt = page.locator("article", has_text="ruined it").first
        spoilt.locator(".credit svg").wait_for()
        assert spoilt.locator(".credit line.ruin").count() == 1
        assert spoilt.locator(".credit .worth li.ruin b").inner_text() == "−1.00"
        assert spoilt.locator(".credit .trajectory img").count() == 4
        page.locator("#chart-credit button", has_text="a step ruined it").click()
        assert set(page.locator("article h3 bdi").all_inner_texts()) <= set(ruined)


def test_a_counterfactual_of_another_run_is_refused(
    world: tuple[Path, list[str]], found: tuple[Path, dict[str, Any]]
) -> None:
    given = edit_settings(world[0], {}, run_id="else", first=1)
    config = load_config(given)
    summary = run(config)
    with pytest.raises(RunConflict, match="looked at no trajectory"):
        write_report(config, summary, Form(anew=True, counterfactual=str(found[0])))
