"""Pairs as the transformer takes them: latents and prompts, encoded once and kept in the training's output.

    encoded/index.json        every pair in its order: its split, canvas and file, or why it is left out
    encoded/xx/NAME.safetensors   the parts of a pair, by what `flows` calls them

A file is named by the digests of both images and the instruction, so equal pairs are encoded once. The index
comes last; a call that was killed before that goes on with the files that are there.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.construct.samples import choose_split
from mira_batch.core.errors import ConfigError, RecordError, RunConflict, StoreError
from mira_batch.core.identity import content_hash
from mira_batch.core.types import Weights
from mira_batch.evaluate.images import Shown
from mira_batch.models.diffusion import (
    PROMPT,
    Flow,
    choose_canvas,
    find_family,
    fit,
    import_pipeline,
    load_pipeline,
    read_index,
)
from mira_batch.storage.run.layout import read_document
from mira_batch.storage.stores import Store
from mira_batch.train.editor.pairs import Pair, PairImages, Pairs
from mira_batch.train.record import SETTINGS
from mira_batch.train.workers import count_workers, gather, is_first, name_rank

if TYPE_CHECKING:
    import torch
    from torch import Tensor

INDEX = "encoded/index.json"
_AT_ONCE = 8
"""Pairs whose images are in memory at once."""
_MOST_SQUEEZE = 0.02
"""Shapes of source and target may differ so far, as a logarithm: rounding to a model's grid does that. More
would teach to squeeze."""
_NOTED = 500
"""Pairs between lines of progress."""


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A pair whose parts are in the store."""

    record_id: str
    split: str
    """train or val; all pairs of a source image are in the same."""
    canvas: tuple[int, int]
    """(width, height) in pixels."""
    key: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """All pairs that are learned from or held out."""

    train: tuple[EncodedPair, ...]
    val: tuple[EncodedPair, ...]
    left_out: Mapping[str, int]
    """Rows and pairs that are neither, by reason."""


