"""A plain script of diffusers, as its documentation has it: load, call on a batch, save."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from PIL import Image


def edit_rows(
    rows: list[dict[str, Any]], weights: str, output: str, side: int, steps: int, batch: int
) -> dict[str, Any]:
    """All of the work. Kontext has to be told to leave sizes as they are.

    Args:
        rows: records: name, path of the image, prompt and seed.
        weights: folder of a FLUX.1-Kontext.
        output: the folder for the results.
        side: of the images, in pixels.
        steps: of an edit.
        batch: images of a call.

    Returns seconds of wall and of CPU, from the first call to the last file.
    """
    from mira_batch.models.torch_support import prepare

    prepare()  # torchvision beside a CPU's torch: nothing of how the pipeline works
    import torch
    from diffusers import FluxKontextPipeline

    torch.set_num_threads(1)
    folder = Path(output)
    folder.mkdir(parents=True)
    pipe = FluxKontextPipeline.from_pretrained(weights, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    began, cpu = time.time(), time.process_time()
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        images = pipe(
            image=[Image.open(row["image"]).convert("RGB") for row in part],
            prompt=[row["prompt"] for row in part],
            generator=[torch.Generator("cpu").manual_seed(row["seed"]) for row in part],
            num_inference_steps=steps,
            guidance_scale=3.5,
            height=side,
            width=side,
            max_area=side * side,
            _auto_resize=False,
        ).images  # pyright: ignore[reportAttributeAccessIssue]
        for row, image in zip(part, images, strict=True):
            image.save(folder / f"{row['record_id']}.png")
    return {"wall": time.time() - began, "cpu": time.process_time() - cpu}
