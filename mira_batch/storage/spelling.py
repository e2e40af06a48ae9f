"""Other spellings of a file's name, to be looked for where the name itself doesn't exist."""

from __future__ import annotations

import unicodedata
from typing import Literal

_FORMS: tuple[tuple[Literal["NFC", "NFD"], str], ...] = (("NFC", "one piece"), ("NFD", "two pieces"))


def list_spellings(location: str) -> dict[str, str]:
    """The names that were perhaps meant by one that doesn't exist.

    Catalogues made on Windows part folders by backslashes, and those made on a Mac may hold letters in two
    pieces, which look the same and are another name elsewhere.

    Args:
        location: a path or URI.

    Returns:
        Other location -> how it differs, to be read after "is there": "with / for each backslash".
    """
    found: dict[str, str] = {}
    slashed = location.replace("\\", "/")
    for name, how in ((location, ""), (slashed, "with / for each backslash")):
        found.setdefault(name, how)
        for form, pieces in _FORMS:
            letters = f"in Unicode's normal form {form} (accented letters in {pieces})"
            found.setdefault(unicodedata.normalize(form, name), f"{how}, {letters}" if how else letters)
    stripped = location.strip()
    found.setdefault(stripped, "without the space around it")
    del found[location]
    return found
