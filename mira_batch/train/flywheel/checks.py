"""What a turn checks: no held-out image is in a sample, the gate can be passed, and whether it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.construct.run import list_samples
from mira_batch.core.errors import ConfigError, StoreError, UserError
from mira_batch.evaluate.compare import EFFORT, Comparison
from mira_batch.evaluate.gate import PAIRWISE, Gate, parse_gate
from mira_batch.evaluate.scores import Scores, read_details
from mira_batch.evaluate.statistics import count_needed
from mira_batch.storage import schema
from mira_batch.storage.run.history import read_columns
from mira_batch.storage.stores import open_arrow_filesystem, open_store

_MOST_NAMED = 5


def check_apart(config: FlywheelConfig, run: str, samples: str) -> None:
    """Refuse samples of images that the gate is measured on, as the pixels of originals tell.

    Args:
        config: the flywheel's.
        run: on the held-out records.
        samples: directory of what construct made.

    Raises:
        ConfigError: there are some; it counts and names them.
        StoreError: a file can't be read.
    """
    held_out: dict[str, str] = {}
    for _, table in read_columns(
        run, ("record_id", "source_digest"), schema.RESULTS, config.storage, _raise_error
    ):
        for row in table.to_pylist():
            if row["source_digest"]:
                held_out.setdefault(row["source_digest"], row["record_id"])
    found: dict[str, str] = {}
    taken = 0
    for row in read_lineage(samples, config, ("source_digest", "record_id")):
        if row["source_digest"] in held_out:
            taken += 1
            found.setdefault(row["source_digest"], row["record_id"])
    if found:
        named = ", ".join(
            f"{held_out[digest]!r} (as {record!r} in the samples)"
            for digest, record in sorted(found.items())[:_MOST_NAMED]
        )
        raise ConfigError(
            f"edit.input.manifest: {len(found):,} of its {len(held_out):,} images are in {taken:,} samples, "
            f"{named} among them: what is learned by heart would pass the gate. Take them out of the "
            "manifest, or out of the sources, and end this turn with `mira-batch flywheel --abandon WHY`"
        )


def read_lineage(samples: str, config: FlywheelConfig, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Some columns of all samples.

    Args:
        samples: directory of what construct made.
        config: the flywheel's.
        columns: which.
    """
    store = open_store(samples, config.storage, make=False)
    fs, root = open_arrow_filesystem(samples, config.storage)
    for split in ("train", "val"):
        for key in list_samples(store, split):
            yield from pq.read_table(f"{root}/{key}", filesystem=fs, columns=[*columns]).to_pylist()


def _raise_error(error: StoreError) -> None:
    raise error


def check_names(config: FlywheelConfig, scores: Scores) -> None:
    """Refuse names that no comparison will have before a training, not after it; and limits that no
    difference reaches, or that any does.

    Args:
        config: the flywheel's.
        scores: of the current policy.

    Raises:
        ConfigError: the gate names a figure that there isn't, or a limit that lies out of its range.
    """
    effort = [name for name, column in EFFORT.items() if not np.isnan(scores.results.numbers(column)).all()]
    known = [*scores.scales, *effort]
    for text in config.gate:
        gate = parse_own_gate(text)
        if gate.name not in known and scores.results.scored.any():
            raise ConfigError(f"gate: {text}: there is no figure {gate.name!r}; there are {', '.join(known)}")
        with _as_setting():
            gate.check_limit(scores.scales)


def parse_own_gate(text: str) -> Gate:
    """A condition of the setting `gate`.

    Args:
        text: as it is written there.

    Raises:
        ConfigError: it is none, is beyond the range of a figure, or is about pairs.
    """
    with _as_setting():
        gate = parse_gate(text)
    if gate.name == PAIRWISE:
        raise ConfigError(f"gate: {text}: a turn compares scores, and no pairs; take overall or an axis")
    return gate


@contextmanager
def _as_setting() -> Iterator[None]:
    """Name the setting where the option of `mira-batch compare` would be named."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(str(error).replace("--gate ", "gate: ", 1)) from None


def check_measurable(config: FlywheelConfig, scores: Scores) -> None:
    """Refuse what no gate could be passed by, whatever is trained.

    Args:
        config: the flywheel's.
        scores: of the current policy.

    Raises:
        ConfigError: there are too few originals for an interval, or the judge failed on all results.
        StoreError: an evaluation can't be read.
    """
    results = scores.results
    originals, needed = len(np.unique(results.clusters)), count_needed()
    if originals < needed:
        raise ConfigError(
            f"edit.input.manifest: {originals:,} original images of it are judged, and {needed} at least are "
            "needed to tell how sure a difference is: nothing would pass the gate. Add records to it, and "
            "give the same command again"
        )
    # Where the edit failed there is nothing to judge: that is the policy's, which a training may mend.
    made = results.where(~results.without_result)
    if not len(made) or results.scored.any():
        return
    kinds = Counter(made.table["error_kind"].to_pylist()).most_common()
    counts = ", ".join(f"{kind or 'no score'} {count:,}" for kind, count in kinds)
    details = read_details(scores.run, config.storage, made.table["of"].to_pylist()[:_MOST_NAMED])
    said = next((each["error_message"] for each in details.values() if each["error_message"]), "no reason")
    raise ConfigError(
        f"evaluate.judge: scored none of the {len(made):,} results of the current policy ({counts}; the "
        f"first: {said}): nothing would pass the gate. Put it right, delete {scores.run}, and give the same "
        "command again; or end this turn with `mira-batch flywheel --abandon WHY`, if its settings change"
    )


def check_gate(text: str, found: Comparison) -> dict[str, Any]:
    """Whether a comparison passes a gate, as it is noted. Where nothing is shown, it doesn't.

    Args:
        text: the gate, such as `overall>=0`.
        found: the comparison.
    """
    gate = parse_gate(text)
    try:
        passed, why = gate.check(found)
    except UserError as error:  # no figure, or no interval for it: nothing is shown, so it doesn't pass
        passed, why = False, f"gate {text}: not passed; {str(error).removeprefix(f'--gate {gate.text}: ')}"
    return {"gate": text, "passed": passed, "why": why}


def check_unscored(found: Comparison, most: float) -> dict[str, Any]:
    """Whether the candidate leaves hardly more records without a score, as it is noted. A record that only
    one of both evaluations has counts as one without a score in the other.

    Args:
        found: the comparison of the current policy with it.
        most: largest share of the records that it may leave more.
    """
    records = found.paired + found.only_a + found.only_b
    # What one evaluation lacks has no score there: `statuses` or `where` left the result out.
    current, candidate = (
        getattr(found.no_result, of) + getattr(found.judge_failed, of) + lacks
        for of, lacks in (("a", found.only_b), ("b", found.only_a))
    )
    passed = (candidate - current) / records <= most
    why = (
        f"without a score: {current:,} of {records:,} by the current policy, {candidate:,} by the "
        f"candidate: {'passed' if passed else 'not passed'}, {100 * most:.3g} % more of them are allowed"
    )
    if found.only_a or found.only_b:
        why += (
            f"; evaluate.input left {found.only_b:,} of these out of the judging of the current policy, and "
            f"{found.only_a:,} of the candidate's"
        )
    return {"gate": "max_unscored", "passed": passed, "why": why}
