"""A real HTTP server on a loopback socket that speaks what served models speak, and misbehaves on demand.

    with model_server(script) as server:
        OpenAIPolicyConfig(type="openai", model="tiny", base_url=server.url)
        GeminiImagesConfig(type="gemini_images", model="tiny", base_url=server.gemini_url)

A script is asked for each request, in the order in which they arrive, and says what the server does. Without
one it is `obliging`: the policy names one edit and then stops, the editors invert the image, and the judge
likes inverted ones.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aiohttp import BodyPartReader, web
from PIL import Image, ImageOps


@dataclass(frozen=True)
class Asked:
    """One request, as the server understood it."""

    kind: Literal["chat", "edit", "gemini"]
    model: str
    text: str
    """All the text of the user's turn, or the editor's prompt."""
    images: tuple[Image.Image, ...]
    """Decoded, in order."""
    key: str
    system: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    """Everything else that was said: seed, temperature, quality and so on."""
    headers: dict[str, str] = field(default_factory=dict)
    number: int = -1
    """From 0, over all kinds, in the order in which they were read."""
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Answer:
    """What the server does with a request."""

    value: str | Image.Image | dict[str, Any] | bytes = ""
    """Text of a policy, image of an editor, the whole JSON, or the body as it is."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    how: Literal["whole", "reset", "reset_body", "cut_json", "hang"] = "whole"
    """In good order; reset before or in the middle of the body; half of the JSON in good order; never."""
    wait: threading.Event | None = None
    """The answer is held until it is set."""
    content_type: str = "application/json"
    seconds: float = 0.0
    """What the answer takes."""


Script = Callable[[Asked], Answer]


JUDGING = "You judge"
"""How the system text of a judge begins, which shares its endpoint with policies."""


def obliging(asked: Asked) -> Answer:
    """A policy that stops when the image has changed, editors that invert it, and a judge that looks for
    it."""
    if asked.kind != "chat":
        return Answer(ImageOps.invert(asked.images[0].convert("RGB")))
    if asked.system.startswith(JUDGING):
        first, second = (image.convert("RGB") for image in asked.images)
        good = ImageOps.invert(first).tobytes() == second.tobytes()
        return Answer(judged(10, "it is inverted") if good else judged(2, "it isn't inverted"))
    done = len(asked.images) > 1
    return Answer("<stop>it is inverted</stop>" if done else "<edit>invert the colors</edit>")


def judged(score: Any, reason: str = "") -> str:
    """A judge's answer in our own form."""
    return json.dumps({"reason": reason, "score": score})


