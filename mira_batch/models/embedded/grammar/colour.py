"""The phrases for edits of colour, and the operations they make.

Left open: blur has 4 pixels ("a bit" 1.5, "a lot" 8), sharpen 150% (80%, 300%), tint 40% (20%, 70%),
posterize 4 levels.
"""

from __future__ import annotations

from mira_batch.models.embedded.grammar.clause import Made, Rule, Said
from mira_batch.models.embedded.grammar.geometry import read_whole
from mira_batch.models.embedded.grammar.tone import UP, read_degree
from mira_batch.models.embedded.operations import colour

_EVERY_COLOUR = "[all] color"
GRAYSCALE = Rule(
    lambda said: colour.Grayscale(),
    verbs=(
        f"remove|take|drop|strip [out] {_EVERY_COLOUR} [out]",
        "convert|change|turn|switch|render to|into|in grayscale [image]",
        "make grayscale version",
        "make grayscale [image]",
        "desaturate [{it}] [completely|fully|entirely|totally]",
        "completely|fully desaturate [{it}]",
    ),
    states=("[in] [completely|fully] grayscale [image]", "{gray}"),
    things=("grayscale effect|conversion|treatment|version",),
    asked=("grayscale version|conversion",),
    alone=("[in|to] grayscale", "(color [mode] / effect / mode) : grayscale"),
    titles=("grayscale",),
    details=("{of it}",),
)
_SEPIA = "sepia [tone|toned|image]"
SEPIA = Rule(
    lambda said: colour.Sepia(),
    verbs=(
        "convert|change|turn|switch|render to|into|in sepia [tone]",
        "sepia [tone] it",
        "make sepia version",
    ),
    states=(f"[in] {_SEPIA}",),
    things=("sepia [tone] [effect]", "sepia version"),
    asked=("sepia version",),
    alone=("[in|to] sepia [tone|toned] [effect]", "(color [mode] / effect / mode) : sepia"),
    titles=("sepia",),
    details=("{of it}",),
)
INVERT = Rule(
    lambda said: colour.Invert(),
    verbs=(
        f"invert [{_EVERY_COLOUR}]",
        f"reverse|negate|flip {_EVERY_COLOUR}",
        "invert {it}",
        "make|create [photographic] negative [of {it}]",
        "convert|turn|change to|into negative",
    ),
    states=("[photographic] negative [image]",),
    things=(
        "negative [effect|version|image]",
        "invert|inversion effect",
        "color inversion",
        "[photographic] negative of {it}",
    ),
    asks=("color {must be} invert+ed|reverse+ed",),
    alone=("(color [mode] / effect / mode) : invert+ed|negative", "color invert+ed"),
    titles=("invert|negative",),
    details=("{of it}",),
)


def _blur(said: Said) -> Made:
    if "radius" in said and "by" in said and float(said["radius"]) < 1:
        raise ValueError("say the radius in pixels")
    degree = {"slightly": 1.5, "strongly": 8.0}
    named = next((value for word, value in degree.items() if word in said), 4.0)
    return colour.Blur(float(said["radius"]) if "radius" in said else named)


BLUR = Rule(
    _blur,
    verbs=(
        "[{slightly}] blur [{it}]",
        "gaussian blur [{it}]",
        "soften [{it}] with {px:radius} [gaussian] blur",
    ),
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
    return colour.Sharpen(read_degree(said, 80, 150, 300))


SHARPEN = Rule(
    _sharpen,
    verbs=(
        "[{slightly}] sharpen [up] [{it}]",
        "sharpen {it} up",
        "crisp up {it}",
        "crisp {it} up",
        f"[{{slightly}}] {UP} sharpness",
        "turn|bring up sharpness",
    ),
    states=("[{degree}] sharper|crisper", "[{degree}] more crisp"),
    things=(
        "[{degree}] [of] [more|some] sharpness|sharpen+ing",
        "sharpen|sharpen+ing effect",
        "unsharp mask",
    ),
    asks=("[{degree}] sharper|crisper", "[{degree}] more sharpness"),
    alone=("sharpness {raised}",),
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
    return colour.Tint(said["colour"], read_degree(said, 20, 40, 70))


TINT = Rule(
    _tint,
    verbs=("[{slightly}] tint [{it}] [in|with] [{colour}]", "color|colorize {it} {colour} by {share}"),
    things=("[{degree}] {colour} tint", "[{degree}] tint of|in {colour}", "{colour} color tint"),
    alone=("{share} {colour} tint", "{colour} tint [,] {share}"),
    labels=("[color] tint|tint+ing",),
    titles=("tint|tint+ing",),
    details=(
        "{colour}",
        "[by|at|of|with] {share}",
        "(with / at) strength of {share}",
        "over {it}",
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
    verbs=(
        "posterize|posterise [{it}]",
        "reduce [{it}] to {number:levels} level per [color] channel",
    ),
    things=(
        "posterize+ed|posterize|posterise|posterization effect",
        "posterization",
    ),
    alone=("posterization", "posterize effect"),
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
        "adjust|fix|correct|set contrast automatically",
        "automatically|auto adjust contrast",
    ),
    things=("autocontrast", "automatically contrast"),
    asks=("autocontrast", "automatically contrast"),
    titles=("autocontrast",),
    details=("{of it}",),
)
COLOURS = (GRAYSCALE, SEPIA, INVERT, BLUR, SHARPEN, TINT, POSTERIZE, AUTOCONTRAST)
