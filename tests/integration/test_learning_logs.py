"""What a run logs for those who train on it: tokens of answers, and candidates that were not taken."""

from __future__ import annotations

import io
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mira_batch import load_config, read_outputs, run
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, UserError
from mira_batch.core.identity import frame_of
from mira_batch.core.prompt import PROMPT_VERSION
from mira_batch.storage import schema
from mira_batch.storage.stores import open_store
from tests.support import ROOT
from tests.support.models.deadly import deadly
from tests.support.models.spoken import silent, spoken
from tests.support.models.tiny import trained_policy
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import verify_edits
from tests.support.runs.program import call

RECORDS = 2
JUDGE = {"model": {"type": "simulated", "low": 0.2, "high": 0.9}, "attempts": 3, "candidates": 3}
LOGGED = {"tokens": True, "candidates": "images"}
TWO = {"steps": {"exact": {"*": 2}}}
ALL = list(schema.RESULTS.names)


def configure(tmp_path: Path, output: dict[str, Any], **more: Any) -> dict[str, Any]:
    manifest = tmp_path / "catalogue" / "manifest.jsonl"
    if not manifest.exists():
        make_catalogue(tmp_path / "catalogue", RECORDS)
    base: dict[str, Any] = {"policy": spoken(**TWO), "editor": {"type": "simulated"}, "judge": JUDGE}
    base["workers"] = {"records_in_flight": 1, "shard_size": 4}
    given = settings(manifest, tmp_path / "out", **(base | more))
    given["output"] = {**given["output"], **output}
    return given


def rows_of(where: str) -> list[dict[str, Any]]:
    assert verify_edits(open_store(where, StorageConfig())).problems == []
    return sorted(read_outputs(where, ALL).to_pylist(), key=lambda row: row["record_id"])


def test_nothing_of_it_is_there_by_default(tmp_path: Path) -> None:
    for row in rows_of(run(load_config(configure(tmp_path, {}))).run):
        assert row["answers"] is row["judgements"] is row["rollout"] is None
        assert row["prompt_version"] == "spoken/1"
    simulated = configure(tmp_path, {}, policy={"type": "simulated", **TWO}, run_id="none")
    assert {row["prompt_version"] for row in rows_of(run(load_config(simulated)).run)} == {None}


def test_each_answer_has_its_tokens_also_the_last_and_malformed_ones(tmp_path: Path) -> None:
    fault = {"records": "rec-00001", "step": 1, "does": "malformed", "times": 1}
    given = configure(tmp_path, {"tokens": True}, policy=spoken(**TWO, faults=[fault]), judge=None)
    first, second = rows_of(run(load_config(given)).run)
    said = [(each["step"], each["attempt"], each["kind"]) for each in first["answers"]]
    assert said == [(0, 0, "edit"), (1, 0, "edit"), (2, 0, "stop")]
    said = [(each["step"], each["attempt"], each["kind"]) for each in second["answers"]]
    assert said == [(0, 0, "edit"), (1, 0, "malformed"), (1, 1, "edit"), (2, 0, "stop")]
    assert [bool(each["problem"]) for each in second["answers"]] == [False, True, False, False]
    for each in (*first["answers"], *second["answers"]):
        assert "".join(map(chr, each["tokens"])) == each["text"]
        assert len(each["logprobs"]) == len(each["tokens"])
    assert [each["text"] for each in first["answers"][:2]] == [step["raw_answer"] for step in first["steps"]]
    assert len({each["seed"] for each in second["answers"]}) == 4


def test_a_record_that_fails_keeps_the_answers_it_had(tmp_path: Path) -> None:
    editor = {"type": "simulated", "faults": [{"records": "rec-00000", "step": 1, "does": "raise"}]}
    given = configure(tmp_path, {"tokens": True}, editor=editor, judge=None)
    first, _ = rows_of(run(load_config(given)).run)
    assert (first["status"], first["num_steps"]) == ("failed", 1)
    assert [(each["step"], each["kind"]) for each in first["answers"]] == [(0, "edit"), (1, "edit")]


def test_candidates_that_were_not_taken_keep_their_images_and_verdicts(tmp_path: Path) -> None:
    for where in ("embed", "reference"):
        given = configure(tmp_path, {"candidates": "images", "step_images": where}, run_id=where)
        done = run(load_config(given))
        for row in rows_of(done.run):
            assert len(row["judgements"]) == len(row["candidates"]) == 3 * row["num_steps"] > 3
            for drawn, judged in zip(row["candidates"], row["judgements"], strict=True):
                place = ("step", "attempt", "after")
                assert [drawn[name] for name in place] == [judged[name] for name in place]
                step = row["steps"][judged["step"]]
                assert (judged["image"] is None) == (judged["attempt"] == step["attempt"])
                assert judged["axes"] == [{"name": "drawn", "value": drawn["score"], "low": 0.2, "high": 0.9}]
                assert judged["protocol"] == "simulated-judge/1" and judged["reason"] and judged["raw"] == []
                if judged["image"] is not None:
                    assert frame_of(open_image(done.run, judged["image"])).digest == judged["after"]


