"""The loop as an asyncio script over endpoints, as people write it: semaphore, OpenAI's client and gather.

The client retries by itself, twice. Whatever else goes wrong is noted in the record's line. A result is a
PNG, written as it came, and a line of JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAIError

RULES = "You edit images step by step. Answer <edit>one atomic edit</edit> or <stop>why</stop>."
EDIT = re.compile(r"<edit>(.*?)</edit>", re.DOTALL)
Place = AbstractAsyncContextManager[Any]


@dataclass(frozen=True)
class Places:
    """Where calls wait for one another."""

    record: Place
    policy: Place
    editor: Place


def edit_rows(rows: list[dict[str, str]], url: str, output: str, at_once: int, around: str) -> dict[str, Any]:
    """All of the work.

    Args:
        rows: records, with the paths of their images.
        url: of both models, for OpenAI's client.
        output: the folder for the results.
        at_once: what the semaphores let through.
        around: what they are around: a whole `record`, or each `call` of either model.

    Returns how many records ended well, and the seconds of CPU from the first call on.
    """
    cpu = time.process_time()
    results = asyncio.run(_edit_all(rows, url, Path(output), at_once, around))
    return {"done": sum(results), "cpu": time.process_time() - cpu}


async def _edit_all(
    rows: list[dict[str, str]], url: str, output: Path, at_once: int, around: str
) -> list[bool]:
    output.mkdir(parents=True)
    if around == "record":
        places = Places(asyncio.Semaphore(at_once), nullcontext(), nullcontext())
    else:
        places = Places(nullcontext(), asyncio.Semaphore(at_once), asyncio.Semaphore(at_once))
    with open(output / "results.jsonl", "w") as lines:
        async with AsyncOpenAI(base_url=url, api_key="none") as client:
            return await asyncio.gather(*(_edit_one(row, client, places, output, lines) for row in rows))


async def _edit_one(
    row: dict[str, str], client: AsyncOpenAI, places: Places, output: Path, lines: Any
) -> bool:
    line: dict[str, Any] = {"record_id": row["record_id"]}
    try:
        async with places.record:
            image, line["edits"] = await loop(row, client, places)
            (output / f"{row['record_id']}.png").write_bytes(image)
    except OpenAIError as error:
        line["error"] = str(error)
    lines.write(json.dumps(line) + "\n")
    return "error" not in line


async def loop(row: dict[str, str], client: AsyncOpenAI, places: Places) -> tuple[bytes, list[str]]:
    """A record from its first call to STOP: its image, and its edits."""
    image = original = Path(row["image"]).read_bytes()
    edits: list[str] = []
    while True:
        async with places.policy:
            answer = await client.chat.completions.create(
                model="policy", messages=write_messages(row["instruction"], edits, original, image)
            )
        found = EDIT.search(answer.choices[0].message.content or "")
        if found is None:
            return image, edits
        async with places.editor:
            image = await edit(client, image, found[1])
        edits.append(found[1])


def write_messages(instruction: str, edits: list[str], original: bytes, image: bytes) -> list[Any]:
    """What the policy is shown: the instruction, what was done, the original and the image as it is now."""
    done = "\n".join(edits) or "nothing"
    content: list[dict[str, Any]] = [{"type": "text", "text": f"{instruction}\nDone so far: {done}"}]
    for data in (original, image) if edits else (original,):
        url = f"data:{_kind(data)};base64,{base64.b64encode(data).decode()}"
        content.append({"type": "image_url", "image_url": {"url": url}})
    return [{"role": "system", "content": RULES}, {"role": "user", "content": content}]


async def edit(client: AsyncOpenAI, image: bytes, words: str) -> bytes:
    """The edited image, as PNG."""
    file = ("image", image, _kind(image))
    answer = await client.images.edit(model="editor", image=file, prompt=words)
    assert answer.data and answer.data[0].b64_json
    return base64.b64decode(answer.data[0].b64_json)


def _kind(data: bytes) -> str:
    return "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
