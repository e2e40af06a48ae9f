"""Names made from content: work ids, fingerprints and seeds.

Nothing here depends on time, order or place, so the same work has the same name on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mira_batch.core.types import Frame


def content_hash(*parts: str | bytes, size: int = 16) -> str:
    """Hex digest (blake2b, `size` bytes) of the parts, each prefixed by its length so that none can
    run into the next."""
    digest = hashlib.blake2b(digest_size=size)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def fingerprint(settings: Mapping[str, object]) -> str:
    """Hash of everything that changes pixels; `settings` must be plain JSON data."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return content_hash(text)


def work_id(record_id: str, image_identity: str, instruction: str, pipeline: str) -> str:
    """The name of one piece of work: 32 hex digits, safe as a path.

    Args:
        record_id: the user's own name for the record.
        image_identity: what tells that its image changed: URI and ETag, or a digest.
        instruction: what is asked for; empty where the job asks for nothing.
        pipeline: fingerprint of the settings that decide the result.
    """
    return content_hash(record_id, image_identity, instruction, pipeline)


def rollout_work_id(work: str, rollout: int) -> str:
    """The name of one of several trajectories of a record, from which its seeds follow.

    Args:
        work: the record's own, as of `work_id`.
        rollout: which trajectory, from 0.
    """
    return content_hash(work, "rollout", str(rollout))


def seed_source(seed: int, record_id: str, instruction: str, rollout: int | None, state: str = "") -> str:
    """What a record's draws are seeded from where runs of other settings are to draw alike: nothing of the
    settings is in it.

    Args:
        seed: of the job.
        record_id: the record's.
        instruction: what is asked for.
        rollout: which of its trajectories, from 0; None where it has one.
        state: of an earlier run, that it begins with: what follows is not to repeat how that one went on.
    """
    return content_hash("seed", str(seed), record_id, instruction, str(rollout or 0), state)


def name_rollout(record_id: str, rollout: int | None) -> str:
    """What a trajectory is called where those of a run must have names of their own.

    Args:
        record_id: the record's.
        rollout: which of its trajectories, from 0; None where it has one.
    """
    return record_id if rollout is None else f"{record_id}#rollout-{rollout}"


def seed(work: str, draw: str, step: int, attempt: int) -> int:
    """The seed of one random draw: a 63-bit integer, a function of its arguments alone.

    `draw` tells apart what is drawn in the same step: "policy" or "editor".

    Args:
        work: the record's work_id, or its `seed_source`.
        draw: what is drawn: "policy" or "editor".
        step: index of the step, from 0.
        attempt: which try of the step, from 0.
    """
    return int(content_hash(work, draw, str(step), str(attempt), size=8), 16) >> 1


def frame_of(pixels: Any) -> Frame:
    """Hold a decoded image together with the digest of its mode, size and pixels.

    `pixels` is a `PIL.Image.Image`; any object with `mode`, `size` and `tobytes()` would do. Costs one
    pass over the pixels (a few ms per megapixel), so call it outside the event loop. SHA-256 is what today's
    CPUs have instructions for: more than twice as fast as the BLAKE2b of short texts.
    """
    width, height = pixels.size
    digest = hashlib.sha256(f"{pixels.mode} {width}x{height} ".encode())
    digest.update(pixels.tobytes())
    return Frame(pixels, digest.hexdigest()[:32])
