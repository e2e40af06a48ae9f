from __future__ import annotations

import pytest

from mira_batch.core.actions import ANSWER_FORMAT, MAX_INSTRUCTION, format_action, parse_action
from mira_batch.core.types import Edit, MalformedAction, StopAction

READABLE = {
    "<edit>make it red</edit>": Edit("make it red"),
    "<stop>all done</stop>": StopAction("all done"),
    "<stop></stop>": StopAction(""),
    "<think>too dark</think><edit>brighten</edit>": Edit("brighten", "too dark"),
    "<think>a</think>\n<think>b</think>\n<stop>c</stop>": StopAction("c", "a b"),
    "<edit>brighten</edit> <think>that should do</think>": Edit("brighten", "that should do"),
    "Sure!\n<edit>\n  brighten\n</edit>\nAnything else?": Edit("brighten"),
    "<EDIT>brighten</Edit>": Edit("brighten"),
    "<edit>write &lt;b&gt; &amp; &quot;x&quot;</edit>": Edit('write <b> & "x"'),
    "<think>not <edit>this</edit> but</think><edit>that</edit>": Edit("that", "not <edit>this</edit> but"),
    "<edit>write <stop> on the sign</edit>": Edit("write <stop> on the sign"),
    "it was fine </think> <edit>brighten</edit>": Edit("brighten"),
    f"<edit>{'x' * MAX_INSTRUCTION}</edit>": Edit("x" * MAX_INSTRUCTION),
}
MALFORMED = {
    "": "no <edit>",
    "brighten": "no <edit>",
    "<think>only thoughts</think>": "no <edit>",
    "<think>never <edit>this</edit></think>": "no <edit>",
    "<edit></edit>": "empty",
    "<edit> &#32;\n</edit>": "empty",
    "<edit>a</edit><edit>b</edit>": "2 actions",
    "<edit>a</edit><stop>b</stop>": "2 actions",
    "<edit>bright": "<edit> is opened but never closed",
    "<stop>do": "<stop> is opened but never closed",
    "<think>too da": "<think> is opened but never closed",
    "<think>perhaps <edit>brighten</edit> or": "<think> is opened but never closed",
    "<edit>a</edit> and then <edit>b": "<edit> is opened but never closed",
    "<edit>a</stop>": "<edit> is opened but never closed",
    "<ſtop>a</ſtop>": "no <edit>",
    f"<edit>{'x' * (MAX_INSTRUCTION + 1)}</edit>": "2001 characters",
    f"<edit>&#{'9' * 5000};</edit>": "5003 characters",
}


@pytest.mark.parametrize(("text", "action"), READABLE.items())
def test_readable_answers(text: str, action: Edit | StopAction) -> None:
    assert parse_action(text) == action


@pytest.mark.parametrize(("text", "problem"), MALFORMED.items())
def test_malformed_answers_say_what_is_wrong(text: str, problem: str) -> None:
    action = parse_action(text)
    assert isinstance(action, MalformedAction)
    assert problem in action.problem


def test_an_answer_full_of_opened_tags_takes_one_pass() -> None:
    # With a pass per tag this would take hours, and the suite's own time limit would end it.
    assert isinstance(parse_action("<think>" * 1_000_000), MalformedAction)


@pytest.mark.parametrize(
    "action",
    [
        Edit("make it red"),
        Edit("write </edit><stop>&amp;</stop>", "a <think> in </think> a thought"),
        StopAction(),
        StopAction("nothing is missing", "it's “fine”\n& good"),
    ],
)
def test_what_is_formatted_reads_back(action: Edit | StopAction) -> None:
    assert parse_action(format_action(action)) == action


def test_the_format_shown_to_policies_names_every_tag() -> None:
    for tag in ("think", "edit", "stop"):
        assert f"<{tag}>" in ANSWER_FORMAT
        assert f"</{tag}>" in ANSWER_FORMAT
