"""Plain typing mistakes: a word one slip away from exactly one word that the grammar knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mira_batch.models.embedded.grammar.nearby import ENGLISH

SHORTEST = 4
"""Shorter words have too many neighbours."""
_LONGER = 5
"""Of shorter words only two letters that changed places, and a letter doubled or not, are plain mistakes: any
other slip makes too many English words of them."""
_LONGEST = 24
_ENDINGS = "sdr"


class Speller:
    """The words that the grammar knows, and what is meant by those one slip away."""

    def __init__(self, meant: Iterable[str], others: Iterable[str], same: Mapping[str, str]) -> None:
        """
        Args:
            meant: the words that a mistake may have been meant for.
            others: more words that are no mistakes.
            same: what some of them are spellings of.
        """
        self._meant = frozenset(word for word in meant if word.isalpha())
        self._known = self._meant.union(others)
        self._same = same
        self._slips: dict[str, set[str]] = {}
        for word in self._meant:
            if len(word) >= SHORTEST:
                for slip in _drop_one(word):
                    self._slips.setdefault(slip, set()).add(word)

    def knows(self, word: str) -> bool:
        """Whether this is a word of the grammar."""
        return word in self._known

    def correct(self, word: str) -> str:
        """The word that was meant; the word itself where it is known, is English, or could be several."""
        if word in self._known or word in ENGLISH or not SHORTEST <= len(word) <= _LONGEST:
            return word
        if word[-1] in _ENDINGS and word[-1] != word[-2] and word[:-1] in self._meant:
            return word  # "posterizes" is no mistake
        near = {
            known
            for slip in (word, *_drop_one(word))
            for known in self._slips.get(slip, ())
            if is_one_slip(word, known)
        }
        near |= {slip for slip in _drop_one(word) if slip in self._meant and len(slip) >= SHORTEST}
        near |= {slip for slip in _drop_twin(word) if slip in self._meant}
        near = {known for known in near if sorted(known) == sorted(word)} or near  # "balck"
        meanings = {self._same.get(known, known) for known in near}
        return meanings.pop() if len(meanings) == 1 else word


def _drop_one(word: str) -> set[str]:
    return {word[:i] + word[i + 1 :] for i in range(len(word))}


def _drop_twin(word: str) -> set[str]:
    """The word with one of two equal neighbours dropped: "padd" is "pad"."""
    return {word[:i] + word[i + 1 :] for i in range(1, len(word)) if word[i] == word[i - 1]}


def is_one_slip(typed: str, meant: str) -> bool:
    """Whether one letter is missing, too many or another, or two neighbours changed places.

    The first letter is right, or changed places with the second: there slips are rare, and other words many.
    """
    if typed == meant or abs(len(typed) - len(meant)) > 1:
        return False
    same_letters = sorted(typed) == sorted(meant) or typed in _drop_twin(meant) or meant in _drop_twin(typed)
    if not same_letters and (len(meant) < _LONGER or typed[0] != meant[0]):
        return False
    start = next(
        (i for i, (a, b) in enumerate(zip(typed, meant, strict=False)) if a != b), min(len(typed), len(meant))
    )
    a, b = typed[start:], meant[start:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return a[1:] == b if len(a) > len(b) else a == b[1:]
