"""Loading a config: where a message points, what it proposes, overrides and the form of run.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.load import load_config
from mira_batch.config.models import CustomConfig, RulesPolicyConfig
from mira_batch.config.models.simulated import SimulatedPolicyConfig
from mira_batch.core.errors import ConfigError

MINIMAL: dict[str, Any] = {"input": {"manifest": "/data/m.parquet"}, "output": {"uri": "/data/out"}}
TEXT = """\
input:
  manifest: /data/m.parquet
output:
  uri: /data/out
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str, name: str = "job.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problem(source: Any, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides)
    return str(caught.value)


def nested(dotted: str, value: Any) -> dict[str, Any]:
    """MINIMAL with one setting more: the last key of the path is set to the value."""
    data = json.loads(json.dumps(MINIMAL))
    *parents, last = dotted.split(".")
    target = data
    for key in parents:
        target = target.setdefault(key, {})
    target[last] = value
    return data


# What is read


def test_a_file_is_loaded_with_defaults(write: Any) -> None:
    config = load_config(write(TEXT + "limits: {max_steps: 3}\n"))
    assert config.limits.max_steps == 3
    assert config.limits.malformed_retries == 2
    assert config.policy == RulesPolicyConfig(type="rules")


def test_a_mapping_is_loaded_and_left_as_it_is() -> None:
    data = nested("workers.min", 2)
    before = json.dumps(data)
    assert load_config(data, ["workers.max=4", "judge.model.type=simulated"]).workers.max == 4
    assert json.dumps(data) == before


def test_the_type_chooses_the_model() -> None:
    data = nested("policy", {"type": "simulated", "steps": {"mean": 3}})
    policy = load_config(data).policy
    assert isinstance(policy, SimulatedPolicyConfig)
    assert policy.steps.mean == 3


def test_a_run_json_reruns_the_run(write: Any) -> None:
    options = {"strength": 1e-05, "name": "🌅", "many": 1e16, "none": None}
    custom = {"type": "custom", "factory": "package.module:build", "options": options}
    config = load_config(nested("policy", custom))
    document = {"mira_batch": "0.1.0", "config": config.model_dump(mode="json"), "manifest": {"rows": 3}}
    again = load_config(write(json.dumps(document, indent=2), "run.json"))
    assert again == config
    assert isinstance(again.policy, CustomConfig)
    assert again.policy.options == options


def test_messages_about_a_run_json_name_its_lines(write: Any) -> None:
    document = {"mira_batch": "0.1.0", "config": nested("limits.max_steps", 0)}
    path = write(json.dumps(document, indent=2), "run.json")
    line = 1 + next(i for i, text in enumerate(path.read_text().splitlines()) if "max_steps" in text)
    assert problem(path).startswith(f"{path}:{line}: limits.max_steps: ")


