"""The images of one record as they are written, its steps' and its result, with what each says of itself."""

from __future__ import annotations

from mira_batch.config.output import ImageOutput
from mira_batch.core.source_type import find_result_type
from mira_batch.core.types import Frame
from mira_batch.imaging import encode_frame
from mira_batch.marks import Labels, Marks, make_labels
from mira_batch.storage.encoding import encode


class LabelledImages:
    """Encodes the images of a record. The same pixels give the same bytes, labels and all: by these the
    report finds the step that gave the result, and nothing is encoded twice."""

    def __init__(self, output: ImageOutput, original: str, marks: Marks, editor: str) -> None:
        """
        Args:
            output: the form of images.
            original: digest of the source's pixels; empty where it can't be had.
            marks: what the source says beside them.
            editor: the digital source type of what the editor changed; empty where that is not marked.
        """
        self._output = output
        self._original = original
        self._marks = marks
        self._editor = editor
        self._labels: dict[str, Labels] = {}
        self._encoded: dict[str, bytes] = {}

    def name_type(self, frame: Frame) -> str:
        """The digital source type that an image of this record carries; empty for none."""
        if not self._output.provenance:
            return ""
        return find_result_type(self._marks.source_type, self._editor, frame.digest != self._original)

    def encode(self, frame: Frame) -> bytes:
        """An image as it is written.

        Raises:
            RecordError: as `storage.encoding.encode`.
        """
        if frame.digest not in self._encoded:
            said = self.name_type(frame)
            if said not in self._labels:
                self._labels[said] = make_labels(self._marks, self._output.metadata, said)
            png = encode_frame(frame) if self._output.format == "png" else None
            self._encoded[frame.digest] = encode(frame.pixels, self._output, self._labels[said], png)
        return self._encoded[frame.digest]
