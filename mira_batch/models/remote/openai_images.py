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
from mira_batch.models.remote.openai_client import open_client, price_call, take_first, turn_openai_faults
from mira_batch.models.remote.pictures import WIRE, fit_to, open_base64
from mira_batch.models.serving import EDITOR, charge_errors


class OpenAIImages:
    """Makes one edit at a time. Create, use and close it on one event loop."""

    def __init__(self, config: OpenAIImagesConfig) -> None:
        """
        Raises:
            ConfigError: the openai package or the key is missing.
        """
        self._config = config
        self._client, self._key = open_client(config, EDITOR.field)

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

        png = await asyncio.to_thread(WIRE.encode, request.image)
        with turn_openai_faults(self._key):
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
        cost = price_call(self._config.prices, usage, "input_tokens", ("output_tokens",), made)
        data = take_first(answer, "data", self._key, cost)
        with charge_errors(cost):
            encoded = getattr(data, "b64_json", None)
            if not isinstance(encoded, str):
                raise RecordError(
                    ErrorKind.editor_failed,
                    "the endpoint gave no image in base64 (b64_json); one behind a URL isn't fetched",
                )
            return Priced(await asyncio.to_thread(open_base64, encoded), cost)

    def restore(self, image: Image.Image, original: Image.Image) -> Image.Image:
        """The result at the original's size, or in another shape as large as fits into it."""
        return fit_to(image, original)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
