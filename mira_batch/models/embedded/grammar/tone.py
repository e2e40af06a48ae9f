"""The phrases for brightness, contrast and saturation, and the operations they make.

Left open: they change by 25% ("a bit" 15%, "a lot" 50%).
"""

from __future__ import annotations

import re

from mira_batch.models.embedded.grammar.clause import Made, Rule, Said
from mira_batch.models.embedded.operations import colour

LEAST_BARE = 5
"""A number without "%" that is smaller may be a factor."""


def read_degree(said: Said, slightly: float, plain: float, strongly: float) -> float:
    """An amount that may be a number, "a bit", "a lot" or left open."""
    if "share" in said:
        return float(said["share"])
    if "bare" in said:
        return read_bare(said["bare"])
    return slightly if "slightly" in said else strongly if "strongly" in said else plain


def read_bare(number: str) -> float:
    if float(number) < LEAST_BARE or "." in number:
        raise ValueError("say how many percent, such as 20%")
    return float(number)


UP, DOWN = "increase|raise|boost|enhance|lift|up|bump|strengthen", "decrease|reduce|lower|drop|cut"
_RAISED, _LOWERED = "increase+ed|raise+ed|boost+ed", "decrease+ed|reduce+ed|lower+ed"
_MUST = "(should|must / need to)"
_TURN_UP, _TURN_DOWN = "turn|bring|bump|dial|crank|pump|tone", "turn|bring|tone|dial|take|pull|bump|cut"


def _tone(said: Said) -> Made:
    names = re.split(r" (?:, and|,|and) ", said["tones"])
    if len(set(names)) < len(names):
        raise ValueError("it says a word twice")
    change = _read_change(said)
    makes = {"brightness": colour.Brightness, "contrast": colour.Contrast, "saturation": colour.Saturation}
    return tuple(makes[name](change) for name in names)


def _read_change(said: Said) -> float:
    """The signed percentage of "by 20%", "to 120%", "+20", "twice as", "a bit"."""
    way = {"+": 1, "-": -1}.get(said.get("way", ""), 0)
    if "signed" in said:
        sign, number = said["signed"][0], said["signed"][1:]
        return float(f"{sign}{number if 'unit' in said else read_bare(number)}")
    if "to" in said or "times" in said:
        to = float(said["to"]) if "to" in said else 100 * float(said["times"])
        if (to - 100) * way < 0:
            raise ValueError(f"{to:g}% of what it is goes the other way")
        return round(to - 100, 3)
    if not way:
        raise ValueError("say how to change it, such as increase by 20%")
    return way * read_degree(said, 15, 25, 50)


_TONE_DETAILS = (
    "[by] {share}",
    "by {number:bare}",
    "[by] {slightly}",
    "[by] {strongly}",
    "{of it}",
)
_TO = "to {percent:to} [of original|current [value|level]]"


def _compare(word: str, tone: str, up: str, down: str) -> tuple[str, ...]:
    """ "20% more vivid", "a bit less vivid", "twice as vivid"."""
    return (
        f"[{{degree}}] more {word} => tones={tone} way={up}",
        f"[{{degree}}] less {word} => tones={tone} way={down}",
        f"{{fold}} as {word} => tones={tone}",
        f"{{part:to}} as {word} => tones={tone}",
    )


