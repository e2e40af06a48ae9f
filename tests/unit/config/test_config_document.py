"""What stands in a config file is what is taken, or it is refused: with its line, in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.load import load_config
from mira_batch.core.errors import ConfigError
from tests.unit.config.test_config_load import MINIMAL, TEXT, nested, problem

INPUT = "input: {manifest: /data/m.parquet}\n"
CUSTOM = "policy:\n  type: custom\n  factory: a.b:c\n  options:\n"


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(text: str | bytes, name: str = "job.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


# Keys that are there twice


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"{INPUT}{INPUT}output: {{uri: o}}\n", 2, "input: is there twice, in lines 1 and 2"),
        (
            TEXT + "workers:\n  min: 1\n  max: 3\n  min: 2\n",
            8,
            "workers.min: is there twice, in lines 6 and 8",
        ),
        (TEXT + "workers: {min: 1, min: 2}\n", 5, "workers.min: is there twice, in one line"),
        (TEXT + 'workers:\n  min: 1\n  "min": 2\n', 7, "workers.min: is there twice, in lines 6 and 7"),
        (TEXT + f"{CUSTOM}    a: 1\n    a: 1\n", 10, "policy.options.a: is there twice, in lines 9 and 10"),
        (TEXT + "x-a:\n- {b: 1}\n- {b: 1, c: 2, b: 3}\n", 7, "x-a.1.b: is there twice, in one line"),
    ],
)
def test_a_key_that_is_there_twice_is_refused_with_both_lines(
    file: Any, text: str, line: int, words: str
) -> None:
    path = file(text)
    assert problem(path) == f"{path}:{line}: {words}; keep one of them"


def test_a_key_that_is_there_twice_in_json_is_refused_with_both_lines(file: Any) -> None:
    text = '{\n"input": {"manifest": "m"},\n\t"output": {"uri": "o"},\n\t"input": {"manifest": "n"}\n}'
    path = file(text, "job.json")
    assert problem(path) == f"{path}:4: input: is there twice, in lines 2 and 4; keep one of them"
    odd = file('{"input": {"manifest": "\\u007f"}, "a\x7f": 1, "a\x7f": 2}', "odd.json")  # no YAML
    assert "is there twice; keep one of them" in problem(odd)


def test_a_set_with_a_key_twice_is_refused() -> None:
    assert problem(MINIMAL, "workers={min: 1, min: 2}") == (
        "--set workers={min: 1, min: 2}: the value min: is there twice, in one line; keep one of them"
    )


def test_merged_keys_may_be_overridden(file: Any) -> None:
    text = "x-pool: &pool\n  min: 2\n  max: 3\nworkers:\n  <<: *pool\n  max: 5\n"
    config = load_config(file(TEXT + text))
    assert (config.workers.min, config.workers.max) == (2, 5)


# Aliases


def laughs(levels: int, wide: int = 9) -> str:
    rows = ["a0: &a0 [x]"]
    rows += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * wide)}]" for k in range(1, levels)]
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        laughs(9),
        laughs(60, 2),
        TEXT + CUSTOM + "".join(f"    {row}\n" for row in laughs(9).splitlines()),
        "\n".join(
            f"m{k}: &m{k} {{a: *m{k - 1}, b: *m{k - 1}}}" if k else "m0: &m0 {x: 1}" for k in range(50)
        ),
    ],
)
def test_aliases_that_unfold_to_a_huge_document_are_refused(file: Any, text: str) -> None:
    path = file(text)
    message = problem(path)  # to unfold them takes minutes, or for ever
    assert message.startswith(f"{path}:") and message.count("\n") == 0 and len(message) < 300
    assert "its aliases unfold to more than 100,000 values" in message


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a\n  b:\n    c: *a\n", "a: &a {<<: *a}\n"])
def test_an_alias_of_what_it_is_part_of_is_refused(file: Any, text: str) -> None:
    path = file(TEXT + text)
    assert problem(path).startswith(f"{path}:5: ") and "is an alias of what it is part of" in problem(path)


def test_aliases_are_taken_as_what_they_stand_for(file: Any) -> None:
    text = "x-w: &w {min: 2}\nx-many: [&n 3, *n]\nworkers: *w\nlimits: {max_steps: *n}\n"
    config = load_config(file(TEXT + text))
    assert (config.workers.min, config.limits.max_steps) == (2, 3)


def test_top_level_keys_for_anchors_hold_no_settings(file: Any) -> None:
    assert load_config(MINIMAL | {"x-anything": {"bogus": 1}}) == load_config(MINIMAL)
    assert "workers.x-a: unknown key" in problem(file(TEXT + "workers: {x-a: 1}\n"))
    assert "--set x-a=1: x-a: unknown key" in problem(MINIMAL, "x-a=1")


# What is no YAML or JSON


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("input:\n  manifest: a\n output: b\n", 3, "is not valid YAML"),
        ("input:\n\tmanifest: a\n", 2, "(indent with spaces)"),
        ("input: *nowhere\n", 1, "undefined alias"),
        ("input: a\n---\ninput: b\n", 2, "expected a single document"),
        ("input: !!python/object:os.system {}\n", 1, "could not determine a constructor"),
        ("input: a\x07b\n", 1, "it holds the character U+0007"),
        ("input: a\nwhen: 2026-13-45\n", 2, "month must be in 1..12"),
        ("n: " + "9" * 5000, 1, "4300 digits"),
        ("[" * 3000, None, "it is nested too deep"),
        ('{"a": 1}\n{"a": 2}\n', 2, "is not valid YAML"),
        ("output: {uri: o, background: #fff}\n", 2, "put it in quotes"),
        ("a: {? [b]: c}\n", 1, "unhashable key"),
    ],
)
def test_bad_yaml_is_one_line_with_its_place(file: Any, text: str, line: int | None, words: str) -> None:
    path = file(text)
    message = problem(path)
    assert message.startswith(f"{path}: " if line is None else f"{path}:{line}: ")
    assert words in message and "\n" not in message and len(message) < 400


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{"input": \n', 2, "is not valid JSON: Expecting value (column 1)"),
        ('{"input": 1,\n}', 2, "is not valid JSON"),
        ('{"a": ' * 30_000, None, "is not valid JSON"),
        ('{"n": ' + "9" * 5000 + "}", None, "is not valid JSON: Exceeds the limit"),
    ],
)
def test_bad_json_is_one_line_with_its_place(file: Any, text: str, line: int | None, words: str) -> None:
    path = file(text, "job.json")
    message = problem(path)
    assert message.startswith(f"{path}: " if line is None else f"{path}:{line}: ")
    assert words in message and "\n" not in message


@pytest.mark.parametrize("name", ["job.json", "job.yaml"])
def test_a_file_may_begin_with_a_byte_order_mark(file: Any, name: str) -> None:
    path = file(b"\xef\xbb\xbf" + json.dumps(MINIMAL).encode(), name)
    assert load_config(path) == load_config(MINIMAL)


def test_json_may_be_indented_with_tabs(file: Any) -> None:
    path = file(json.dumps(nested("workers.min", 0), indent="\t"), "job.json")
    assert problem(path) == f"{path}:9: workers.min: should be at least 1, found 0"


def test_a_manifest_is_not_read_as_a_config(file: Any) -> None:
    path = file(b"a" * 10_000_001)
    assert problem(path) == f"{path}: is too large for a config file; is it the manifest?"


# Values that YAML makes something else of


@pytest.mark.parametrize("colour", ["#fff", "#1a2B3c", "#ffff", "#11223344"])
def test_a_colour_that_is_a_comment_is_refused(file: Any, colour: str) -> None:
    path = file(f"{INPUT}output:\n  uri: o\n  background: {colour}\n")
    assert problem(path) == (
        f"{path}:4: output.background: has no value: what follows ' #' is a comment in YAML; if it was meant "
        f"as the value, put it in quotes: '{colour}'"
    )
    options = file(f"{TEXT}{CUSTOM}    colours:\n    - {colour} # for the frame\n")
    assert problem(options).startswith(f"{options}:10: policy.options.colours.0: has no value: ")


def test_a_value_that_was_lost_to_a_comment_is_found(file: Any) -> None:
    path = file(f"{INPUT}output:\n  uri: #bucket/out\n")
    assert problem(path) == (
        f"{path}:3: output.uri: should be text, found no value; '#bucket/out' is a comment in YAML: put it "
        "in quotes if it was meant as the value"
    )
    config = load_config(file(TEXT + "storage:\n  region: # the default\nworkers:   # a pool\n  min: 2\n"))
    assert config.storage.region is None and config.workers.min == 2


def test_a_set_has_no_comments() -> None:
    config = load_config(MINIMAL, ["output.background=#aabbcc"])
    assert config.output.background == "#aabbcc"
    policy = load_config(
        MINIMAL, ["policy={type: custom, factory: 'a.b:c'}", "policy.options.p=make it #1"]
    ).policy
    assert policy.model_dump()["options"] == {"p": "make it #1"}
    assert "#b: 2} would be left out" in problem(MINIMAL, "policy={a: 1} #b: 2}")


@pytest.mark.parametrize("word", ["true", "false", "yes", "on", "[true]"])
@pytest.mark.parametrize(
    "field", ["limits.max_steps", "limits.edit_seconds", "workers.max", "prices.gpu_hour"]
)
def test_a_switch_is_no_number(file: Any, field: str, word: str) -> None:
    section, name = field.split(".")
    path = file(f"{TEXT}{section}:\n  {name}: {word}\n")
    message = problem(path)
    assert message.startswith(f"{path}:6: {field}: should be a ") and "number, found " in message
    assert ("false" if word == "false" else "true") in message


def test_a_switch_is_no_number_deep_inside(file: Any) -> None:
    path = file(f"{TEXT}policy:\n  type: simulated\n  steps:\n    exact:\n      a: 2\n      b: true\n")
    assert problem(path) == f"{path}:10: policy.steps.exact.b: should be a whole number, found true"
    path = file(f"{TEXT}editor:\n  type: simulated\n  faults:\n  - {{records: a, does: raise, step: true}}\n")
    assert problem(path) == f"{path}:8: editor.faults.0.step: should be a whole number, found true"
    options = load_config(file(f"{TEXT}{CUSTOM}    strict: true\n")).policy.model_dump()["options"]
    assert options == {"strict": True}, "an option may be one"
    assert load_config(MINIMAL, ["output.skip_done=false"]).output.skip_done is False
    assert "limits.max_steps: should be a whole number, found true" in problem(
        nested("limits.max_steps", True)
    )


def test_numbers_are_what_they_look_like(file: Any) -> None:
    path = file(TEXT + "workers:\n  min: 010\n")
    assert problem(path) == (
        f"{path}:6: is not valid YAML: 010 begins with 0, and YAML would read it in base 8; leave the 0 out"
    )
    assert load_config(file(TEXT + "run_id: 12:30\n".replace(":3", "-3"))).run_id == "12-30"
    assert "deadline: '1:30' is neither" in problem(file(TEXT + "limits:\n  deadline: 1:30\n"))
    assert load_config(file(TEXT + "workers: {min: 0x10, gpus: 0.5, cpus: 0}\n")).workers.min == 16


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run_id: 2026\n", "run_id: should be text, found 2026; put it in quotes"),
        ("run_id: 2026-11-26\n", 'run_id: should be text, found "2026-11-26"; put it in quotes'),
        ("output: {uri: no}\n", "output.uri: should be text, found false; YAML reads yes, no, on and off"),
        ("backend: rya\n", "backend: should be 'ray' or 'inline' (did you mean 'ray'?), found 'rya'"),
        ("workers: 4\n", "workers: should be settings such as name: value, found 4"),
        ("workers: {min: 1.5}\n", "workers.min: should be a whole number, found 1.5"),
        ("limits: {edit_seconds: .nan}\n", "limits.edit_seconds: should be greater than 0, found NaN"),
        (
            "input: {manifest: m, max_pixels: 99999999}\noutput: {uri: o}\n",
            "be at most 89,478,485, found 99999999",
        ),
        ("prices: {gpu_hour: free}\n", "prices.gpu_hour: should be a number, found 'free'"),
        ("output: {uri: o, skip_done: maybe}\n", "output.skip_done: should be true or false, found 'maybe'"),
        ("run_id: a/b\n", "run_id: should be at most 128 letters, digits, dots, - and _, the first a letter"),
        (
            "policy: {type: qwen_vl, weights: /w, devices: [gpu]}\n",
            "policy.devices.0: should be of the form ^(auto|",
        ),
    ],
)
def test_messages_are_in_the_words_of_the_file(file: Any, text: str, words: str) -> None:
    base = "" if "input" in text else INPUT if "output" in text else TEXT
    message = problem(file(base + text))
    assert words in message
    for foreign in ("Input", "valid string", "dictionary", "pydantic", "NoneType", "True", "False"):
        assert foreign not in message


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "s3://bucket/a\udcff"])
def test_a_location_that_can_t_be_is_refused(name: str) -> None:
    for field in ("output.uri", "input.manifest"):
        message = problem(nested(field, name))
        assert (
            message.startswith(f"config: {field}: ") and "character that no file's name can have" in message
        )
        message.encode()


# Who is to blame


def test_what_was_set_is_named_as_it_was_typed(file: Any) -> None:
    path = file(TEXT + "workers:\n  min: 8\n")
    assert problem(path, "workers.min=1", "workers.min=many") == (
        "--set workers.min=many: workers.min: should be a whole number, found 'many'"
    )
    assert problem(path, "workers.max=2").startswith(f"{path}:5 with --set workers.max=2: workers: max (2)")
    assert problem(path, "judge.attempts=2") == (
        "--set judge.attempts=2: judge.model: is missing; it has no default"
    )
    assert problem(path, "limits={max_steps: 0}").startswith(
        "--set limits={max_steps: 0}: limits.max_steps: "
    )
    assert problem(path, "wrokers.max=2").startswith(
        "--set wrokers.max=2: wrokers: unknown key; did you mean"
    )
    assert problem(path, "run_id=ok", "job=cook").startswith("--set job=cook: job: 'cook' is no job")


def test_a_missing_key_is_looked_for_where_it_should_be(file: Any) -> None:
    path = file("input:\n  allow: [a]\noutput: {uri: o}\n")
    assert problem(path) == f"{path}:1: input.manifest: is missing; it has no default"


def test_a_config_error_is_a_config_error(tmp_path: Path) -> None:
    for name in ("nowhere.yaml", "."):
        with pytest.raises(ConfigError, match="can't read the config file"):
            load_config(tmp_path / name)
