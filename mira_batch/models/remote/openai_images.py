"""An editor behind an OpenAI-compatible image editing endpoint (`/images/edits`): GPT-Image.

The endpoint takes no seed, so that its edits can't be repeated, and it may answer in a size of its own; see
`restore`. Images that it gives as a URL are not fetched: config and storage say what a worker may read.
"""

from __future__ import annotations

import asyncio

from PIL import Image

from mira_batch.config.models.served import OpenAIImagesConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import EditRequest, Priced
from mira_batch.core.types import ErrorKind
from mira_batch.models.remote.openai_client import open_client, openai_faults, priced, whole
from mira_batch.models.remote.pictures import from_base64, png_of, restored
from mira_batch.models.serving.faults import charged


class OpenAIImages:
    """Makes one edit at a time. Create, use and close it on one event loop."""

    def __init__(self, config: OpenAIImagesConfig) -> None:
        """
        Raises:
            ConfigError: the openai package or the key is missing.
        """
        self._config = config
        self._client, self._key = open_client(config, "editor")

    @property
    def identity(self) -> str:
        fidelity = self._config.input_fidelity or "default"
        return f"openai-images {self._config.model} quality={self._config.quality} input_fidelity={fidelity}"

    async def apply(self, request: EditRequest) -> Priced[object]:
        """The edited image, as a `PIL.Image.Image` in RGB or RGBA.

        Raises:
            EndpointFault: the call failed.
            RecordError: what came back is no image.
        """
        from openai import omit

        png = await asyncio.to_thread(png_of, request.image.pixels)
        with openai_faults(self._key):
            answer = await self._client.images.edit(
                model=self._config.model,
                image=("image.png", png, "image/png"),
                prompt=request.instruction,
                quality=self._config.quality,
                input_fidelity=self._config.input_fidelity or omit,
                size="auto",
            )
        usage = getattr(answer, "usage", None)
        made = 1 if getattr(answer, "data", None) else 0
        cost = priced(self._config.prices, usage, "input_tokens", ("output_tokens",), made)
        data = whole(answer, "data", self._key, cost)
        with charged(cost):
            encoded = getattr(data, "b64_json", None)
            if not isinstance(encoded, str):
                raise RecordError(
                    ErrorKind.editor_failed,
                    "the endpoint gave no image in base64 (b64_json); one behind a URL isn't fetched",
                )
            return Priced(await asyncio.to_thread(from_base64, encoded), cost)

    def restore(self, image: Image.Image, original: Image.Image) -> Image.Image:
        """The result at the original's size, or in another shape as large as fits into it."""
        return restored(image, original)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
