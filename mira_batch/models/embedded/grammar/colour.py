"""Which words make which operation on colour, and which write text.

Each function takes its words from a clause that has its head ("tint"), and raises a `ValueError` that says
what is missing. Left open: brightness, contrast and saturation change by 25% ("a bit" 15%, "a lot" 50%), blur
has 4 pixels (1.5, 8), sharpen 150% (80%, 300%), tint 40% (20%, 70%), posterize 4 levels.
"""

from __future__ import annotations

from typing import get_args

from mira_batch.models.embedded.grammar.clause import CHANGES, Clause, read_amount, read_value, read_whole
from mira_batch.models.embedded.grammar.words import Token
from mira_batch.models.embedded.operations import colour
from mira_batch.models.embedded.operations.operation import Operation
from mira_batch.models.embedded.operations.text import Position, Size, WriteText


def write(c: Clause) -> Operation:
    text = c.take("text")
    if not text:
        raise ValueError('put the words to write in "quotes"')
    if c.has(*CHANGES):
        raise ValueError('say it as in write "SALE" at the bottom')
    watermark = c.drop("watermark")
    faint = c.drop("faint") or watermark
    c.drop("write", "text", "word", "words", "caption", "saying", "says", "reading", "reads", "letters")
    corner = c.drop("corner")
    c.drop("side", "across", "over", "along", "color", "size")
    sizes: dict[str, Size] = {"small": "small", "medium": "medium", "large": "large"}
    size = c.choose(sizes) or "medium"
    down = c.choose({"top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom"})
    across = c.choose({"left": "left", "right": "right"})
    centre = c.drop("center")
    if corner and not (down and across):
        raise ValueError("say which corner, such as the top left corner")
    default = "bottom right" if watermark else "bottom"
    words = " ".join(word for word in (down, across) if word) or ("center" if centre else default)
    position: Position = next(p for p in get_args(Position) if p == words)
    return WriteText(str(text.value), position, c.take_colour() or "white", size, faint)


def gray(c: Clause) -> Operation:
    if not c.drop("grayscale"):
        c.take_colour()  # "turn it gray"
    c.drop("tone", "color", "completely", "fully")
    return colour.Grayscale()


def sepia(c: Clause) -> Operation:
    c.drop("sepia", "tone", "color")
    return colour.Sepia()


def invert(c: Clause) -> Operation:
    c.drop("invert", "color", "all", "photographic")
    return colour.Invert()


def tone(c: Clause) -> Operation | tuple[Operation, ...]:
    makes = {"brightness": colour.Brightness, "contrast": colour.Contrast, "saturation": colour.Saturation}
    ways = {"increase": 1, "up": 1, "decrease": -1, "down": -1, "lower": -1}
    c.drop("color")
    adjective = c.choose(_ADJECTIVES)
    way = c.choose(ways)
    loosely = c.choose({"slightly": 15.0, "strongly": 50.0})
    kinds = ("percent", "number", "times")
    if adjective == ("saturation", -1) and not (way or loosely or any(t.kind in kinds for t in c.left)):
        c.drop("completely", "fully")
        return colour.Grayscale()
    if adjective:
        name, sign = adjective
        amount = next((t for t in c.left if t.kind in kinds[:2]), None)
        named = {name: amount}
        way = sign * (way or 1)
    else:
        named = c.pair_amounts(tuple(makes), *kinds) or {n: None for n in makes if c.has(n)}
        way = way or (1 if c.has("add", "give") else None)
    made = tuple(makes[n](_change(c, way, amount, loosely)) for n, amount in named.items())
    c.drop(*makes)
    for amount in {id(a): a for a in named.values() if a}.values():
        c.left.remove(amount)
    return made


def _change(c: Clause, way: int | None, amount: Token | None, loosely: float | None) -> float:
    """The signed percentage of "by 20%", "to 120%", "+20", "twice as", "a bit"."""
    if amount is None or loosely:
        if way is None or amount:
            raise ValueError("say how to change it, such as increase by 20%")
        return way * (loosely or 25.0)
    value = read_value(amount) * (100 if amount.kind == "times" else 1)
    relative = c.follows("by", amount) and value < 100
    to = not relative if amount.kind == "times" else c.follows("to", amount)
    if to:
        if amount.kind == "number":
            raise ValueError("say to how many percent of what it is")
        if way and (value - 100) * way < 0:
            raise ValueError(f"{value:g}% of what it is goes the other way")
        return round(value - 100, 3)
    if amount.signed == (way is not None):
        raise ValueError("say either increase or decrease, or a sign as in +20%")
    return round(value * (way or 1), 3)


_ADJECTIVES = {
    "brighten": ("brightness", 1),
    "darken": ("brightness", -1),
    "saturate": ("saturation", 1),
    "desaturate": ("saturation", -1),
}


def blur(c: Clause) -> Operation:
    c.drop("blur", "gaussian", "radius")
    return colour.Blur(read_amount(c, ("px", "number"), 1.5, 4, 8))


def sharpen(c: Clause) -> Operation:
    c.drop("sharpen", "increase")
    return colour.Sharpen(read_amount(c, ("percent", "number"), 80, 150, 300))


def tint(c: Clause) -> Operation:
    c.drop("tint", "color", "strength", "tone")
    paint = c.take_colour()
    if not paint:
        raise ValueError("say in which color, such as tint it orange")
    return colour.Tint(paint, read_amount(c, ("percent", "number"), 20, 40, 70))


def posterize(c: Clause) -> Operation:
    c.drop("posterize", "levels", "level", "per", "channel", "color")
    return colour.Posterize(read_whole(read_value(c.take("number"), 4)))


def autocontrast(c: Clause) -> Operation:
    c.drop("autocontrast")
    return colour.Autocontrast()


def flatten(c: Clause) -> Operation:
    flatten = c.drop("flatten")
    named = [t.kind for t in c.left if t.kind == "colour" or t.value == "transparency"]
    if named[:1] == ["colour"] and not flatten:  # "replace the white by a transparent background"
        raise ValueError("transparent areas can be filled, but nothing can be made transparent")
    c.drop("transparency", "background", "replace", "fill", "color", "alpha", "channel")
    paint = c.take_colour()
    if not (paint or flatten):
        raise ValueError("say which color the transparent areas get")
    return colour.Flatten(paint or "white")