def test_relative_paths_become_absolute(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    data = {
        "input": {"manifest": "data/*.parquet", "allow": ["images", "s3://bucket/images/", "~/images"]},
        "output": {"uri": "../out"},
    }
    config = load_config(data)
    assert config.input.manifest == str(tmp_path / "data" / "*.parquet")
    assert config.input.allow == (str(tmp_path / "images"), "s3://bucket/images", "/home/someone/images")
    assert config.output.uri == str(tmp_path.parent / "out")
    assert load_config(nested("output.uri", "file:///data/out/")).output.uri == "/data/out"


# Overrides


def test_overrides_are_read_as_yaml_and_the_last_wins(write: Any) -> None:
    config = load_config(
        write(TEXT + "workers: {min: 1}\n"),
        [
            "workers.min=2",
            "workers.min=3",
            "workers.max=null",
            "output.skip_done=no",
            "policy={type: simulated, steps: {exact: {'a.*': 3}}}",
            "policy.max_batch = 4",
            "run_id=night-1",
        ],
    )
    assert (config.workers.min, config.workers.max) == (3, None)
    assert config.output.skip_done is False
    assert isinstance(config.policy, SimulatedPolicyConfig)
    assert config.policy.steps.exact == {"a.*": 3}
    assert config.policy.max_batch == 4
    assert config.run_id == "night-1"


def test_an_override_switches_on_what_the_file_leaves_off(write: Any) -> None:
    config = load_config(
        write(TEXT + "judge: null\nworkers:\n"), ["judge.model.type=simulated", "workers.min=2"]
    )
    assert config.judge is not None
    assert config.workers.min == 2


@pytest.mark.parametrize("override", ["workers.max", "=4", "workers..max=4", ".max=4"])
def test_an_override_without_path_or_value_is_refused(override: str) -> None:
    assert problem(MINIMAL, override) == f"--set {override}: should look like workers.max=4"


def test_an_override_of_bad_yaml_is_refused() -> None:
    assert "--set run_id=[: the value is not valid YAML" in problem(MINIMAL, "run_id=[")


def test_an_override_below_a_value_is_refused() -> None:
    assert "run_id holds a value, not settings" in problem(nested("run_id", "a"), "run_id.x=1")


def test_a_bad_override_is_not_blamed_on_a_line_of_the_file(write: Any) -> None:
    path = write(TEXT + "workers:\n  min: 1\n")
    assert problem(path, "workers.min=0") == (
        "--set workers.min=0: workers.min: should be at least 1, found 0"
    )


# Messages


def test_a_message_names_file_line_field_value_and_fault(write: Any) -> None:
    path = write(TEXT + "limits:\n  max_steps: 0\n  malformed_retries: many\n")
    first, second = problem(path).splitlines()
    assert first == f"{path}:6: limits.max_steps: should be at least 1, found 0"
    assert second == f"{path}:7: limits.malformed_retries: should be a whole number, found 'many'"


def test_a_missing_section_is_named(write: Any) -> None:
    path = write("output: {uri: /data/out}\n")
    assert problem(path) == f"{path}: input: is missing; it has no default"


def test_a_misspelt_key_gets_a_proposal(write: Any) -> None:
    path = write(TEXT + "limits:\n  max_step: 4\n")
    assert problem(path) == f"{path}:6: limits.max_step: unknown key; did you mean 'max_steps'?"


def test_an_unlike_key_gets_the_list_of_keys() -> None:
    message = problem(nested("limits.zzz", 1))
    known = (
        "deadline, edit_seconds, grace_seconds, judge_seconds, malformed_retries, max_cost, "
        "max_failed_fraction, max_result_pixels, max_seconds_per_record, max_steps, min_records, "
        "new_steps, no_progress, policy_seconds, stall_seconds"
    )
    assert message == f"config: limits.zzz: unknown key; known here: {known}"


def test_a_limit_of_cost_that_nothing_could_reach_is_refused() -> None:
    bounded = nested("limits.max_cost", 5)
    nothing = problem(bounded)
    assert nothing.startswith("config: limits.max_cost could never be reached, since nothing here has")
    assert "editor.prices" in nothing and "workers.gpus and prices.gpu_hour; or leave it out" in nothing
    assert "could never be reached" in problem(bounded, "prices.gpu_hour=2"), "no GPU is asked for"
    assert "needs prices.gpu_hour" in problem(bounded, "workers.gpus=1")
    served = "editor={type: openai_images, model: m}"
    assert "could never be reached" in problem(bounded, served)
    for more in (["workers.gpus=1", "prices.gpu_hour=2"], [served, "editor.prices.image=0.03"]):
        assert load_config(bounded, more).limits.max_cost == 5


UNKNOWN = {
    "": {},
    "input": {},
    "input.columns": {},
    "output": {},
    "policy": {"type": "rules"},
    "editor": {"type": "pillow"},
    "judge": {"model": {"type": "simulated"}},
    "judge.model": {"type": "simulated"},
    "limits": {},
    "workers": {},
    "storage": {},
    "policy.service": {"policy.type": "simulated"},
    "policy.steps": {"policy.type": "simulated"},
    "editor.service": {"editor.type": "simulated"},
}


@pytest.mark.parametrize("level", UNKNOWN)
def test_unknown_keys_fail_at_every_level(level: str) -> None:
    path = f"{level}.bogus".lstrip(".")
    data = nested(path, 1)
    for dotted, value in UNKNOWN[level].items():
        *parents, last = (dotted if "." in dotted else f"{level}.{dotted}").split(".")
        target = data
        for key in parents:
            target = target.setdefault(key, {})
        target[last] = value
    message = problem(data)
    assert message.startswith(f"config: {path}: unknown key; ")
    assert not message.endswith("known here: ")


@pytest.mark.parametrize(("key", "place"), [("7", "4: output.7"), ("~", "2: output.None")])
def test_a_key_that_is_no_text_fails(write: Any, key: str, place: str) -> None:
    path = write(f"input: {{manifest: m}}\noutput:\n  uri: o\n  {key}: 1\n")
    with pytest.raises(ConfigError, match=f":{place}: a key should be text; put it in quotes$"):
        load_config(path)


def test_unknown_keys_fail_inside_a_list(write: Any) -> None:
    faults = "  faults:\n    - records: a\n      does: raise\n      stepp: 1\n"
    path = write(f"{TEXT}policy:\n  type: simulated\n{faults}")
    assert problem(path) == f"{path}:10: policy.faults.0.stepp: unknown key; did you mean 'step'?"


def test_the_tag_of_a_union_stays_out_of_the_path(write: Any) -> None:
    path = write(TEXT + "judge:\n  model:\n    type: simulated\n    low: 2\n")
    assert problem(path).startswith(f"{path}:8: judge.model.low: ")


@pytest.mark.parametrize(
    ("dotted", "value", "words"),
    [
        ("policy", {"type": "pillow"}, ["type 'pillow'", "'rules'", "'simulated'", "'custom'"]),
        ("policy", {"max_batch": 2}, ["needs a 'type': 'rules', 'passthrough', ", " or 'custom'"]),
        ("judge", {"model": {}}, ["judge.model: needs a 'type': ", "'rules'"]),
        ("policy", "rules", ["should be settings such as {type: rules}, found 'rules'"]),
        ("policy", {"type": "rule"}, ["type 'rule'", "(did you mean 'rules'?)"]),
        ("policy", {"type": "custom", "factory": "a.b"}, ["'a.b'", "package.module:function"]),
        ("policy", {"type": "custom"}, ["policy.factory", "is missing"]),
        ("judge", {"model": {"type": "simulated", "low": 1, "high": 0.5}}, ["low (1.0)", "high (0.5)"]),
        (
            "judge",
            {"model": {"type": "simulated", "faults": [{"records": "*", "does": "raise", "step": 1}]}},
            ["judge.model.faults", "step"],
        ),
        ("workers", {"min": 3, "max": 2}, ["max (2)", "min (3)", "raise max or lower min"]),
        ("output", {"uri": "/o", "background": "red"}, ["'red'", "#rrggbb"]),
        ("output", {"uri": "/o", "format": "gif"}, ["'png', 'webp' or 'jpeg'", "'gif'"]),
        ("run_id", "../elsewhere", ["run_id", "'../elsewhere'"]),
        ("limits", [1], ["limits", "[1]"]),
        ("1x", 1, ["1x", "unknown key"]),
    ],
)
def test_messages_name_field_and_fix(dotted: str, value: Any, words: list[str]) -> None:
    message = problem(nested(dotted, value))
    for word in [dotted, *words]:
        assert word in message


@pytest.mark.parametrize("url", ["http://user:pass@host:9000", "https://user@host", "http://u:p/w@host"])
def test_an_endpoint_with_a_password_is_refused_and_not_repeated(url: str) -> None:
    message = problem(nested("storage.endpoint_url", url))
    assert "AWS_SECRET_ACCESS_KEY" in message
    assert url not in message
    assert "pass" not in message.replace("password", "")


def test_an_endpoint_without_a_password_is_taken() -> None:
    url = "http://localhost:9000/path"
    assert load_config(nested("storage.endpoint_url", url)).storage.endpoint_url == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("input: [", "is not valid YAML"),
        ("- a\n- b\n", "should hold settings such as 'input: …', found list"),
        ("", "found nothing"),
        ("1: 2\n", "1: "),
    ],
)
def test_a_file_of_another_form_is_refused(write: Any, text: str, words: str) -> None:
    path = write(text)
    message = problem(path)
    assert message.startswith(str(path))
    assert words in message


def test_a_broken_json_file_is_refused(write: Any) -> None:
    assert "is not valid JSON" in problem(write('{"input": ', "run.json"))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "can't read the config file: No such file" in problem(tmp_path / "none.yaml")
    assert "can't read the config file" in problem(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("input: ü".encode("latin-1"))
    assert "is not a text file in UTF-8" in problem(tmp_path / "latin.yaml")
