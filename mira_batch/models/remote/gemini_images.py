"""An editor behind Gemini's image generation (Nano-Banana).

Of the environment only the key and proxies are taken. Retries and time-outs are `endpoint.py`'s: the client's
own would repeat a call after a reset without telling.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from mira_batch.config.models.served import GeminiImagesConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import EditRequest, Priced
from mira_batch.core.types import ErrorKind
from mira_batch.models.imports import import_extra
from mira_batch.models.remote.openai_client import price_call, read_key
from mira_batch.models.remote.pictures import fit_to, open_image, write_png
from mira_batch.models.serving import (
    EDITOR,
    EndpointFault,
    Meaning,
    charge_errors,
    classify_status,
    parse_retry_after,
    quote,
)

VENDOR = "https://generativelanguage.googleapis.com/"
KEY = "GEMINI_API_KEY"


class GeminiImages:
    """Makes one edit at a time. Create, use and close it on one event loop."""

    def __init__(self, config: GeminiImagesConfig) -> None:
        """
        Raises:
            ConfigError: the google-genai package or the key is missing.
        """
        self._config = config
        import aiohttp

        needed_by = f"{EDITOR.field}.type {config.type}"
        genai = import_extra("google.genai", needed_by, "google-genai", "gemini")
        types = genai.types
        self._key = read_key(config, EDITOR.field, KEY)
        # The client's own session is of a class of which aiohttp warns.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=True)
        options = types.HttpOptions(
            base_url=config.base_url or VENDOR,
            api_version="v1beta",
            aiohttp_client=self._session,
            # Without it the client repeats calls that were reset after up to ten seconds.
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        self._client = genai.Client(vertexai=False, api_key=self._key or "none", http_options=options)

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

        png = await asyncio.to_thread(write_png, request.image.pixels)
        with _turn_faults(self._key):
            answer = await self._client.aio.models.generate_content(
                model=self._config.model,
                contents=[types.Part.from_bytes(data=png, mime_type="image/png"), request.instruction],
                config=types.GenerateContentConfig(
                    response_modalities=["TEXT", "IMAGE"],
                    seed=request.seed % 2**31,
                    candidate_count=1,
                    automatic_continuation=False,
                    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
                ),
            )
        with charge_errors(self._price(answer, images=0)):
            data = _take_image(answer, self._key)
        with charge_errors(cost := self._price(answer, images=1)):
            return Priced(await asyncio.to_thread(open_image, data), cost)

    def restore(self, image: Image.Image, original: Image.Image) -> Image.Image:
        """The result at the original's size, or in another shape as large as fits into it."""
        return fit_to(image, original)

    def _price(self, answer: Any, images: int) -> float:
        given = ("candidates_token_count", "thoughts_token_count")
        return price_call(self._config.prices, answer.usage_metadata, "prompt_token_count", given, images)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self._client.aio.aclose()
        self._client.close()


def _take_image(answer: Any, key: str | None) -> bytes:
    """The bytes of the last image that is no draft.

    Raises:
        RecordError: there is none, with the endpoint's reason.
    """
    blocked = getattr(answer.prompt_feedback, "block_reason", None)
    if blocked:
        reason = answer.prompt_feedback.block_reason_message or blocked.value
        raise _refuse(f"the endpoint blocked the request: {blocked.value}: {reason}", key)
    candidate = next(iter(answer.candidates or ()), None)
    if candidate is None:
        raise _refuse("the endpoint answered without a candidate", key)
    parts = (candidate.content.parts if candidate.content else None) or []
    kept = [part for part in parts if not part.thought]
    images = [part.inline_data.data for part in kept if part.inline_data and part.inline_data.data]
    if images:
        return images[-1]
    text = " ".join(part.text for part in kept if part.text)
    reason = candidate.finish_reason.value if candidate.finish_reason else "no reason given"
    words = candidate.finish_message or text
    raise _refuse(f"the endpoint made no image: {reason}{': ' + words if words else ''}", key)


def _refuse(words: str, key: str | None) -> RecordError:
    return RecordError(ErrorKind.editor_failed, quote(words, key))


@contextmanager
def _turn_faults(key: str | None) -> Iterator[None]:
    """Turns the client's errors into faults."""
    import aiohttp
    from google.genai import errors
    from pydantic import ValidationError

    try:
        yield
    except errors.APIError as error:
        raise _read_fault(error, key) from None
    except aiohttp.ClientConnectorError as error:
        raise EndpointFault(Meaning.busy, quote(str(error), key)) from None
    except (aiohttp.ClientError, ConnectionError) as error:
        words = quote(f"{type(error).__name__}: {error}", key)
        raise EndpointFault(Meaning.broken, words) from None
    except (errors.UnknownApiResponseError, json.JSONDecodeError) as error:
        words = f"the answer is no JSON (is base_url right?), or was cut off: {error}"
        raise EndpointFault(Meaning.broken, quote(words, key)) from None
    except ValidationError as error:
        words = f"the answer has another form: {error.errors()[0]['msg']}"
        raise RecordError(ErrorKind.editor_failed, quote(words, key)) from None


def _read_fault(error: Any, key: str | None) -> EndpointFault:
    details = json.dumps(error.details, default=str)
    reasons = re.findall(r'"reason": "(\w+)"', details)
    meaning = classify_status(error.code, *reasons)
    if error.code == 429 and "PerDay" in details:  # QuotaFailure names the quota that was exceeded
        meaning = Meaning.quota
    asked = re.search(r'"retryDelay": "([\d.]+)s"', details)
    headers = getattr(error.response, "headers", None) or {}
    after = parse_retry_after(asked[1] if asked else headers.get("Retry-After"))
    words = error.message or error.status or details
    return EndpointFault(meaning, f"HTTP {error.code}: {quote(str(words), key)}", after)
