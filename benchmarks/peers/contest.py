"""Ours against what one would write on Ray Data or Daft: same models, same records, as many editors."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, at_least, reported
from benchmarks.peers import installed
from benchmarks.timeline import read_calls
from benchmarks.workload import config, custom, manifest, records_with
from mira_batch.config.models.simulated import StepCounts
from mira_batch.models.simulated import step_count

DEVICES, BATCH, POLICY_BATCH, SECONDS, SIDE = 4, 4, 8, 0.2, 256
_EQUAL = (
    f"{DEVICES} editors, {SECONDS:g} s a call of up to {BATCH}, each with a policy of {SECONDS / 5:g} s for "
    f"up to {POLICY_BATCH} beside it; {SIDE}² photographs decoded and encoded by the same code; from the "
    "first editor call to the last result file, on actors that are up"
)


@cache
def _contest(bench: Bench) -> dict[str, dict[str, float]]:
    """Records per second, and the editors' busy share, of each contender."""
    folder = bench.folder / "peers"
    names = records_with(edits=round(bench.size(6, 2) * DEVICES * BATCH / SECONDS))
    job = config(
        manifest(folder, SIDE, names),
        folder / "out",
        workers={"min": DEVICES, "gpus": 1},
        **_noting(folder / "notes-ours"),
    )
    job["output"]["step_images"] = "drop"  # the peers keep only the result, too
    images = sorted((folder / "images").iterdir())
    rows = [
        {"record_id": name, "image": str(images[i % len(images)]), "instruction": "make it nicer"}
        for i, name in enumerate(names)
    ]
    shares = {"lockstep": rows, "one_at_a_time": rows[: len(rows) // 4]}
    if not bench.quick:  # more pools to start
        shares |= {"wide_lockstep": rows, "unrolled": rows}
    models = {peer: _settings(folder / f"notes-{peer}") for peer in shares}
    in_child(
        "call",
        function="benchmarks.peers.ray_data:contend",
        ours=job,
        rows=shares,
        models=models,
        output=str(folder / "peers"),
        devices=DEVICES,
        batch=BATCH,
    )
    if installed.find_version("daft"):
        shares["daft"] = rows
        _run_daft(folder, rows)
    found = {"ours": _measured(folder / "notes-ours", folder / "out", len(rows))}
    for peer, share in shares.items():
        results = folder / "peers" / peer / "results"
        check(results, share)
        found[peer] = _measured(folder / f"notes-{peer}", results, len(share))
    return found


def _run_daft(folder: Path, rows: list[dict[str, Any]]) -> None:
    """After the others, in a process of its own: it needs no Ray, and other packages."""
    in_child(
        "call",
        variables=installed.see_peers() | {"DAFT_PROGRESS_BAR": "0"},
        function="benchmarks.peers.daft_frame:edit_rows",
        rows=rows,
        models=_settings(folder / "notes-daft"),
        output=str(folder / "peers" / "daft" / "results"),
        devices=DEVICES,
        batch=4 * BATCH,
    )


def _settings(notes: Path) -> dict[str, Any]:
    notes.mkdir(parents=True)
    editor = {"type": "simulated", "service": {"seconds": SECONDS}, "max_batch": BATCH}
    policy = {"type": "simulated", "service": {"seconds": SECONDS / 5}, "max_batch": POLICY_BATCH}
    return {
        "policy": {"notes": str(notes), "settings": policy},
        "editor": {"notes": str(notes), "settings": editor},
    }


def _noting(notes: Path) -> dict[str, Any]:
    """The same models as our configs name them."""
    return {role: custom(f"noting_{role}", **options) for role, options in _settings(notes).items()}


def _measured(notes: Path, results: Path, records: int) -> dict[str, float]:
    edits = read_calls(notes)["editor"]
    begin = min(call.begin for call in edits)
    wall = max(path.stat().st_mtime for path in results.rglob("*.parquet")) - begin
    made = sum(call.size for call in edits)
    return {
        "rate": records / wall,
        "busy": sum(call.end - call.begin for call in edits) / (DEVICES * wall),
        "batch": made / len(edits),
        "efficiency": made / BATCH * SECONDS / DEVICES / wall,
        "records": records,
    }


def check(results: Path, rows: list[dict[str, Any]]) -> None:
    """A peer has done all the work, and no more."""
    found = pq.read_table(results, columns=["record_id", "edits"]).to_pylist()
    made = {row["record_id"]: len(row["edits"].split("\n")) for row in found}
    assert made == {row["record_id"]: step_count(row["record_id"], StepCounts()) for row in rows}


def _against(bench: Bench, peer: str, how: str) -> tuple[float, str]:
    found = _contest(bench)
    ours, theirs = found["ours"], found[peer]
    words = ", ".join(
        f"{who} {one['rate']:.1f} (editors busy {one['busy']:.0%}, mean batch {one['batch']:.2f})"
        for who, one in (("ours", ours), ("theirs", theirs))
    )
    value = ours["rate"] / theirs["rate"]
    return value, f"Records per second of ours ÷ {how}. {_EQUAL}. {ours['records']:g} records: {words}."


def against_wide_lockstep(bench: Bench) -> list[Figure]:
    """The strongest on Ray Data, and so the first. Left out of a quick run."""
    if bench.quick:
        return []
    how = (
        "Ray Data map_batches with an actor per editor (num_gpus=1) that runs the loop in lockstep "
        f"over batches of {4 * BATCH} records, handed to the models in parts of their size"
    )
    value, method = _against(bench, "wide_lockstep", how)
    return [reported("speed_against_lockstep_over_16", value, "", method)]


def against_daft(bench: Bench) -> list[Figure]:
    """Left out where Daft is not installed."""
    if not installed.is_there("daft", "speed_against_daft"):
        return []
    how = (
        f"the same lockstep over batches of {4 * BATCH} records in a class of Daft "
        f"{installed.find_version('daft')} (@daft.cls, a process per editor, native runner with a thread per "
        "editor and per CPU), rows decoded and encoded in its functions"
    )
    value, method = _against(bench, "daft", how)
    return [reported("speed_against_daft", value, "", method)]


def against_lockstep(bench: Bench) -> Figure:
    how = f"the lockstep on Ray Data over a batch as large as the editor's (num_gpus=1, batch_size={BATCH})"
    value, method = _against(bench, "lockstep", how)
    return at_least(1.5, "speed_against_lockstep", value, "", method)


def against_unrolled(bench: Bench) -> list[Figure]:
    """Left out of a quick run."""
    if bench.quick:
        return []
    how = (
        f"8 stages of map_batches (batch_size={BATCH}), each policy → editor and each with a pool of its own "
        "(4, 3, 2, 2, 1, 1, 1 and 1 actors in fractions of a GPU). Whichever device is free takes a call, "
        f"never more than {DEVICES} of either model at once, as if all 15 actors' models fitted on each"
    )
    value, method = _against(bench, "unrolled", how)
    return [at_least(1.5, "speed_against_unrolled", value, "", method)]


def against_one_at_a_time(bench: Bench) -> Figure:
    how = (
        "Ray Data map with an actor per editor (num_gpus=1) that runs one record at a time, over a fourth of "
        "the records, since that takes as long. A call of one takes as long here as a call of "
        f"{BATCH}: an editor that gains nothing from batches would lose only what it waits for the policy"
    )
    value, method = _against(bench, "one_at_a_time", how)
    return at_least(3, "speed_against_one_at_a_time", value, "", method)


FIGURES = (against_wide_lockstep, against_daft, against_lockstep, against_unrolled, against_one_at_a_time)