def encode_pairs(
    config: EditorSftConfig,
    store: Store,
    weights: Weights,
    flow: Flow,
    device: torch.device,
    find: Callable[[], Pairs],
    note: Callable[[str], None],
) -> Encoded:
    """Encode all pairs, unless that is done; the workers share them. Every worker calls it.

    Args:
        config: of the training.
        store: of it.
        weights: the pipeline's files.
        flow: how its family is taught.
        device: where to encode.
        find: finds the pairs.
        note: told how it goes.

    Raises:
        ConfigError: there is no pair to learn from, or none is held out.
        RunConflict: the data are others than those that the training was begun with.
        StoreError: a store could not be reached.
    """
    (there,) = {*gather(store.exists(INDEX) if is_first() else None)} - {None}
    if not there:
        found = find()
        claimed = read_claimed(store)
        if claimed is None or found.digest != claimed["data"]["pairs"]:
            raise RunConflict(
                f"{store.uri}: {config.data.manifest} has other pairs than when this training was begun, "
                "and not all of those were encoded; name another output.uri"
            )
        rows = _encode_own(config, store, weights, flow, device, found, note)
        # Worker k has every n-th pair from k on.
        parts = gather(rows)
        merged = [parts[n % len(parts)][n // len(parts)] for n in range(len(found.pairs))]
        if is_first():
            index = {"left_out": dict(found.left_out), "pairs": merged}
            store.create(INDEX, json.dumps(index).encode())
        gather(None)  # nobody reads before it is there
    encoded = _read_index(store)
    if not encoded.train:
        raise ConfigError(
            f"data.manifest: no pair is left to learn from (held out: {len(encoded.val):,}; left out: "
            f"{dict(encoded.left_out)})"
        )
    if config.validation is not None and not encoded.val:
        raise ConfigError(
            "data.split: no source image is held out; raise data.split.val_fraction, or set validation: null"
        )
    return encoded


def read_claimed(store: Store) -> dict[str, Any] | None:
    """What a training was begun with: its `config`, and `data` with the digest of its pairs; None where none
    was.

    Args:
        store: of the training.

    Raises:
        StoreError: the file is damaged.
    """
    return read_document(store, SETTINGS, "config", "data")


class EncodedReader:
    """Reads the parts of pairs, and makes batches of them."""

    def __init__(self, store: Store) -> None:
        """
        Args:
            store: of the training.
        """
        self._store = store

    def read(self, pairs: Sequence[EncodedPair]) -> dict[str, Tensor]:
        """A batch of pairs of one canvas, as `read_parts` gives it.

        Args:
            pairs: which.

        Raises:
            StoreError: the file of one is gone.
        """
        return self.read_parts([(pair.key,) for pair in pairs])

    def read_parts(self, rows_of_keys: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """A batch (B, ...) of edits of one canvas, in float32. Prompts (B, L, D) are filled up with zeros,
        which `mask` (B, L) hides.

        Args:
            rows_of_keys: the files that hold the parts of each.

        Raises:
            StoreError: one is gone.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        rows = [{k: v for key in keys for k, v in self._read_one(key).items()} for keys in rows_of_keys]
        prompts = [row.pop(PROMPT) for row in rows]
        batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        mask = pad_sequence([torch.ones(len(prompt), dtype=torch.long) for prompt in prompts], True)
        return batch | {PROMPT: pad_sequence(prompts, batch_first=True), "mask": mask}

    def _read_one(self, key: str) -> dict[str, Tensor]:
        from safetensors.torch import load

        data = self._store.get(key)
        if data is None:
            raise StoreError(
                f"{self._store.locate(key)}: is gone, and the training can't go on without it; put it "
                "back, or train into a new output"
            )
        return {name: value.float() for name, value in load(data).items()}


def _encode_own(
    config: EditorSftConfig,
    store: Store,
    weights: Weights,
    flow: Flow,
    device: torch.device,
    found: Pairs,
    note: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Encode this worker's pairs: a row of the index for each."""
    import torch

    own = found.pairs[name_rank() :: count_workers()]
    note(f"encoding {len(found.pairs):,} pairs, once")
    path, pipeline = Path(weights.path), config.editor.pipeline
    kind = import_pipeline(pipeline)
    pipe = load_pipeline(kind, path, pipeline, config.editor.dtype, transformer=None).to(device)
    family = find_family(pipeline.rpartition(".")[2], read_index(path))
    if family.prepare:
        family.prepare(pipe)
    rows: list[dict[str, Any]] = []
    with PairImages(config) as images, torch.inference_mode():
        for start in range(0, len(own), _AT_ONCE):
            some = own[start : start + _AT_ONCE]
            for pair, shown in zip(some, images.open(some), strict=True):
                row: dict[str, Any] = {"record_id": pair.record.record_id}
                if isinstance(shown, RecordError):
                    rows.append(row | {"left_out": f"{shown.kind.value}: {shown}"})
                    continue
                size = choose_canvas(
                    shown.original.size, config.editor.area, family.multiple, family.min_side
                )
                if not _are_alike(shown):
                    rows.append(row | {"left_out": "source and target have other shapes"})
                    continue
                key = _name(pair, shown)
                if not store.exists(key):
                    store.create(
                        key, _encode_one(pipe, flow, pair, shown, size, config.editor.prompt_options)
                    )
                split = choose_split(shown.original.digest, config.data.split)
                rows.append(row | {"split": split, "canvas": size, "key": key})
                if len(rows) % _NOTED == 0:
                    note(f"{len(rows):,} of {len(own):,} pairs are encoded")
    return rows


def _encode_one(
    pipe: Any, flow: Flow, pair: Pair, shown: Shown, size: tuple[int, int], options: Mapping[str, int]
) -> bytes:
    from safetensors.torch import save

    source, target = (fit(frame.pixels, size) for frame in (shown.original, shown.candidate))
    parts = flow.encode(pipe, source, target, pair.record.instruction, options)
    return save({name: part.detach().cpu().contiguous() for name, part in parts.items()})


def _are_alike(shown: Shown) -> bool:
    ratios = [width / height for width, height in (shown.original.size, shown.candidate.size)]
    return abs(math.log(ratios[0] / ratios[1])) <= _MOST_SQUEEZE


def _name(pair: Pair, shown: Shown) -> str:
    name = content_hash(shown.original.digest, shown.candidate.digest, pair.record.instruction)
    return f"encoded/{name[:2]}/{name}.safetensors"


def _read_index(store: Store) -> Encoded:
    index = json.loads(store.get(INDEX) or b"{}")
    left: Counter[str] = Counter(index["left_out"])
    splits: dict[str, list[EncodedPair]] = {"train": [], "val": []}
    for row in index["pairs"]:
        if "left_out" in row:
            left[row["left_out"].partition(":")[0]] += 1
            continue
        pair = EncodedPair(row["record_id"], row["split"], tuple(row["canvas"]), row["key"])
        splits[pair.split].append(pair)
    return Encoded(tuple(splits["train"]), tuple(splits["val"]), dict(left))
