"""The answer format of a policy, and its parser.

    <think>what is done, what is missing</think>
    <edit>one atomic edit</edit>          or          <stop>why it is finished</stop>

The paper publishes no format; this one is ours. Any text at all parses to an `Edit`, a `StopAction` or a
`MalformedAction`, never to an exception. Thoughts are optional (`thoughts.py`). Beside them exactly one
action must stand; text around the tags is ignored, since models like to add a sentence. What could be read
in two ways is malformed rather than guessed at, since the policy can be asked again: a second action, a tag
inside an edit, an answer that was cut off, words inside `<edit>` that name no edit (`no_edit.py`).
"""

from __future__ import annotations

import html
import json
import re

from mira_batch.core.no_edit import denies_stop, names_no_edit
from mira_batch.core.text import clean_text
from mira_batch.core.thoughts import THOUGHT, CutOff, cut_thoughts
from mira_batch.core.types import Edit, MalformedAction, StopAction

_EDIT_SHOWN, _STOP_SHOWN = "one atomic edit instruction", "why the image is finished"
ANSWER_FORMAT = (
    "Think first, then answer with exactly one action:\n"
    "<think>what the image already shows and what is still missing</think>\n"
    f"<edit>{_EDIT_SHOWN}</edit>\n"
    "or, when nothing is missing:\n"
    f"<stop>{_STOP_SHOWN}</stop>"
)
MAX_INSTRUCTION = 2_000
"""An atomic edit longer than this, in characters, is no atomic edit."""

_TAG = re.compile(
    rf"{THOUGHT}|[<＜]\s*+(?P<closes>/?)\s*+(?P<name>edit|stop)(?=[\s/>＞])(?P<more>[^<>＜＞]*+)[>＞]",
    re.IGNORECASE | re.ASCII,
)
_ENTITY = re.compile(r"&(lt|gt|amp|quot|apos|#(34|38|39|60|62|91|9665|65308|[xX]2[267]|[xX]3[cCeE]));")
"""What a model writes for the characters that mean something between tags. Any other, and one without its
semicolon, is meant as it stands: "BED&copyholder" is no sign."""
_BRACKET = re.compile(r"[＜◁]|\[(?=/?think\])", re.IGNORECASE)
"""What may begin a tag besides `<`."""
_BROKEN = re.compile("[\ud800-\udfff\ufffd]")
"""Half a character: a token limit or a lax endpoint has cut it."""


def parse_action(text: str) -> Edit | StopAction | MalformedAction:
    """Read a policy's answer.

    Tags inside a thought are part of the thought. An opened tag that is never closed is malformed rather than
    guessed at, and so is a `CutOff`.
    """
    if isinstance(text, CutOff):
        return MalformedAction("it reached its token limit (sampling.max_tokens) before its end")
    aloud = cut_thoughts(text)
    if aloud.unclosed:
        return MalformedAction("<think> is opened but never closed")
    found = _find_action(aloud.answer)
    if isinstance(found, MalformedAction):
        return found
    name, body = found
    thought = clean_text(" ".join(_unescape(thought) for thought in aloud.thoughts).strip())
    if name == "edit":
        problem = _find_problem(body)
        return Edit(body, thought) if problem is None else MalformedAction(problem)
    if body == _STOP_SHOWN or denies_stop(body):
        return MalformedAction(f"<stop> holds {body!r}, which is no reason to stop")
    return StopAction(clean_text(body), thought)


def format_action(action: Edit | StopAction) -> str:
    """The text that `parse_action` reads back as `action` (for policies that compute their answer)."""
    tag, body = ("edit", action.instruction) if isinstance(action, Edit) else ("stop", action.reason)
    thought = f"<think>{_escape(action.thought)}</think>\n" if action.thought else ""
    return f"{thought}<{tag}>{_escape(body)}</{tag}>"


def escape_entities(text: str) -> str:
    """Text in which nothing would be read back as another character: `&lt;` becomes `&amp;lt;`.

    For a prompt, whose words a policy repeats: what `parse_action` reads is then what was shown.
    """
    return _ENTITY.sub(lambda found: "&amp;" + found[0][1:], text)


def _find_action(answer: str) -> tuple[str, str] | MalformedAction:
    """The one action of an answer without thoughts, as tag and body.

    One pass, since a model caught in repetition can fill a long answer with opened tags.
    """
    actions: list[tuple[str, str]] = []
    opened, start, problem = "", 0, ""
    for tag in _TAG.finditer(answer):
        name, closes = (tag["name"] or "think").lower(), tag["closes"]
        more = (tag["more"] or "").strip()
        if opened and closes and name == opened:
            actions.append((name, answer[start : tag.start()]))
            opened = ""
        elif opened == "edit" and (name != "stop" or closes):
            problem = problem or f"a tag <{closes or ''}{name}> stands inside <edit>"
        elif opened or name == "think":  # the reason of a stop may name any tag, an edit that of the other
            continue
        elif closes:
            problem = problem or f"</{name}> closes nothing"
        elif more.endswith("/"):
            actions.append((name, ""))
        else:
            opened, start = name, tag.end()
            if more and name == "edit":
                problem = problem or "the tag <edit> takes no attributes: its text stands after it"
    if opened:
        return MalformedAction(f"<{opened}> is opened but never closed")
    if not actions:
        return MalformedAction("no <edit>…</edit> or <stop>…</stop> was found")
    if len(actions) > 1:
        return MalformedAction(f"{len(actions)} actions were given; exactly one is wanted")
    return MalformedAction(problem) if problem else (actions[0][0], _unescape(actions[0][1]))


def _find_problem(edit: str) -> str | None:
    """Why what stands inside `<edit>` is no atomic edit, if so."""
    if not edit:
        return "<edit> is empty"
    if len(edit) > MAX_INSTRUCTION:
        return f"<edit> has {len(edit)} characters; at most {MAX_INSTRUCTION} make an atomic edit"
    if _BROKEN.search(edit):
        return "<edit> holds a broken character"
    if edit.casefold() == _EDIT_SHOWN or names_no_edit(edit):
        return f"<edit> holds {edit[:80]!r}, which names no edit; when nothing is missing, answer with <stop>"
    if _is_json(edit):
        return "<edit> holds JSON; one edit in plain words is wanted"
    return None


def _is_json(text: str) -> bool:
    """Whether a text is an object or a list: an editor would paint by its braces."""
    try:
        return text[:1] in "{[" and isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _escape(text: str) -> str:
    return _BRACKET.sub(lambda found: f"&#{ord(found[0])};", html.escape(text, quote=False))


def _unescape(text: str) -> str:
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text).strip()
