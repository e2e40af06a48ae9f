"""The phrases for edits of colour, and the operations they make.

Left open: brightness, contrast and saturation change by 25% ("a bit" 15%, "a lot" 50%), blur has 4 pixels
(1.5, 8), sharpen 150% (80%, 300%), tint 40% (20%, 70%), posterize 4 levels.
"""

from __future__ import annotations

import re

from mira_batch.models.embedded.grammar.clause import Made, Rule, Said
from mira_batch.models.embedded.grammar.geometry import read_whole
from mira_batch.models.embedded.operations import colour

LEAST_BARE = 5
"""A number without "%" that is smaller may be a factor."""


def _read_degree(said: Said, slightly: float, plain: float, strongly: float) -> float:
    """An amount that may be a number, "a bit", "a lot" or left open."""
    if "share" in said:
        return float(said["share"])
    if "bare" in said:
        return _read_bare(said["bare"])
    return slightly if "slightly" in said else strongly if "strongly" in said else plain


def _read_bare(number: str) -> float:
    if float(number) < LEAST_BARE or "." in number:
        raise ValueError("say how many percent, such as 20%")
    return float(number)


_EVERY_COLOUR = "[all] color"
GRAYSCALE = Rule(
    lambda said: colour.Grayscale(),
    verbs=(
        f"remove|take|drop|strip [out] {_EVERY_COLOUR} [out]",
        "convert|change|turn to|into grayscale [image]",
        "make grayscale [image]",
        "desaturate [{it}] [completely|fully|entirely|totally]",
        "completely|fully desaturate [{it}]",
    ),
    states=("[in] [completely|fully] grayscale [image]", "{gray}"),
    things=("grayscale effect|conversion|treatment",),
    alone=("[in|to] grayscale", "color|effect|mode : grayscale"),
    titles=("grayscale",),
    details=("{of it}",),
)
_SEPIA = "sepia [tone|toned|image]"
SEPIA = Rule(
    lambda said: colour.Sepia(),
    verbs=("convert|change|turn to|into sepia [tone]",),
    states=(f"[in] {_SEPIA}",),
    things=("sepia [tone] [effect]",),
    alone=("[in|to] sepia [tone|toned] [effect]", "color|effect|mode : sepia"),
    titles=("sepia",),
    details=("{of it}",),
)
INVERT = Rule(
    lambda said: colour.Invert(),
    verbs=(f"invert [{_EVERY_COLOUR}]", "invert {it}", "make [photographic] negative [of {it}]"),
    states=("[photographic] negative [image]",),
    things=("negative effect|of {it}", "color inversion", "[photographic] negative of {it}"),
    titles=("invert|negative",),
    details=("{of it}",),
)

