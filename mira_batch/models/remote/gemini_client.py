"""A client of Gemini's API, and what its errors mean.

Of the environment only the key and proxies are taken. Retries and time-outs are `endpoint.py`'s: the client's
own would repeat a call after a reset without telling.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mira_batch.config.models.served import ServedConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.models.imports import import_extra
from mira_batch.models.remote.openai_client import price_call, read_key
from mira_batch.models.serving import (
    EndpointFault,
    Meaning,
    Role,
    classify_status,
    describe_redirect,
    parse_retry_after,
    quote,
)

VENDOR = "https://generativelanguage.googleapis.com/"
KEY = "GEMINI_API_KEY"


class GeminiClient:
    """Makes one call at a time. Create, use and close it on one event loop."""

    def __init__(self, config: ServedConfig, role: Role) -> None:
        """
        Args:
            config: which endpoint and model.
            role: what it is to the job, and where its config is.

        Raises:
            ConfigError: the google-genai package or the key is missing.
        """
        self._config = config
        self._role = role
        import aiohttp

        needed_by = f"{role.field}.type {getattr(config, 'type', 'gemini')}"
        genai = import_extra("google.genai", needed_by, "google-genai", "gemini")
        types = genai.types
        self.key = read_key(config, role.field, KEY)
        # The client's own session is of a class of which aiohttp warns.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=True)
        options = types.HttpOptions(
            base_url=config.base_url or VENDOR,
            api_version="v1beta",
            aiohttp_client=self._session,
            async_client_args={"allow_redirects": False},
            # Without it the client repeats calls that were reset after up to ten seconds.
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        self._client = genai.Client(vertexai=False, api_key=self.key or "none", http_options=options)

    async def generate(self, contents: list[Any], **settings: Any) -> Any:
        """The answer, as the client gives it.

        Args:
            contents: text and images, in order.
            settings: of `GenerateContentConfig`.

        Raises:
            EndpointFault: the call failed.
            RecordError: the answer has another form.
        """
        from google.genai import types

        with _turn_faults(self.key, self._role.failed):
            return await self._client.aio.models.generate_content(
                model=self._config.model,
                contents=contents,
                config=types.GenerateContentConfig(
                    candidate_count=1,
                    automatic_continuation=False,
                    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
                    **settings,
                ),
            )

    def price(self, answer: Any, images: int = 0) -> float:
        """US dollars of a call.

        Args:
            answer: what came of it.
            images: how many it made.
        """
        given = ("candidates_token_count", "thoughts_token_count")
        return price_call(self._config.prices, answer.usage_metadata, "prompt_token_count", given, images)

    def take_candidate(self, answer: Any) -> Any:
        """The candidate of an answer.

        Args:
            answer: as the client gives it.

        Raises:
            RecordError: the endpoint blocked the request, or there is none.
        """
        blocked = getattr(answer.prompt_feedback, "block_reason", None)
        if blocked:
            reason = answer.prompt_feedback.block_reason_message or blocked.value
            words = quote(f"the endpoint blocked the request: {blocked.value}: {reason}", self.key)
            raise RecordError(self._role.refused, words)
        candidate = next(iter(answer.candidates or ()), None)
        if candidate is None:
            raise RecordError(self._role.failed, "the endpoint answered without a candidate")
        return candidate

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self._client.aio.aclose()
        self._client.close()


@contextmanager
def _turn_faults(key: str | None, failed: ErrorKind) -> Iterator[None]:
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
        raise RecordError(failed, quote(words, key)) from None


def _read_fault(error: Any, key: str | None) -> EndpointFault:
    details = json.dumps(error.details, default=str)
    reasons = re.findall(r'"reason": "(\w+)"', details)
    meaning = classify_status(error.code, *reasons)
    if error.code == 429 and "PerDay" in details:  # QuotaFailure names the quota that was exceeded
        meaning = Meaning.quota
    asked = re.search(r'"retryDelay": "([\d.]+)s"', details)
    headers = getattr(error.response, "headers", None) or {}
    after = parse_retry_after(asked[1] if asked else headers.get("Retry-After"))
    redirect = describe_redirect(error.code, headers.get("Location"))
    words = redirect or error.message or error.status or details
    return EndpointFault(meaning, f"HTTP {error.code}: {quote(str(words), key)}", after)
