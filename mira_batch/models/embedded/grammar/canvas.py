"""The phrases for what lies around, behind and upon the image: pad, fit, border, background, text.

Left open: a border has 10 pixels ("thin" 4, "thick" 24), a margin 5%.
"""

from __future__ import annotations

from typing import get_args

from mira_batch.models.embedded.grammar.clause import Made, Rule, Said
from mira_batch.models.embedded.grammar.geometry import check_pixels, read_size, read_whole
from mira_batch.models.embedded.grammar.unclear import UNQUOTED
from mira_batch.models.embedded.operations import colour, geometry
from mira_batch.models.embedded.operations.text import Position, Size, WriteText


def _pad(said: Said) -> Made:
    paint = said.get("colour", "white")
    if "asked" in said and "colour" not in said:
        raise ValueError("say which colour fills the rest, as in fit it into 800x600 with a white background")
    if size := read_size(said):
        check_pixels(said, size)
        return geometry.Fit(*size, paint)
    if said.get("ratio", "1:1") != "1:1":
        raise ValueError("an image can be padded to a square or to a size such as 1000x1000")
    return geometry.PadSquare(paint)


_PAINTS = (
    "[and] [with|in|using|on] {colour} [{ground}]",
    "[with|and] {ground} [color] {colour}",
    "[with|and] color {colour}",
    "[and] fill|fill+ing|pad|pad+ing [rest|remaining|empty] [{ground}] with|in {colour} [{ground}]",
    "[and] {kept} => kept=1",
    "on everyside",
    "{of it}",
)
PAD = Rule(
    _pad,
    verbs=(
        "pad [out] [{it}] [out] to {square}",
        "pad [out] [{it}] [out] to {ratio}",
        "pad [out] [{it}] [out] to [size of] {size}",
        "pad {it} square",
        "pad {it} so [that] {it} (is / becomes) square",
        "put|place {it} on|onto square {colour} canvas|background",
        "put|place {it} on|onto {colour} square canvas|background",
        "letterbox [{it}] [to|into] {size} => asked=1",
        "letterbox [{it}] to {square} => asked=1",
        "extend|expand [canvas of] [{it}] to {square}",
        "extend|expand canvas to {square}",
        "extend|expand canvas to {ratio}",
        "make {it} square with|by|on [add+ing] {colour} {ground}",
        "make canvas square with|in {colour} [{ground}]",
        "make {it} square [,|and] pad|fill|pad+ing|fill+ing [{ground}|rest] with|in {colour}",
        "make {it} square by|using|with pad+ing [{it}] [with|in {colour}]",
        "make {it} square , {colour} {ground}",
        "make {it} square [,|and] {kept} [,|and] {painted}",
        "fill {it} up|out to {square} with {colour} [{ground}]",
        "pad [{it}] [side] with {colour} [{ground}] to [get|make|form] {square}",
        "pad [{it}] with {colour} [{ground}] to {size}",
        "square {it} [up|off] with {colour} {ground}",
        "pad|add|put {colour} {ground} [to {it}] to make {it} square",
        "add whitespace [around {it}] ( to make {it} square / so [that] {it} (becomes / is) square )",
    ),
    states=("square with|on|using {colour} {ground} [around [{it}]]",),
    asked=("square with {colour} {ground}", "square {colour} canvas (around {it} / with {it} in center)"),
    details=_PAINTS,
)
FIT = Rule(
    _pad,
    verbs=(
        "fit|put|place|set [{it}] [in|into|on|to|onto|within|inside] {size} [{frame}] => asked=1",
        "put|place|set|mount|center [{it}] [center] {onto} {size} {colour} {frame}",
        "put|place|set|mount|center [{it}] [center] {onto} {colour} {size} {frame}",
        "fit [{it}] [in|into|on|to|onto|within|inside] {size} {colour} {frame}",
        "fit [{it}] [in|into|on|to|onto|within|inside] {size} {filled}",
        "resize|scale [{it}] [to fit] [to|into|in|within|inside] {size} {filled}",
        "resize|scale [{it}] [to fit] [to|into|in|within|inside] {size} [,|and] {kept} [,|and] {painted}",
        "resize|scale [{it}] [up|down] to fit [to|into|in|within|inside] {size} [,|and] {painted}",
        "resize|scale [{it}] to {size} [,|and] with|using|add {colour} pad+ing|bar",
        "make {it} {size} with {colour} pad+ing|bar|border|margin",
        "make {it} {size} [,|and] {kept} [,|and] {painted}",
        "make {it} {size} {filled}",
        "make {it} fit [in|into|on] {size} [,|and] {painted}",
        "make {it} fit [in|into|on] {size} {filled}",
    ),
    states=("on|onto|into|in {size} {colour} {frame}", "on|onto|into|in {colour} {size} {frame}"),
    asks=(
        "{it} (should|must) fit [in|into|on] {size} {filled}",
        "{it} (should|must) fit [in|into|on] {size} [,] {painted}",
    ),
    alone=(
        "{size} [,|and] {kept} [,|and] {painted}",
        "{size} [,] [with] {colour} pad+ing|bar",
        "{size} [,] {colour} {ground} [,|and] {kept}",
        "canvas {size} [in] {colour} [,|and] {it} scale+ed|fit+ed|resize+ed [to fit]",
    ),
    details=_PAINTS,
)


