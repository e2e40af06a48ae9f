"""Samples as the transformer takes them: encoded once for an update, and kept in the training's output.

What an update needs twice or more is a file: source and prompt of a question, whose name is made of their
digests, so that later iterations find it; and the latents of a sample, which are deleted after its update.
The samples' pixels are those that the editor gave, in 8 bits, on its canvas; the judge saw them at the
source's size (docs/adr/0026).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.core.identity import content_hash, frame_of
from mira_batch.core.types import Weights
from mira_batch.models.diffusion import (
    TARGET,
    Flow,
    choose_canvas,
    find_family,
    fit,
    import_pipeline,
    load_pipeline,
    read_index,
)
from mira_batch.storage.images import OWN_RESULTS, decode
from mira_batch.storage.stores import Store
from mira_batch.train.nft.record import Iteration
from mira_batch.train.rows import WholeRow, read_whole_rows
from mira_batch.train.workers import count_workers, gather, is_first, name_rank

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_INDEX = "encoded"


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """A sample whose parts are in the store."""

    question: str
    """Key of its source and prompt."""
    target: str
    """Key of its latents."""
    canvas: tuple[int, int]
    """(width, height) in pixels."""
    optimality: float
    """In [0, 1]; see `compute_optimality`."""


def encode_samples(
    config: EditorNftConfig,
    files: Iteration,
    weights: Weights,
    flow: Flow,
    device: torch.device,
    note: Callable[[str], None],
) -> list[EncodedSample]:
    """Encode what an update learns from, unless that is done; the workers share it. Every worker calls it.

    Args:
        config: of the training.
        files: of the iteration.
        weights: the pipeline's files.
        flow: how its family is taught.
        device: where to encode.
        note: told how it goes.

    Returns:
        The samples in the order of their rows.

    Raises:
        StoreError: an image is gone or another one.
    """
    (index,) = gather(files.read(_INDEX) if is_first() else None)[:1]
    if index is None:
        optimality = files.read_optimality()
        own = {place: optimality[place] for place in sorted(optimality)[name_rank() :: count_workers()]}
        note(f"iteration {files.number + 1}: encoding {len(optimality):,} samples")
        found = _encode_own(config, files, weights, flow, device, own) if own else {}
        together = {place: row for part in gather(found) for place, row in part.items()}
        index = {"samples": [asdict(together[place]) for place in sorted(together)]}
        if is_first():
            files.put(_INDEX, index)
        gather(None)  # nobody reads before it is there
    return [
        EncodedSample(row["question"], row["target"], tuple(row["canvas"]), row["optimality"])
        for row in index["samples"]
    ]


def _encode_own(
    config: EditorNftConfig,
    files: Iteration,
    weights: Weights,
    flow: Flow,
    device: torch.device,
    own: Mapping[tuple[int, int], float],
) -> dict[tuple[int, int], EncodedSample]:
    """Encode this worker's samples."""
    import torch

    path, pipeline, options = Path(weights.path), config.editor.pipeline, config.editor.prompt_options
    kind = import_pipeline(pipeline)
    pipe = load_pipeline(kind, path, pipeline, config.editor.dtype, transformer=None).to(device)
    family = find_family(pipeline.rpartition(".")[2], read_index(path))
    if family.prepare:
        family.prepare(pipe)
    found: dict[tuple[int, int], EncodedSample] = {}
    with torch.inference_mode():
        for row in read_whole_rows(files.locate_run("samples"), own, config.storage):
            original = frame_of(decode(row.original.data, row.columns["record_id"], OWN_RESULTS))
            size = choose_canvas(original.size, config.editor.area, family.multiple, family.min_side)
            source = fit(original.pixels, size)
            instruction = row.columns["instruction"]
            question = _name("encoded", content_hash(original.digest, instruction))
            _keep(
                files.store,
                question,
                lambda: flow.encode_question(pipe, source, instruction, options),  # noqa: B023
            )
            target = _encode_target(files, flow, pipe, row, size)
            found[row.place] = EncodedSample(question, target, size, own[row.place])
    return found


def _encode_target(files: Iteration, flow: Flow, pipe: Any, row: WholeRow, size: tuple[int, int]) -> str:
    """The image that the editor gave, at the size of its canvas: that of the step."""
    name, data = row.columns["record_id"], row.after[-1]
    key = _name(f"{files.folder}/encoded", content_hash(row.columns["steps"][-1]["after"]))
    image = fit(frame_of(decode(data, name, OWN_RESULTS)).pixels, size)
    _keep(files.store, key, lambda: {TARGET: flow.encode_image(pipe, image)})
    return key


def _keep(store: Store, key: str, encode: Callable[[], dict[str, Tensor]]) -> None:
    from safetensors.torch import save

    if not store.exists(key):
        store.create(key, save({name: part.detach().cpu().contiguous() for name, part in encode().items()}))


def _name(folder: str, digest: str) -> str:
    return f"{folder}/{digest[:2]}/{digest}.safetensors"
