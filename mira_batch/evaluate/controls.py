"""What a judge is asked beside the results: the same again, and about images that must not do.

Released judges have been found to rate black images like real ones; so each evaluation shows what this one
says of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from heapq import nsmallest

from PIL import Image

from mira_batch.config.evaluate import ControlsConfig

RESULT, REPEAT = "result", "repeat"
ORIGINAL, BLACK, OTHER, NONSENSE, SAME = "original", "black", "other", "nonsense", "same"
CANARIES = (ORIGINAL, BLACK, OTHER, NONSENSE)
"""The original as if it were the result; a black image; another record's result; an instruction without
sense."""
PAIR_CANARIES = (ORIGINAL, BLACK, SAME)
"""What the result is held against: the original and a black image, to both of which it must be preferred;
itself, where neither must be."""
SENSELESS = "Pickle the Tuesday beneath its louder half, but only where the seven smells rounder."
"""What no image can be faulted for not showing, and none can show."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which records are judged, and which of them also otherwise. Plain data that travels to workers."""

    sample: frozenset[str] | None
    """None: all."""
    repeats: frozenset[str]
    canaries: frozenset[str]
    canary_kinds: tuple[str, ...] = CANARIES

    def kinds(self, record_id: str) -> list[str]:
        """What is asked about a record."""
        if self.sample is not None and record_id not in self.sample:
            return []
        again = [REPEAT] if record_id in self.repeats else []
        return [RESULT, *again, *(self.canary_kinds if record_id in self.canaries else ())]


ALL = Asked(None, frozenset(), frozenset())
"""All records, and of none of them more."""


def draw(
    records: Mapping[str, bool],
    sample: int | None,
    controls: ControlsConfig,
    canary_kinds: tuple[str, ...] = CANARIES,
) -> Asked:
    """Choose records at random, the same ones each time: those of the least digests.

    More is asked only of records whose controls' names no other record has.

    Args:
        records: all that may be judged, and whether each has what can be asked about otherwise.
        sample: how many are; None: all.
        controls: of how many of these more is asked.
        canary_kinds: which canaries.
    """
    sampled = records if sample is None else dict.fromkeys(nsmallest(sample, records, key=_digest))
    kinds = (REPEAT, *canary_kinds)
    able = [
        record
        for record in sampled
        # A row of that name is the record's own: two rows of one name would be taken for one twice.
        if records[record] and not any(name_judging(record, kind) in records for kind in kinds)
    ]
    asked_more = nsmallest(max(controls.repeats, controls.canaries), able, key=_digest)
    return Asked(
        None if sample is None else frozenset(sampled),
        frozenset(asked_more[: controls.repeats]),
        frozenset(asked_more[: controls.canaries]),
        canary_kinds,
    )


def _digest(record_id: str) -> bytes:
    return blake2b(record_id.encode("utf-8", "surrogatepass"), digest_size=16, person=b"evaluate").digest()


def name_judging(record_id: str, kind: str) -> str:
    """The id of the row of a judging."""
    return record_id if kind == RESULT else f"{record_id}#{kind}"


def make_black(size: tuple[int, int]) -> Image.Image:
    """A black image of this width and height, in pixels."""
    return Image.new("RGB", size)
