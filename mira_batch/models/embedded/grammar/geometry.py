"""The phrases for edits of geometry, and the operations they make: rotate, flip, crop.

Left open: a turn has 90 degrees.
"""

from __future__ import annotations

import re

from mira_batch.models.embedded.grammar.clause import Made, Rule, Said
from mira_batch.models.embedded.operations import geometry
from mira_batch.models.embedded.operations.operation import Operation

RATIOS = frozenset(
    ((1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (3, 2), (2, 3), (4, 3), (3, 4), (5, 4), (4, 5), (7, 5), (5, 7))
    + ((16, 9), (9, 16), (16, 10), (10, 16), (21, 9), (9, 21), (8, 10), (10, 8), (4, 6), (6, 4))
)
"""What "16x9" means where an image has to be cropped: no image has so few pixels."""
SMALLEST_CROP, SMALLEST_SIZE = 100, 22
"""A size whose longest side is shorter needs "px" to be one: it may be a ratio, or the inches of a print."""


def read_whole(value: str) -> int:
    if float(value) != int(float(value)):
        raise ValueError(f"{value} is not a whole number")
    return int(float(value))


_HOW_FAR = "say how far, such as 90 degrees clockwise"


def _rotate(said: Said) -> Made:
    fill = said.get("colour") or None
    if "upsidedown" in said:
        if "way" in said or "degrees" in said:
            raise ValueError("upside down and another turn contradict each other")
        return geometry.Rotate(180, fill)
    if not ("degrees" in said or "way" in said):
        raise ValueError(_HOW_FAR)
    if "way2" in said and said["way"][0] != said["way2"][0]:
        raise ValueError("left is counterclockwise; say one direction")
    amount, way = said.get("degrees", "90"), said.get("way")
    if not said.get("by") + said.get("deg") and float(amount) % 45:
        raise ValueError(_HOW_FAR)  # "rotate it 2 …": twice, 2 rad, or 2 degrees?
    if way and amount[0] in "+-":
        raise ValueError("say either a direction or a sign")
    degrees = float(amount) * (-1 if way in ("counterclockwise", "left") else 1) % 360
    return geometry.Rotate(round(degrees - 360 if degrees > 180 else degrees, 3), fill)


ROTATE = Rule(
    _rotate,
    verbs=(
        "rotate|spin|tilt [{it}] [around]",
        "turn [{it}]",
        "make {degrees} turn|rotation",
        "make {degrees} {way} turn|rotation",
        "turn|rotate [{it}] upsidedown => upsidedown=1",
    ),
    states=("upsidedown => upsidedown=1",),
    things=(
        "{angle} [{way}] [rotation|turn]",
        "{degrees} {way} [rotation|turn]",
        "{degrees} rotation|turn",
        "{way} rotation|turn [of|by {degrees}]",
        "rotation|turn of|by {degrees} [{way}]",
    ),
    alone=("{degrees} {way} [rotation|turn]", "{degrees} rotation|turn"),
    labels=("rotation|rotate|rotate+ing|turn",),
    titles=("rotation|rotate|rotate+ing|turn",),
    details=(
        "by|through|of {degrees} => by=1",
        "{degrees}",
        "[in] {way} [direction]",
        "[and] with|on {colour} background|corner|canvas|fill|fill+ing",
        "[and] (fill|fill+ing) [new|empty] corner|gap|background|area with|in {colour}",
        "[and] fill|fill+ing with {colour}",
        "{colour} background|corner",
        "{colour} in corner",
        "[and] make|paint|color corner {colour}",
        "so [that] {it} is upsidedown => upsidedown=1",
        "background|corner {colour}",
        "{of it}",
    ),
)


def _flip(said: Said) -> Made:
    axes = {"horizontally": geometry.Flip("horizontal"), "vertically": geometry.Flip("vertical")}
    if "both" in said:
        return tuple(axes.values())
    axis, traded, around = said.get("axis"), said.get("traded"), said.get("around")
    if around and (not traded or around == traded):
        raise ValueError("say what changes places, such as left and right")
    if axis and traded and axis != traded:
        raise ValueError("its parts contradict each other")
    axis = axis or traded
    if not axis:
        raise ValueError("say horizontally or vertically")
    return axes[axis]


ACROSS, UPWARD = "axis=horizontally", "axis=vertically"
_TRADED = "(swap / (is|are) (swap+ed|exchange+ed|reverse+ed|flip+ed) / change|trade|switch places|sides)"
FLIP = Rule(
    _flip,
    verbs=(
        f"flip|mirror|reflect|reverse [{{it}}] horizontally|sideways => {ACROSS}",
        f"flip|mirror|reflect|reverse [{{it}}] vertically|upsidedown => {UPWARD}",
        f"horizontally flip|mirror [{{it}}] => {ACROSS}",
        f"vertically flip|mirror [{{it}}] => {UPWARD}",
        f"mirror [{{it}}] => {ACROSS}",
        f"make (mirror / mirror+ed) image|version|copy => {ACROSS}",
        "flip|mirror [{it}] [both] horizontally and vertically => both=1",
        "flip [{it}] => ",
        f"flip {{it}} over horizontally => {ACROSS}",
        f"flip {{it}} over vertically => {UPWARD}",
        f"swap|exchange|switch|flip|reverse left and right [side] => {ACROSS}",
        f"swap|exchange|switch|flip|reverse top and bottom [side] => {UPWARD}",
    ),
    asks=(
        f"left and right [side] {{must be}} swap+ed|exchange+ed => {ACROSS}",
        f"top and bottom [side] {{must be}} swap+ed|exchange+ed => {UPWARD}",
    ),
    states=(f"mirror image => {ACROSS}", f"[into] mirror image => {ACROSS}"),
    things=(
        f"horizontally flip|mirror|reflection|mirror+ing|flip+ing => {ACROSS}",
        f"vertically flip|mirror|reflection|mirror+ing|flip+ing => {UPWARD}",
        f"(mirror / mirror+ed) image|version|copy => {ACROSS}",
        f"left and right [side] swap+ed => {ACROSS}",
        f"top and bottom [side] swap+ed => {UPWARD}",
    ),
    alone=(f"horizontally flip|mirror => {ACROSS}", f"vertically flip|mirror => {UPWARD}"),
    titles=("mirror|flip|mirror+ing|flip+ing",),
    details=(
        "along|around|about|across|over {axis:around} axis",
        f"[,] so [that] left and right [side] {_TRADED} => traded=horizontally",
        f"[,] so [that] top and bottom [side] {_TRADED} => traded=vertically",
        "{of it}",
    ),
)
LABELLED_FLIP = Rule(
    _flip,
    labels=("mirror|flip|mirror+ing|flip+ing",),
    details=(f"horizontally => {ACROSS}", f"vertically => {UPWARD}"),
)


def _crop(said: Said) -> Made:
    square, ratio, size = "square" in said, said.get("ratio"), read_size(said)
    sized = bool(said.get("sized"))
    if size and not sized:
        if size in RATIOS and not ratio:
            size, ratio = None, f"{size[0]}:{size[1]}"
        elif not square:
            check_pixels(said, size, SMALLEST_CROP)
    shape, lying = "shape" in said, said.get("lying")
    if size and shape and not (ratio or square or sized):
        raise ValueError("say either a size in px or a ratio")
    said.get("centered")
    if side := said.get("side"):
        size = (read_whole(side), read_whole(side))
    if square and size and size[0] != size[1]:
        raise ValueError("a square has two equal sides")
    if ratio and (size or (square and ratio != "1:1")):
        raise ValueError("say either a ratio or a size; to have both, crop to the ratio, then resize")
    if size:
        return geometry.CropSize(*size)
    if percent := said.get("percent"):
        off = round((100 - float(percent)) / 2, 3)
        return geometry.CropSides(off, off, off, off, "%")
    if ratio:
        width, height = map(float, ratio.split(":"))
        if lying and (lying == "portrait") != (width < height):
            raise ValueError(f"{ratio} is not {lying}")
        return geometry.CropRatio(width, height)
    if square:
        return geometry.CropRatio(1, 1)
    return _crop_sides(said)


def read_size(said: Said) -> tuple[int, int] | None:
    return (int(said["width"]), int(said["height"])) if "height" in said else None


def check_pixels(said: Said, size: tuple[int, int], smallest: int = SMALLEST_SIZE) -> None:
    """Refuse a size that may be something else."""
    if not said.get("sized") and max(size) < smallest:
        raise ValueError(f"say {size[0]}x{size[1]} px if pixels are meant")


_SIDES = ("left", "top", "right", "bottom")
_PIECE = re.compile(r"(?P<amount>\d[\d.]*) (?P<unit>px|%|part)|(?P<side>left|right|top|bottom|everyside)")


def _crop_sides(said: Said) -> Operation:
    """ "10 px off left and right", or "the top and bottom by 20 px"."""
    if "trims" in said:
        pieces = list(_PIECE.finditer(said["trims"]))[::-1]
    elif "edge" in said:
        pieces = list(_PIECE.finditer(f"{said['amount']} {said['edge']}"))
    else:
        pieces = list(_PIECE.finditer(said.get("cuts", "")))
    amount: tuple[float, str] | None = None
    found: dict[str, tuple[float, str]] = {}
    for piece in pieces:
        if piece["side"] is None:
            amount = (float(piece["amount"]), "px" if piece["unit"] == "px" else "%")
            continue
        if amount is None or piece["side"] in found or "everyside" in found:
            raise ValueError("say for each side once how much comes off")
        found[piece["side"]] = amount
    if not found:
        raise ValueError("say what to crop, such as 10% off the left, to 640x480, to 16:9 or square")
    if "everyside" in found and len(found) > 1:
        raise ValueError("every side and single sides contradict each other")
    if len({unit for _, unit in found.values()}) > 1:
        raise ValueError("say pixels or percent for all sides")
    unit = next(iter(found.values()))[1]
    per_side = [(found.get("everyside") or found.get(side) or (0, ""))[0] for side in _SIDES]
    return geometry.CropSides(*per_side, unit="%" if unit == "%" else "px")


_FORMAT = "proportion|format|crop|shape"
CROP = Rule(
    _crop,
    verbs=(
        "crop|trim|cut|chop [{it}] [down]",
        "center crop [{it}]",
        "make [center] square crop => square=1",
        "make {ratio} crop",
        "crop|trim|cut|shave|remove|take|slice|chop|clip|snip|lose|drop|discard [off|away] {cuts} [away]",
        "crop|trim|cut|shave {trims}",
        "trim|cut|shave|remove|chop|lose|drop|discard [off|away] {edge} {amount} [away|off]",
        "crop|cut|trim|take {edge} {amount} off|away",
        "crop|trim|cut|shave|chop|take off|away {edge} {amount}",
        "crop|trim|cut|shave|remove|take [off|away] {amount} [on|from|at|off] everyside => edge=everyside",
        "make {it} square (by crop+ing [{it}] / , crop / crop) => square=1",
        "change|set proportion [of {it}] to {ratio} by crop+ing [{it}]",
        "keep|take|extract|leave|retain [only] center [area] [,|of] {size} [only]",
        "keep|leave|retain [only] center {percent}",
        "cut|crop out center [area] [,|of] {size}",
        "cut|crop|take {size} [area|square] (out of / from) center",
        "take {size} crop => shape=1",
    ),
    states=("square crop => square=1", "{ratio} crop"),
    things=("[center] square crop => square=1", "{ratio} crop"),
    asks=(
        "crop|proportion {must be} {ratio}",
        "{edge} {amount} {must be} (cut|crop+ed|trim+ed|chop+ed off|away / remove+ed)",
        "can {edge} {amount} be (cut|crop+ed|trim+ed|chop+ed off|away / remove+ed)",
        "only center [area] [,|of] {size} (should|must) (remain / stay / be (keep+ed / left / visible))",
    ),
    alone=(
        "[center] square crop => square=1",
        "{ratio} crop",
        "{size} crop => shape=1",
        "{amount} off {edge}",
        "{amount} off everyside => edge=everyside",
    ),
    labels=("crop|crop+ing|proportion|format", "crop proportion|format"),
    titles=("crop|crop+ing",),
    details=(
        f"[to|in|into|as|at] [center] [proportion|format|shape] [of] {{ratio}} [{_FORMAT}]",
        "[to|in] {lying} [format|orientation]",
        "[so|such] [that] {it} (is / becomes) square => square=1",
        f"[to|into|as] {{square}} [{_FORMAT}] [of {{px:side}}] => square=1",
        "[to|at|into|as] [center] [size|area|dimension] [of] {size} [area|square]",
        "[to] [center] {size} square => square=1",
        f"[to] [{_FORMAT}] {{size}} {_FORMAT} => shape=1",
        f"to {_FORMAT} {{size}} => shape=1",
        "[to] center {percent}",
        "(from|around|at|on|in) center => centered=1",
        "center|centrally => centered=1",
        "{of it}",
    ),
)


LABELLED_CUTS = Rule(_crop, labels=("crop|trim|cut|crop+ing",), details=("{cuts}",))
GEOMETRY = (ROTATE, FLIP, LABELLED_FLIP, CROP, LABELLED_CUTS)
