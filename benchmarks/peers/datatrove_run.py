"""The loop as a rollout of datatrove's inference runner, in a process that sees its packages.

As its documentation says to use an endpoint that is up: `server_type="endpoint"`, and a rollout function that
awaits several generations in turn. `generate` sends chats to one model and gives back text alone, so it asks
the policy; the editor is called with OpenAI's client, which the rollouts share, as in the plain script.
Checkpoints are off: a request cache and chunks would make it resume, and slower.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from openai import AsyncOpenAI

from benchmarks.peers.asyncio_script import EDIT, edit, write_messages


async def roll_out(
    document: Document, generate: Any, client: AsyncOpenAI, folder: str, images: str
) -> dict[str, Any]:
    """A record from its first call to STOP; its image goes to a file."""
    image = original = (Path(images) / document.metadata["image"]).read_bytes()
    edits: list[str] = []
    while True:
        answer = await generate({"messages": write_messages(document.text, edits, original, image)})
        found = EDIT.search(answer.text)
        if found is None:
            (Path(folder) / f"{document.id}.png").write_bytes(image)
            return {"edits": edits}
        image = await edit(client, image, found[1])
        edits.append(found[1])


def _share(url: str, folder: str, images: str) -> dict[str, Any]:
    """Made when the runner begins: the executor copies it before."""
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
    return {"client": client, "folder": folder, "images": images}


def edit_rows(manifest: str, url: str, output: str, at_once: int) -> dict[str, Any]:
    """All of the work.

    Args:
        manifest: JSONL, with the paths of images beside it.
        url: of the server.
        output: the folder for the results.
        at_once: records in progress at once; the server queues calls that are more than it answers.

    Returns the seconds of CPU from the first call on.
    """
    folder, source = Path(output), Path(manifest)
    folder.mkdir(parents=True)
    runner = InferenceRunner(
        roll_out,
        InferenceConfig(
            server_type="endpoint",
            endpoint_url=url,
            model_name_or_path="policy",
            max_concurrent_generations=at_once,
            max_concurrent_documents=at_once,
        ),
        JsonlWriter(output, output_filename="${rank}.jsonl", compression=None),
        shared_context=partial(_share, url, output, str(source.parent)),
    )
    reader = JsonlReader(
        str(source.parent), glob_pattern=source.name, text_key="instruction", id_key="record_id"
    )
    cpu = time.process_time()
    LocalPipelineExecutor([reader, runner], tasks=1, logging_dir=f"{output}-logs").run()
    return {"cpu": time.process_time() - cpu}