def _border(said: Said) -> Made:
    margin = "margin" in said
    paint = said.get("colour") or ("white" if margin else "black")
    if "px" in said:
        return geometry.Border(read_whole(said["px"]), "px", paint)
    if "percent" in said:
        return geometry.Border(float(said["percent"]), "%", paint)
    thickness = 4 if "thin" in said else 24 if "thick" in said else None
    if margin and not thickness:
        return geometry.Border(5, "%", paint)
    return geometry.Border(thickness or 10, "px", paint)


_MADE_OF = "border|frame|outline"
_SPACE = "margin|pad+ing|whitespace"
BORDER = Rule(
    _border,
    verbs=(
        "frame|surround|border|outline {it} [with|in]",
        f"frame|surround|border {{it}} with {{stroke}} {_MADE_OF}|line",
        "add|put|draw {stroke} line around {it}",
        "frame|surround|border|outline {it} with|in {width} of {colour}",
        "add|put {width} of {colour} around {it}",
        "pad [{it}] by|with {width} [of {colour}] => margin=1",
        "pad [{it}] with {width} {colour} pad+ing => margin=1",
    ),
    things=(
        *(f"[some] {stroke} {_MADE_OF}" for stroke in ("{stroke}", "{dyed}")),
        *(f"[some] {stroke} {_SPACE} => margin=1" for stroke in ("{stroke}", "{dyed}")),
        f"{{width}} of [{{colour}}] {_SPACE} => margin=1",
    ),
    alone=(
        *(f"{stroke} {_MADE_OF}" for stroke in ("{broad}", "{dyed}")),
        *(f"{stroke} {_SPACE} => margin=1" for stroke in ("{broad}", "{dyed}")),
        f"{{colour}} {_MADE_OF} [,|of] {{width}}",
        f"{_MADE_OF} of {{width}}",
        f"{_MADE_OF} {{width}} [{{colour}}]",
    ),
    asked=(f"{{stroke}} {_MADE_OF}", f"{{stroke}} {_SPACE} => margin=1"),
    asks=("border|frame|margin {must be} {width} [wide|thick] [,|and] [in] [{colour}]",),
    labels=("border|frame|margin",),
    titles=("border|frame|margin",),
    details=(
        "[with|of|in] {width} [wide|thick|width]",
        "[in|with] {colour}",
        "{thin}",
        "around [{it}]",
        "[on|to|at|around] everyside [of {it}]",
        "(to|on|around) {it}",
        "[with] color {colour}",
    ),
)


def _flatten(said: Said) -> Made:
    return colour.Flatten(said.get("colour", "white"), "behind" in said)


FLATTEN = Rule(
    _flatten,
    verbs=(
        "flatten [{it}] [transparency] [of {it}]",
        "remove transparency",
        "fill|replace|make|turn|set|color|paint|change {clear} [of {it}] [with|by|in|into|to|on] {colour}",
        "convert {clear} [of {it}] to|into {colour}",
        "put|place|add|set {colour} background behind|under|beneath|in {clear}",
        "put|place|set|lay {clear} [of {it}] on|onto {colour} [background]",
        "put|place|add|set|lay {colour} behind|under|beneath {clear} [of {it}]",
        "put|place|add {colour} behind|under {it} => behind=1",
        "put|place|set|lay {it} on|onto|over|against {colour} [background] => behind=1",
    ),
    things=("{colour} background => behind=1",),
    asks=(
        "{clear} ({must be} / (should|must) become) [fill+ed with|in] {colour}",
        "transparency to|in {colour}",
    ),
    alone=("[on|with] {colour} background => behind=1", "background [color] : {colour} => behind=1"),
    labels=("transparency",),
    details=(
        "[on|onto|to|with|over|against|in] {colour} [background]",
        "[behind|under] {it}",
        "behind transparency",
    ),
)