def open_image(where: str, image: dict[str, Any]) -> Image.Image:
    path = image["path"]
    assert (image["bytes"] is None) == (path is not None)
    return Image.open(io.BytesIO(image["bytes"]) if path is None else path)


def test_candidates_of_equal_pixels_have_one_image(tmp_path: Path) -> None:
    editor = {"type": "simulated", "faults": [{"records": "*", "does": "nothing"}]}
    given = configure(tmp_path, {"candidates": "images"}, editor=editor)
    for row in rows_of(run(load_config(given)).run):
        assert len(row["judgements"]) > 2
        assert {judged["image"] for judged in row["judgements"]} == {None}


@pytest.mark.faults
def test_a_run_that_was_killed_has_the_tokens_and_images_of_before(tmp_path: Path) -> None:
    given = configure(
        tmp_path, LOGGED, editor=deadly({"rec-00000/1": "kill"}, once=tmp_path), run_id="killed"
    )
    (tmp_path / "c.json").write_text(json.dumps(given))
    calls = [call("run", "--config", tmp_path / "c.json", folder=ROOT) for _ in range(2)]
    assert [each.returncode for each in calls] == [-signal.SIGKILL, 0], calls[1]
    killed = rows_of(str(tmp_path / "out" / "killed"))
    given["output"]["uri"] = str(tmp_path / "whole")  # by now nothing kills
    whole = rows_of(run(load_config(given)).run)
    for before, after in zip(whole, killed, strict=True):
        assert after["judgements"] == before["judgements"]
        texts = [[(each["text"], each["tokens"]) for each in row["answers"]] for row in (before, after)]
        assert texts[0] == texts[1]
    processes = [each["logprobs"][0] for each in killed[0]["answers"]]
    assert processes[0] != processes[1] == processes[2]  # the first answer is that of the killed process


def test_what_cannot_be_logged_is_refused_before_anything_runs(tmp_path: Path) -> None:
    simulated = {"type": "simulated", **TWO}
    refused: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"tokens": True}, {"policy": simulated}, "tells no tokens"),
        ({"candidates": "images"}, {"judge": None}, "without a judge"),
        ({"candidates": "images", "step_images": "drop"}, {}, "step_images is drop"),
    ]
    for output, more, words in refused:
        with pytest.raises(ConfigError, match=words):
            load_config(configure(tmp_path, output, **more))
    custom = {"type": "custom", "factory": "tests.support.models.unruly:make_policy"}
    custom |= {"options": {"simulated": TWO}}
    with pytest.raises(UserError, match="has no log_tokens"):
        run(load_config(configure(tmp_path, {"tokens": True}, policy=custom)))
    assert not list((tmp_path / "out").rglob("part-*.parquet"))


def test_an_answer_that_comes_without_its_tokens_fails_its_record(tmp_path: Path) -> None:
    rows = rows_of(run(load_config(configure(tmp_path, {"tokens": True}, policy=silent(**TWO)))).run)
    assert {row["error_kind"] for row in rows} == {"policy_failed"}
    assert all("without its tokens" in row["error_message"] for row in rows)


def test_a_run_goes_on_with_what_it_logged(tmp_path: Path) -> None:
    run(load_config(configure(tmp_path, {}, run_id="one")))
    with pytest.raises(UserError, match="tokens"):
        run(load_config(configure(tmp_path, {"tokens": True}, run_id="one")))


def test_a_real_policy_tells_tokens_through_the_whole_loop(tmp_path: Path, tiny_models: Path) -> None:
    policy = {"type": "qwen_vl", "weights": str(trained_policy(tiny_models)), "dtype": "float32"}
    policy |= {"devices": ["cpu"], "sampling": {"max_tokens": 24}}
    given = configure(tmp_path, {"tokens": True}, policy=policy, judge=None)
    done = run(load_config(given))
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(policy["weights"])
    for row in rows_of(done.run):
        assert row["prompt_version"] == PROMPT_VERSION and PROMPT_VERSION in row["models"]["policy"]
        assert [each["kind"] for each in row["answers"]] == ["edit", "stop"]
        for each in row["answers"]:
            assert tokenizer.decode(each["tokens"], skip_special_tokens=True) == each["text"]
            assert each["tokens"][-1] in (tokenizer.eos_token_id, tokenizer.pad_token_id)
            assert all(-20 < logprob <= 0 for logprob in each["logprobs"])
