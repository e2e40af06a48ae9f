"""How the grammar says that it does not understand."""

from __future__ import annotations

HINT = (
    "understood are: rotate, mirror or flip, crop, resize, fit into a size, pad, border, black and white, "
    'sepia, invert, brightness, contrast, saturation, blur, sharpen, tint, text in "quotes", watermark, '
    "flatten, posterize, autocontrast"
)
UNQUOTED = 'put the text in quotes, as in watermark "Our Shop"'


class InstructionUnclear(ValueError):
    """Part of an instruction has no meaning to this grammar; `words` are exactly that part."""

    def __init__(self, words: str, why: str = "") -> None:
        super().__init__(words, why)
        self.words = words
        self.why = why

    def __str__(self) -> str:
        return f"could not understand '{self.words}': {self.why or HINT}"


class Misread(ValueError):
    """This part of the normalised text has no meaning here."""

    def __init__(self, start: int, end: int, why: str = "") -> None:
        super().__init__(why)
        self.start, self.end, self.why = start, end, why
