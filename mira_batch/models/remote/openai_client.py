"""A client of an OpenAI-compatible endpoint, and what its errors mean.

Every setting is the config's. Of the environment only the key, proxies and, towards OpenAI itself, its
organization and project are taken: OPENAI_BASE_URL would send images elsewhere without a word. Retries and
time-outs are `endpoint.py`'s.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mira_batch.config.models.served import Prices, ServedConfig
from mira_batch.core.errors import ConfigError
from mira_batch.models.imports import import_extra
from mira_batch.models.serving import (
    UNSUPPORTED,
    EndpointFault,
    Meaning,
    charge_errors,
    classify_status,
    describe_redirect,
    parse_retry_after,
    quote,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_NEVER = "Request too large"
"""How OpenAI begins a 429 of a request that has more tokens than the limit of a whole minute."""
VENDOR = "https://api.openai.com/v1"
KEY = "OPENAI_API_KEY"


def open_client(config: ServedConfig, field: str) -> tuple[AsyncOpenAI, str | None]:
    """A client and its key, None where the endpoint needs none.

    Args:
        config: where the endpoint is.
        field: where the job's config has it, for errors.

    Raises:
        ConfigError: the package isn't installed, or there is no key for an endpoint that needs one.
    """
    kind = getattr(config, "type", "openai")
    openai = import_extra("openai", f"{field}.type {kind}", "openai", "openai")
    key = read_key(config, field, KEY)
    client: AsyncOpenAI = openai.AsyncOpenAI(
        api_key=key or "none",
        base_url=config.base_url or VENDOR,
        max_retries=0,
        timeout=None,
        # Half the CPU of a call of its usual one.
        http_client=openai.DefaultAioHttpClient(timeout=None, follow_redirects=False),
        # Here again, since OPENAI_CUSTOM_HEADERS may hold another.
        default_headers={"Authorization": f"Bearer {key or 'none'}"},
    )
    if config.base_url is not None:  # OPENAI_ORG_ID and OPENAI_PROJECT_ID are OpenAI's business only
        client.organization = client.project = None
    return client, key


def read_key(config: ServedConfig, field: str, usual: str) -> str | None:
    """The endpoint's key, from the variable that the config names or else from the usual one; None without.

    Raises:
        ConfigError: it isn't set, although the config names it or the endpoint is the vendor's own; or it
            can't be sent, so that every record would fail of it.
    """
    if missing := config.find_missing_key(usual):
        raise ConfigError(
            f"{field}.api_key_env: the environment variable {missing} is not set on this worker; set it to "
            f"the key for model {config.model}, or name another variable"
        )
    name = config.api_key_env or usual
    key = os.environ.get(name, "").strip() or None
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"{field}.api_key_env: the environment variable {name} on this worker holds what no key does: a "
            "line break, a typographic quotation mark or a character that isn't seen; set it to the key alone"
        )
    return key


def price_call(prices: Prices, usage: Any, taken: str, given: tuple[str, ...], images: int = 0) -> float:
    """US dollars of one call.

    Args:
        prices: what the endpoint charges.
        usage: what it says of the call's use, if anything.
        taken: the field of `usage` that counts tokens of input.
        given: those that count tokens of output.
        images: how many it made.
    """
    tokens_in = _count_tokens(usage, taken)
    tokens_out = sum(_count_tokens(usage, name) for name in given)
    tokens = tokens_in * prices.million_input_tokens + tokens_out * prices.million_output_tokens
    return prices.call + tokens / 1e6 + images * prices.image


def _count_tokens(usage: Any, name: str) -> float:
    """What an endpoint says of a call's use; 0 where it says nothing, or what is no count."""
    count = getattr(usage, name, None)
    return count if isinstance(count, int | float) and 0 <= count < math.inf else 0


@contextmanager
def turn_openai_faults(key: str | None, unsupported: str = "") -> Iterator[None]:
    """Turns the client's errors into faults.

    Args:
        key: never quote.
        unsupported: what to do about a setting that the model doesn't take.

    Raises:
        EndpointFault: for whatever the client raises.
    """
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        headers = error.response.headers
        redirect = describe_redirect(error.status_code, headers.get("location"))
        words = quote(redirect or _quote_error(error), key)
        meaning = classify_status(error.status_code, error.code, error.type)
        if meaning is Meaning.busy and words.startswith(_NEVER):
            meaning = Meaning.request
        if unsupported and not UNSUPPORTED.isdisjoint((error.code, error.type)):
            words = f"{words} ({unsupported})"
        after = parse_retry_after(headers.get("retry-after"))
        raise EndpointFault(meaning, f"HTTP {error.status_code}: {words}", after) from None
    except openai.APIConnectionError as error:
        cause = error.__cause__ or error
        refused = type(cause).__name__ in ("ConnectError", "ConnectTimeout")
        words = quote(f"{error}: {cause}", key)
        raise EndpointFault(Meaning.busy if refused else Meaning.broken, words) from None
    except json.JSONDecodeError as error:
        raise EndpointFault(Meaning.broken, f"the answer is no JSON, or was cut off: {error}") from None
    except openai.OpenAIError as error:
        raise EndpointFault(Meaning.broken, quote(f"{type(error).__name__}: {error}", key)) from None


def take_first(answer: Any, field: str, key: str | None, cost: float) -> Any:
    """The first of an answer's choices or images. The client checks neither form nor content.

    Args:
        answer: what the client made of the body.
        field: where the list is.
        key: never quote.
        cost: US dollars of the call, where it was the model that answered.

    Raises:
        EndpointFault: it isn't what was asked for. Some gateways answer 200 and say in the body what failed.
    """
    if isinstance(answer, str):
        words = f"the answer is no JSON (is base_url right?): {quote(answer[:1000], key)}"
        raise EndpointFault(Meaning.broken, words)
    failed = (getattr(answer, "model_extra", None) or {}).get("error")
    if isinstance(failed, str) and failed:
        raise EndpointFault(Meaning.broken, quote(failed, key))
    if isinstance(failed, dict) and failed:
        code = str(failed.get("code"))
        status = int(code) if re.fullmatch("[1-5][0-9][0-9]", code) else 400
        meaning = classify_status(status, code, failed.get("type"))
        raise EndpointFault(meaning, quote(str(failed.get("message") or failed), key))
    found = getattr(answer, field, None)
    if not isinstance(found, list) or not found:
        with charge_errors(cost):
            raise EndpointFault(Meaning.broken, f"the answer has no {field}")
    return found[0]


def _quote_error(error: Any) -> str:
    """The endpoint's own words of a status error."""
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return body["message"]
    return str(body or error.message)