def _write(said: Said) -> Made:
    if "quoted" not in said:
        raise ValueError(UNQUOTED)
    if "\t" in said["quoted"] or len(said["quoted"].splitlines()) > 1:
        raise ValueError("a text of one line can be written, without tabs; write each line by itself")
    if "placed" in said and "place" not in said:
        raise ValueError("say that it is a text, or where it stands")
    place = said.get("place").replace("lower", "bottom").split()
    if "corner" in said and not {"left", "right"} & set(place) or "corner" in said and len(place) < 2:
        raise ValueError("say which corner, such as the top left corner")
    if len(place) > 1 and "center" in place:
        place.remove("center")
    if len(place) > 1 and place[0] in ("left", "right"):
        place.reverse()
    faint = "faint" in said or "watermark" in said
    default = "bottom right" if "watermark" in said else "bottom"
    words = " ".join(place) or default
    position: Position = next(p for p in get_args(Position) if p == words)
    sizes = {size: size for size in get_args(Size)}
    size: Size = sizes[said.get("letters", "medium")]
    return WriteText(said["quoted"], position, said.get("colour", "white"), size, faint)


_NOUN = "text|word|caption|label|title|inscription|heading"
WRITE = Rule(
    _write,
    verbs=(
        f"write|stamp|print|overlay [in] [{{letters}}] [{{colour}}] [letter] [{_NOUN}] {{quoted}}",
        f"add|put|place|insert {{quoted}} {_NOUN}",
        "add|put|place|insert {quoted} watermark => watermark=1",
        "add|put|place|insert|print|overlay [{faint}] {quoted} [text] => placed=1",
        f"add|put|place|insert {{quoted}} as {_NOUN}",
        "add|put|place|insert {quoted} as watermark => watermark=1",
        "add|put|place|insert|print {quoted} [text] [in|at|on|to] {place}",
        "add|put|place|insert|print {quoted} [text] [in|at|on|to|into] {place} corner => corner=1",
        f"add|put|place|insert|draw {{inked}} {_NOUN} [{{saying}}] {{quoted}}",
        "label|caption|title {it} [with|as] {quoted}",
        "watermark [{it}] [with|:] [text|word] {quoted} => watermark=1",
        "add|put|place|insert|draw|apply|overlay|use {inked} watermark [{saying}] {quoted} => watermark=1",
        "watermark {place} [corner] with [text|word] {quoted} => watermark=1",
    ),
    things=(
        f"{{inked}} {_NOUN} [{{saying}}] {{quoted}}",
        "{inked} watermark [{saying}] {quoted} => watermark=1",
    ),
    asks=(
        f"[{_NOUN}] {{quoted}} (should|must) be|go|stand|appear in|at|on {{place}}",
        f"[{_NOUN}] {{quoted}} (should|must) be|go|stand|appear in|at|on {{place}} corner => corner=1",
    ),
    alone=("text|caption|label [{saying}] {quoted}", "watermark [{saying}] {quoted} => watermark=1"),
    titles=("watermark|text|caption|label",),
    details=(
        "[in|at|on|to|into|across|along|over] {place} [side] [of {it}]",
        "[in|at|on|to|into] {place} corner [of {it}] => corner=1",
        "[in|with|using] {colour} [letter|text|word|color]",
        "[in|with|using] {colour} {letters} letter|text",
        "[in|with|using] {letters} [[and|,] {colour}] [letter|text|size]",
        "{faint}",
        "(on|onto|over|to) {it}",
    ),
)
LABELLED_TEXT = Rule(_write, labels=("text|caption",), details=("{quoted}", *WRITE.details))
LABELLED_WATERMARK = Rule(
    _write, labels=("watermark",), details=("[text] {quoted} => watermark=1", *WRITE.details)
)
CANVAS = (PAD, FIT, BORDER, FLATTEN, WRITE, LABELLED_TEXT, LABELLED_WATERMARK)