_COMPARED = (
    "[{degree}] brighter => tones=brightness way=+",
    "[{degree}] darker => tones=brightness way=-",
    *_compare("bright", "brightness", "+", "-"),
    *_compare("vivid", "saturation", "+", "-"),
    *_compare("contrasty", "contrast", "+", "-"),
    "[{degree}] less dark => tones=brightness way=+",
)
_MORE = (
    "[{degree}] more|higher|extra {tones} => way=+",
    "[{degree}] less|lower {tones} => way=-",
)
TONE = Rule(
    _tone,
    verbs=(
        f"[{{slightly}}] {UP} {{tones}} => way=+",
        f"[{{slightly}}] {DOWN} {{tones}} => way=-",
        f"{_TURN_UP} up {{tones}} => way=+",
        f"{_TURN_UP} {{tones}} up => way=+",
        f"{_TURN_DOWN} down|back {{tones}} => way=-",
        f"{_TURN_DOWN} {{tones}} down|back => way=-",
        "[{slightly}] brighten|lighten up [{it}] => tones=brightness way=+",
        "[{slightly}] brighten|lighten [{it}] [up] => tones=brightness way=+",
        "[{slightly}] darken|dim [down] [{it}] => tones=brightness way=-",
        "[{slightly}] darken|dim {it} down => tones=brightness way=-",
        "[{slightly}] saturate [{it}] => tones=saturation way=+",
        "saturate color => tones=saturation way=+",
        "boost|intensify|strengthen color => tones=saturation way=+",
        "make color [{degree}] stronger|richer|bolder => tones=saturation way=+",
        "make color [{degree}] weaker => tones=saturation way=-",
        "mute color => tones=saturation way=-",
        f"{_TURN_DOWN} down color => tones=saturation way=-",
        f"{_TURN_DOWN} color down => tones=saturation way=-",
        "make color [{degree}] more vivid|intense => tones=saturation way=+",
        "make color [{degree}] less vivid|intense => tones=saturation way=-",
        "make color {fold} as vivid => tones=saturation",
    ),
    states=(*_COMPARED, *_MORE),
    added=("[some] {tones} => way=+", "{degree} {tones} => way=+"),
    things=(
        "[some] more|extra {tones} => way=+",
        "{degree} more|extra {tones} => way=+",
        "[{degree}] less {tones} => way=-",
        "[{degree}] increase|boost|lift in|of {tones} => way=+",
        "[{degree}] reduction|decrease|drop in|of {tones} => way=-",
        "[{degree}] {tones} boost|increase|lift => way=+",
        "[{degree}] {tones} reduction|decrease => way=-",
    ),
    asks=(
        *_COMPARED,
        *_MORE,
        "more vivid|intense color => tones=saturation way=+",
        "{tones} up => way=+",
        "{tones} down => way=-",
        f"{{tones}} {{must be}} ([{{degree}}] higher / {_RAISED}) => way=+",
        f"{{tones}} {_MUST} (go|come up / increase) => way=+",
        f"{{tones}} {{must be}} ([{{degree}}] lower / {_LOWERED}) => way=-",
        f"{{tones}} {_MUST} (go|come down / decrease) => way=-",
    ),
    titles=("brightness|contrast|saturation",),
    details=_TONE_DETAILS,
)
DESATURATE_BY = Rule(
    _tone,
    verbs=(
        "desaturate [{it}] [by] {share} => tones=saturation way=-",
        "desaturate [{it}] {slightly} => tones=saturation way=-",
        "desaturate [{it}] {strongly} => tones=saturation way=-",
        "{slightly} desaturate [{it}] => tones=saturation way=-",
        "desaturate [{it}] by {number:bare} => tones=saturation way=-",
    ),
    details=("{of it}",),
)
SET_TONE = Rule(
    _tone,
    verbs=(
        f"set|change|adjust {{tones}} {_TO}",
        f"{UP} {{tones}} {_TO} => way=+",
        f"{DOWN} {{tones}} {_TO} => way=-",
        "halve {tones} => to=50",
        "double {tones} => to=200",
        "triple {tones} => to=300",
        "cut {tones} in {part:to}",
    ),
    details=("{of it}",),
)
SIGNED_TONE = Rule(
    _tone,
    asks=("{tones} {change}", "{change} {tones}"),
)
LABELLED_TONE = Rule(
    _tone,
    labels=("{tones}",),
    details=("{change}", "up|increase [by] {share} => way=+", "down|decrease|reduce [by] {share} => way=-"),
)
MORE_TONE = Rule(_tone, carried=("{tones} by {share}",))
TONES = (TONE, DESATURATE_BY, SET_TONE, SIGNED_TONE, LABELLED_TONE, MORE_TONE)
