"""Complex-Edit: Hugging Face rows of image and edit {sequence: [{instruction}], compound:
[{compound_instruction}]}; the n-th compound instruction asks for the first n edits of the sequence. It has no
edited images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mira_batch.config.construct import ComplexEditConfig
from mira_batch.construct.readers.found import Found, FoundTurn, Left, locate, need, need_text
from mira_batch.core.errors import DataSetError
from mira_batch.storage.published import open_rows


def read(config: ComplexEditConfig) -> Iterator[Found | Left]:
    """A session for each image and number of edits that there is a compound instruction of.

    Raises:
        DataSetError: it is no Complex-Edit.
    """
    for number, (place, row) in enumerate(
        open_rows(locate(config.data), config.split).read(("image", "edit"))
    ):
        image, edit = row["image"], row["edit"]
        data = image.get("bytes") if isinstance(image, Mapping) else image
        if not isinstance(data, bytes) or not data:
            raise DataSetError(
                f"{place}: image has no image in it; save the data set with its images embedded"
            )
        if not isinstance(edit, Mapping):
            raise DataSetError(f"{place}: edit is {edit!r:.80}; is it this data set's?")
        need(f"{place}: edit", edit, ("sequence", "compound"))
        atomic = [need_text(f"{place}: sequence", step, "instruction") for step in edit["sequence"]]
        for count, compound in enumerate(edit["compound"][: len(atomic)], 1):
            whole = need_text(f"{place}: compound", compound, "compound_instruction")
            turns = tuple(FoundTurn(text, None) for text in atomic[:count])
            yield Found(f"{number}-c{count}", data, turns, complex=whole)