_UP, _DOWN = "increase|raise|boost|enhance|lift|up", "decrease|reduce|lower|drop|cut"
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
        return float(f"{sign}{number if 'unit' in said else _read_bare(number)}")
    if "to" in said or "times" in said:
        to = float(said["to"]) if "to" in said else 100 * float(said["times"])
        if (to - 100) * way < 0:
            raise ValueError(f"{to:g}% of what it is goes the other way")
        return round(to - 100, 3)
    if not way:
        raise ValueError("say how to change it, such as increase by 20%")
    return way * _read_degree(said, 15, 25, 50)


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
        f"[{{slightly}}] {_UP} {{tones}} => way=+",
        f"[{{slightly}}] {_DOWN} {{tones}} => way=-",
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
        "boost color => tones=saturation way=+",
        "mute color => tones=saturation way=-",
        f"{_TURN_DOWN} down color => tones=saturation way=-",
        f"{_TURN_DOWN} color down => tones=saturation way=-",
        "make color [{degree}] more vivid => tones=saturation way=+",
        "make color [{degree}] less vivid => tones=saturation way=-",
        "make color {fold} as vivid => tones=saturation",
    ),
    states=(*_COMPARED, *_MORE),
    things=(
        "[some] [more|extra] {tones} => way=+",
        "{degree} [more|extra] {tones} => way=+",
        "[{degree}] less {tones} => way=-",
        "[{degree}] {tones} boost|increase|lift => way=+",
        "[{degree}] {tones} reduction|decrease => way=-",
    ),
    asks=(
        *_COMPARED,
        *_MORE,
        "more vivid color => tones=saturation way=+",
        "{tones} up => way=+",
        "{tones} down => way=-",
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
        f"{_UP} {{tones}} {_TO} => way=+",
        f"{_DOWN} {{tones}} {_TO} => way=-",
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
LABELLED_TONE = Rule(_tone, labels=("{tones}",), details=("{change}",))
MORE_TONE = Rule(_tone, carried=("{tones} by {share}",))


def _blur(said: Said) -> Made:
    if "radius" in said and "by" in said and float(said["radius"]) < 1:
        raise ValueError("say the radius in pixels")
    degree = {"slightly": 1.5, "strongly": 8.0}
    named = next((value for word, value in degree.items() if word in said), 4.0)
    return colour.Blur(float(said["radius"]) if "radius" in said else named)


BLUR = Rule(
    _blur,
    verbs=("[{slightly}] blur [{it}]", "gaussian blur [{it}]"),
    states=("[{slightly}] blurry|blurrier|blur+ed", "{strongly} blurry|blurrier|blur+ed"),
    things=(
        "[{slightly}] [soft|light] [gaussian] blur [effect]",
        "{strongly} [gaussian] blur [effect]",
        "{px:radius} [gaussian] blur [effect]",
    ),
    alone=("gaussian blur", "{px:radius} [gaussian] blur", "{slightly} blur"),
    labels=("[gaussian] blur|blur+ing",),
    titles=("blur|blur+ing",),
    details=(
        "[with|using|of|at|by] radius [of] {length:radius}",
        "with {px:radius} radius",
        "[by|of|with] {px:radius}",
        "by {number:radius} => by=1",
        "{slightly}",
        "{strongly}",
        "{of it}",
    ),
)


def _sharpen(said: Said) -> Made:
    return colour.Sharpen(_read_degree(said, 80, 150, 300))


SHARPEN = Rule(
    _sharpen,
    verbs=(
        "[{slightly}] sharpen [up] [{it}]",
        "sharpen {it} up",
        f"[{{slightly}}] {_UP} sharpness",
        "turn|bring up sharpness",
    ),
    states=("[{degree}] sharper|crisper", "[{degree}] more crisp"),
    things=("[{degree}] [of] [more|some] sharpness|sharpen+ing",),
    asks=("[{degree}] sharper|crisper", "[{degree}] more sharpness"),
    labels=("sharpen|sharpness|sharpen+ing",),
    titles=("sharpen|sharpness|sharpen+ing",),
    details=(
        "[by|at|of] {share}",
        "by {number:bare}",
        "{slightly}",
        "{strongly}",
        "{of it}",
    ),
)


def _tint(said: Said) -> Made:
    if "colour" not in said:
        raise ValueError("say in which color, such as tint it orange")
    return colour.Tint(said["colour"], _read_degree(said, 20, 40, 70))


TINT = Rule(
    _tint,
    verbs=("[{slightly}] tint [{it}] [in|with] [{colour}]",),
    things=("[{degree}] {colour} tint", "[{degree}] tint of|in {colour}", "{colour} color tint"),
    alone=("{share} {colour} tint", "{colour} tint {share}"),
    labels=("tint|tint+ing",),
    titles=("tint|tint+ing",),
    details=(
        "{colour}",
        "[by|at|of|with] {share}",
        "(with / at) strength of {share}",
        "by {number:bare}",
        "{slightly}",
        "{strongly}",
        "{of it}",
    ),
)


def _posterize(said: Said) -> Made:
    return colour.Posterize(read_whole(said.get("levels", "4")))


POSTERIZE = Rule(
    _posterize,
    verbs=("posterize|posterise [{it}]",),
    things=(
        "posterize+ed|posterize|posterise|posterization effect",
        "posterization",
    ),
    labels=("posterize|posterise|posterize+ing",),
    titles=("posterize|posterise",),
    details=(
        "[to|with|at|using] {number:levels} level [per [color] channel]",
        "to {number:levels}",
        "{of it}",
    ),
)
AUTOCONTRAST = Rule(
    lambda said: colour.Autocontrast(),
    verbs=(
        "autocontrast {it}",
        "run autocontrast",
        "adjust contrast automatically",
        "automatically adjust contrast",
    ),
    things=("autocontrast", "automatically contrast"),
    asks=("autocontrast", "automatically contrast"),
    titles=("autocontrast",),
    details=("{of it}",),
)
COLOURS = (
    *(GRAYSCALE, SEPIA, INVERT, TONE, DESATURATE_BY, SET_TONE, SIGNED_TONE),
    *(LABELLED_TONE, MORE_TONE),
    *(BLUR, SHARPEN, TINT, POSTERIZE, AUTOCONTRAST),
)