def failing(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    """An error in the form that both vendors and vLLM share."""
    error = {"message": message, "type": code, "param": None, "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer({"error": error}, status=status, headers=named)


def gemini_error(status: int, message: str, name: str, *details: dict[str, Any]) -> Answer:
    error = {"code": status, "message": message, "status": name, "details": list(details)}
    return Answer({"error": error}, status=status)


class ModelServer:
    """A running server; see `model_server`. What is public may be read from any thread."""

    def __init__(self, script: Script) -> None:
        self.script = script
        """May be replaced at any time."""
        self.asked: list[Asked] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.dropped = 0
        """Requests whose client went away before it had an answer."""
        self.port = 0
        self.stopping = asyncio.Event()

    @property
    def url(self) -> str:
        """For OpenAI's client."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def gemini_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something has happened at the server."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"never happened; {len(self.asked)} requests came"
            time.sleep(0.005)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=256 << 20)
        app.router.add_get("/v1/models", _list_models)  # whether it is up
        app.router.add_post("/v1/chat/completions", self._serve(_chat))
        app.router.add_post("/v1/images/edits", self._serve(_edit))
        app.router.add_post("/v1beta/models/{model}:generateContent", self._serve(_gemini))
        return app

    def _serve(self, read: Callable[[web.Request], Any]) -> Any:
        async def handler(request: web.Request) -> web.StreamResponse:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                asked = replace(await read(request), number=len(self.asked), headers=dict(request.headers))
                self.asked.append(asked)
                return await self._answered(request, asked, self.script(asked))
            except asyncio.CancelledError:
                self.dropped += 1
                raise
            finally:
                self.in_flight -= 1

        return handler

    async def _answered(self, request: web.Request, asked: Asked, answer: Answer) -> web.StreamResponse:
        while (answer.how == "hang" or (answer.wait and not answer.wait.is_set())) and (
            not self.stopping.is_set()
        ):
            await asyncio.sleep(0.005)
        if answer.seconds:
            await asyncio.sleep(answer.seconds)
        body = _body(asked, answer)
        if answer.how == "cut_json":
            body = body[: len(body) // 2]
        if answer.how not in ("reset", "reset_body"):
            return web.Response(
                body=body, status=answer.status, headers=answer.headers, content_type=answer.content_type
            )
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        if answer.how == "reset_body":
            response.content_type = answer.content_type
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            await asyncio.sleep(0.02)  # let it arrive: a reset may throw away what is on its way
        _reset(request)
        return response


async def _list_models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "tiny", "object": "model"}]})


def _reset(request: web.Request) -> None:
    transport = request.transport
    assert transport is not None
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


async def _chat(request: web.Request) -> Asked:
    body = await request.json()
    *system, user = body.pop("messages")  # judges of published protocols have no system text
    parts = user["content"]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return Asked(
        "chat",
        body.pop("model"),
        "".join(part["text"] for part in parts if part["type"] == "text"),
        tuple(_image(base64.b64decode(url.partition(";base64,")[2], validate=True)) for url in urls),
        request.headers.get("Authorization", "").removeprefix("Bearer "),
        system[0]["content"] if system else "",
        body,
    )


async def _edit(request: web.Request) -> Asked:
    fields: dict[str, str] = {}
    files: list[bytes] = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader) and part.name
        if part.filename:
            files.append(bytes(await part.read()))
        else:
            fields[part.name] = await part.text()
    return Asked(
        "edit",
        fields.pop("model"),
        fields.pop("prompt"),
        tuple(map(_image, files)),
        request.headers.get("Authorization", "").removeprefix("Bearer "),
        body=dict(fields),
    )


async def _gemini(request: web.Request) -> Asked:
    body = await request.json()
    parts = [part for content in body.pop("contents") for part in content["parts"]]
    data = [part["inlineData"]["data"] for part in parts if "inlineData" in part]
    return Asked(
        "gemini",
        request.match_info["model"],
        "".join(part["text"] for part in parts if "text" in part),
        tuple(_image(base64.urlsafe_b64decode(text)) for text in data),  # as Gemini's client encodes it
        request.headers.get("x-goog-api-key", ""),
        body=body["generationConfig"],
    )


def _image(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _body(asked: Asked, answer: Answer) -> bytes:
    value = answer.value
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return json.dumps(value).encode()
    return json.dumps(
        {"chat": chat_json, "edit": edit_json, "gemini": gemini_json}[asked.kind](value)
    ).encode()


def png(image: Image.Image) -> str:
    """An image as PNG in base64."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def chat_json(text: Any, **message: Any) -> dict[str, Any]:
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "finish_reason": message.pop("finish_reason", "stop"),
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050},
    }


def edit_json(image: Any) -> dict[str, Any]:
    encoded = image if isinstance(image, str) else png(image)
    details = {"image_tokens": 400, "text_tokens": 100}
    usage = {"input_tokens": 500, "input_tokens_details": details, "output_tokens": 200, "total_tokens": 700}
    return {"created": 1, "data": [{"b64_json": encoded}], "usage": usage}


def gemini_json(image: Any, **candidate: Any) -> dict[str, Any]:
    encoded = image if isinstance(image, str) else png(image)
    part = {"inlineData": {"mimeType": "image/png", "data": encoded}}
    usage = {"promptTokenCount": 300, "candidatesTokenCount": 1290, "thoughtsTokenCount": 10}
    content = {"role": "model", "parts": [{"text": "Here it is."}, part]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", **candidate}],
        "usageMetadata": {**usage, "totalTokenCount": 1600},
    }


@contextmanager
def model_server(script: Script = obliging) -> Iterator[ModelServer]:
    """A server in a thread of its own. Requests still held at the end are dropped."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="model-server", daemon=True)
    thread.start()

    async def start() -> tuple[ModelServer, web.AppRunner]:
        server = ModelServer(script)
        runner = web.AppRunner(server.application(), shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.port = runner.addresses[0][1]
        return server, runner

    async def stop(server: ModelServer, runner: web.AppRunner) -> None:
        server.stopping.set()
        await runner.cleanup()

    server, runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(stop(server, runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
