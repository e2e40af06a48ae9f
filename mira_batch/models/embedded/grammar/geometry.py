"""Which words make which operation on geometry: rotate, flip, crop, resize, pad and border.

Each function takes its words from a clause that has its head ("crop"), and raises a `ValueError` that says
what is missing. Left open: a turn has 90 degrees, a border 10 pixels ("thin" 4, "thick" 24), a margin 5%.
"""

from __future__ import annotations

from mira_batch.models.embedded.grammar.clause import CHANGES, Clause, read_value, read_whole
from mira_batch.models.embedded.operations import geometry
from mira_batch.models.embedded.operations.operation import Operation


def rotate(c: Clause) -> Operation:
    c.drop("rotate")
    fill = c.take_colour()
    if fill:
        c.drop("background", "corner", "corners", "fill", "filling", "filled", "color")
    upside_down = c.drop("upsidedown")
    way = c.choose({"clockwise": 1, "right": 1, "counterclockwise": -1, "left": -1})
    amount = None if upside_down else c.take("degrees", "turn", "number")
    if not (amount or way or upside_down):
        raise ValueError("say how far, such as 90 degrees clockwise")
    degrees = 180.0 if upside_down else read_value(amount, 90) * (way or 1)
    degrees %= 360
    return geometry.Rotate(round(degrees - 360 if degrees > 180 else degrees, 3), fill)


def flip(c: Clause) -> tuple[Operation, ...]:
    mirror = c.drop("mirror")
    c.drop("flip", "both")
    across, down = c.drop("horizontally"), c.drop("vertically", "upsidedown")
    if not (across or down or mirror):
        raise ValueError("say horizontally or vertically")
    flips = (geometry.Flip("horizontal"), geometry.Flip("vertical"))
    return flips if across and down else flips[1:] if down else flips[:1]


def crop(c: Clause) -> Operation:
    trim = c.drop("trim")
    c.drop("crop")
    square, size, ratio = c.drop("square"), c.take_pair("size"), c.take_pair("ratio")
    if not (square or size or ratio):
        return _crop_sides(c, trim)
    c.drop("center", "proportions", "format")
    if square and not size and (side := c.take("px")):
        size = (read_value(side), read_value(side))
    if square and size and size[0] != size[1]:
        raise ValueError("a square has two equal sides")
    if size:
        return geometry.CropSize(read_whole(size[0]), read_whole(size[1]))
    return geometry.CropRatio(*(ratio or (1, 1)))


def _crop_sides(c: Clause, trim: bool) -> Operation:
    centre = c.drop("center")
    sides = ("left", "top", "right", "bottom")
    if (centre or c.has("to")) and not c.has("everyside", *sides) and (kept := c.take("percent")):
        off = round((100 - read_value(kept)) / 2, 3)
        return geometry.CropSides(off, off, off, off, "%")
    amounts = c.pair_amounts(("everyside", *sides), "px", "percent")
    if not amounts or len({t.kind for t in amounts.values()}) > 1:
        raise ValueError("say what to crop, such as 10% off the left, to 640x480, to 16:9 or square")
    if not (trim or "everyside" in amounts or c.has("off", "from", "by")) or c.has("to"):
        raise ValueError("say how much to crop off, such as 10% off the left")
    if "everyside" in amounts and len(amounts) > 1:
        raise ValueError("every side and single sides contradict each other")
    c.drop("everyside", "off", "away", "side", *sides)
    c.take_all("px", "percent")
    per_side = [read_value(amounts.get("everyside") or amounts.get(side)) for side in sides]
    percent = any(t.kind == "percent" for t in amounts.values())
    return geometry.CropSides(*per_side, unit="%" if percent else "px")


def resize(c: Clause) -> Operation:
    c.drop("resize", "size", "original", "current", "dimensions", "large", "exactly")
    if size := c.take_pair("size"):
        return geometry.Resize(read_whole(size[0]), read_whole(size[1]))
    way = c.choose({"enlarge": 1, "up": 1, "increase": 1, "shrink": -1, "down": -1, "decrease": -1})
    c.drop("proportionally")
    amounts = c.pair_amounts(("width", "height"), "px", "number")
    if amounts:
        _refuse_by(c)
        c.drop("width", "height")
        c.take_all("px", "number")
        width, height = (amounts.get(side) for side in ("width", "height"))
        return geometry.Resize(
            width and read_whole(read_value(width)), height and read_whole(read_value(height))
        )
    if c.has("side"):
        _refuse_by(c)
    if c.has("side") and (pixels := c.take("px", "number")):
        side = "shortest" if c.drop("shortest") else "longest"
        if not c.drop(side) and side == "longest":
            raise ValueError("say which side: the longest or the shortest")
        c.drop("side")
        return geometry.ResizeSide(read_whole(read_value(pixels)), side)
    return geometry.Scale(round(_scale(c, way), 3))


def _refuse_by(c: Clause) -> None:
    """ "Reduce the width by 100 px" is not "to 100 px"; "640 wide by 480 high" is fine."""
    first = next((t for t in c.left if t.kind in ("px", "number")), None)
    if first and c.follows("by", first):
        raise ValueError("say what size it shall have, such as a width of 640 pixels")


def _scale(c: Clause, way: int | None) -> float:
    """The percentage meant by "to 50%", "by 20%" with a direction, "twice as large", "2 times smaller"."""
    amount = next((t for t in c.left if t.kind in ("percent", "times")), None)
    if not amount:
        raise ValueError("say to what size, such as to 640x480, to 800 pixels wide or to 50%")
    if amount.signed:
        raise ValueError("say enlarge or shrink, without a sign")
    by, to = c.follows("by", amount), c.follows("to", amount)
    c.left.remove(amount)
    value = read_value(amount)
    if amount.kind == "times" and value >= 1:
        return 100 / value if way == -1 else 100 * value
    percent = value if amount.kind == "percent" else 100 * value
    relative = by or (not to and amount.kind == "percent")
    return 100 + (way or 0) * percent if way and relative else percent


def surround(c: Clause) -> Operation:
    margin = c.drop("margin", "pad")
    bordered = c.drop("border")
    if c.drop("square"):
        c.drop("background", "color")
        return geometry.PadSquare(c.take_colour() or "white")
    if c.has(*CHANGES):
        raise ValueError("say it as in add a 12 px white border")
    c.drop("around", "everyside", "width", "thickness", "background", "color", "solid")
    amount = c.take("px", "percent", "number")
    thickness = c.choose({"thin": 4.0, "thick": 24.0})
    paint = c.take_colour() or ("white" if margin else "black")
    if amount:
        return geometry.Border(read_value(amount), "%" if amount.kind == "percent" else "px", paint)
    if margin and not bordered and not thickness:
        return geometry.Border(5, "%", paint)
    return geometry.Border(thickness or 10, "px", paint)
