"""Images that one embedded model has worked out and another of the same process is about to.

The policy carries out an instruction's operations to know what to look for; the editor is then asked for the
same operations on the same pixels. Operations are pure, so the editor takes what is there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from PIL.Image import Image

from mira_batch.models.embedded.operations.operation import Operation

MOST_PIXELS = 32_000_000
"""Of all images that are kept, together: 128 MB, as Pillow holds them."""
_Key = tuple[str, Operation]


class WorkedOut:
    """Results of operations, each handed out once. Beyond so many pixels the oldest are forgotten."""

    def __init__(self, most_pixels: int = MOST_PIXELS) -> None:
        """
        Args:
            most_pixels: of all images, together.
        """
        self._most = most_pixels
        self._awaited = False
        self._pixels = 0
        self._found: OrderedDict[_Key, Image] = OrderedDict()
        self._lock = threading.Lock()

    def await_results(self) -> None:
        """Say that somebody takes results, in this process: before that none are kept."""
        self._awaited = True

    def keep(self, digest: str, operation: Operation, image: Image) -> None:
        """Keep a result for whoever asks first.

        Args:
            digest: of the image that it was made of.
            operation: that was carried out.
            image: what came of it; nobody may change it.
        """
        if not self._awaited:
            return
        with self._lock:
            self._drop((digest, operation))
            self._found[digest, operation] = image
            self._pixels += image.width * image.height
            while self._pixels > self._most:
                self._drop(next(iter(self._found)))

    def take(self, digest: str, operation: Operation) -> Image | None:
        """The result, which is not kept any longer; None where there is none.

        Args:
            digest: of the image that the operation is to be carried out on.
            operation: which.
        """
        with self._lock:
            return self._drop((digest, operation))

    def _drop(self, key: _Key) -> Image | None:
        image = self._found.pop(key, None)
        if image is not None:
            self._pixels -= image.width * image.height
        return image


WORKED_OUT = WorkedOut()
"""Of this process: policy and editor are made apart, and don't know of each other."""
