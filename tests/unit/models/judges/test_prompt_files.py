"""A user's copy of a protocol's file: read as data, bounded, and never executed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mira_batch.config.models.judges import ScoreLogitConfig
from mira_batch.core.errors import ConfigError
from mira_batch.models.judges import ScoreLogit
from mira_batch.models.judges.prompt_files import MOST_BYTES, read_json_texts, read_python_texts

FIELD = "judge.model.prompts"


def write(tmp_path: Path, text: str | bytes, name: str = "prompts.py") -> str:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_literal_texts_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'import os\nA = """one\ntwo"""\nB: str = "x" + ("y" "z") + \'é\'\nA = "last \\_ counts"\n'
        "C = os.environ\ndef f():\n    A = 'inner'\n",
    )
    texts, digest = read_python_texts(path, ("A", "B"), FIELD)
    assert texts == {"A": "last \\_ counts", "B": "xyzé"}
    assert digest.startswith("sha256:") and len(digest) == 23
    assert read_python_texts(write(tmp_path, "A = ''", "b.py"), ("A",), FIELD)[1] != digest


def test_nothing_in_it_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    path = write(tmp_path, f"open({str(mark)!r}, 'w').close()\nA = 'text'\n")
    assert read_python_texts(path, ("A",), FIELD)[0] == {"A": "text"}
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A = 'a'", "gives no B; is it the protocol's own file"),
        ("if True:\n    B = 'b'\nA = 'a'", "gives no B"),
        ("A = 'a'\nB = f'{A}'", ":2: B is an f-string, and only literal texts"),
        ("A = 'a'\nB = A", "B is a Name"),
        ("A = 'a'\nB = 'x'.join(['y'])", "B is a Call"),
        ("A = 'a'\nB = 'x' * 1000000000", "B is a BinOp"),
        ("A = 'a'\nB = b'b'", "B is of type bytes"),
        ("A = 'a'\nB = 3", "B is of type int"),
        ("A = 'a'\nB = 'b'\nB += 'more'", ":3: B is also changed"),
        ("A = 'a'\nB = 'b'\nif A:\n    B = 'c'", ":3: B is also changed"),
        ("A = 'a'\nB = 'b'\nA, B = B, A", ":3: A is also changed"),
        ("A = 'a'\nB = 'b'\ndel B", ":3: B is also changed or taken back"),
        ("A = 'a'\nB = 'b'\nfrom other import B", ":3: B is also changed"),
        ("A = '", "no Python that can be read: SyntaxError"),
        (b"A = '\xff'", "no Python that can be read"),
        ("A = 'a'\0", "no Python that can be read"),
        ("A = " + "(" * 5000, "no Python that can be read"),
        ("#" * (MOST_BYTES + 1), "more than 1,048,576 bytes"),
    ],
)
def test_what_is_no_file_of_prompts_is_refused(tmp_path: Path, text: str | bytes, problem: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_python_texts(path, ("A", "B"), FIELD)
    assert problem in str(caught.value) and str(caught.value).startswith(f"{FIELD}: {path}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read .No such file.*on every worker"):
        read_python_texts(str(tmp_path / "none.py"), ("A",), FIELD)


def test_texts_in_json(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"add": "x <edit_prompt>", "more": 3}))
    assert read_json_texts(path, ("add",), FIELD)[0] == {"add": "x <edit_prompt>"}
    for text, problem in [
        ("[1]", "holds a list, not an object"),
        ("{", "is no JSON"),
        ('{"add": 3}', "holds no text under add"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            read_json_texts(write(tmp_path, text), ("add",), FIELD)


def test_a_requirement_that_a_prompt_has_no_place_for_is_refused(tmp_path: Path) -> None:
    backend = {"type": "openai", "model": "m", "base_url": "http://judge:8000/v1"}
    path = write(tmp_path, "SCORE_LOGIT = '{prompt}|0-5'\n")
    settings = {"type": "score_logit", "backend": backend, "prompts": path, "requirement_key": "needs"}
    with pytest.raises(ConfigError, match="requirement_key: .* has no {requirement}"):
        ScoreLogit(ScoreLogitConfig.model_validate(settings), "judge.model")
