"""An editor behind Gemini's image generation (Nano-Banana)."""

from __future__ import annotations

import asyncio
from typing import Any

from PIL import Image

from mira_batch.config.models.served import GeminiImagesConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import EditRequest, Priced
from mira_batch.models.remote.gemini_client import GeminiClient
from mira_batch.models.remote.pictures import WIRE, fit_to, open_image
from mira_batch.models.serving import EDITOR, charge_errors, quote


class GeminiImages:
    """Makes one edit at a time. Create, use and close it on one event loop."""

    def __init__(self, config: GeminiImagesConfig) -> None:
        """
        Raises:
            ConfigError: the google-genai package or the key is missing.
        """
        self._config = config
        self._client = GeminiClient(config, EDITOR)

    @property
    def identity(self) -> str:
        return f"gemini-images {self._config.model}"

    async def apply(self, request: EditRequest) -> Priced[object]:
        """The edited image, as a `PIL.Image.Image` in RGB or RGBA.

        Raises:
            EndpointFault: the call failed.
            RecordError: the endpoint blocked the request, or answered without an image that can be read.
        """
        from google.genai import types

        png = await asyncio.to_thread(WIRE.encode, request.image)
        answer = await self._client.generate(
            [types.Part.from_bytes(data=png, mime_type="image/png"), request.instruction],
            response_modalities=["TEXT", "IMAGE"],
            seed=request.seed % 2**31,
        )
        with charge_errors(self._client.price(answer, images=0)):
            data = self._take_image(answer)
        with charge_errors(cost := self._client.price(answer, images=1)):
            return Priced(await asyncio.to_thread(open_image, data), cost)

    def restore(self, image: Image.Image, original: Image.Image) -> Image.Image:
        """The result at the original's size, or in another shape as large as fits into it."""
        return fit_to(image, original)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _take_image(self, answer: Any) -> bytes:
        """The bytes of the last image that is no draft.

        Raises:
            RecordError: there is none, with the endpoint's reason.
        """
        candidate = self._client.take_candidate(answer)
        parts = (candidate.content.parts if candidate.content else None) or []
        kept = [part for part in parts if not part.thought]
        images = [part.inline_data.data for part in kept if part.inline_data and part.inline_data.data]
        if images:
            return images[-1]
        text = " ".join(part.text for part in kept if part.text)
        reason = candidate.finish_reason.value if candidate.finish_reason else "no reason given"
        said = candidate.finish_message or text
        words = f"the endpoint made no image: {reason}{': ' + said if said else ''}"
        raise RecordError(EDITOR.failed, quote(words, self._client.key))
