"""The commands by which benchmarks of image editing are prepared, tabulated and laid out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from mira_batch.cli.app import Command, Json, Sets, app, out, print_json, print_text
from mira_batch.cli.settings import quote, read_storage
from mira_batch.config.base import make_absolute
from mira_batch.config.models.base import hub_name
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError
from mira_batch.evaluate.suites import SUITES
from mira_batch.evaluate.suites.evidence import gather
from mira_batch.evaluate.suites.layout import lay_out, lay_out_scores
from mira_batch.evaluate.suites.magicbrush import MAGICBRUSH
from mira_batch.evaluate.suites.magicbrush_table import Embedders, tabulate_magicbrush
from mira_batch.evaluate.suites.prepare import Preparation, describe_data
from mira_batch.evaluate.suites.prepare import prepare as prepare_data
from mira_batch.evaluate.suites.suite import Request, Suite
from mira_batch.models.similarity import Clip, Dino
from mira_batch.report.benchmarks import describe_table
from mira_batch.storage.weights import fetch_weights

benchmark = typer.Typer(help="Benchmarks of image editing, and of judges.", no_args_is_help=True)
app.add_typer(benchmark, name="benchmark")
Named = Annotated[str, typer.Argument(metavar="NAME", help=f"{', '.join(SUITES)}.")]
Runs = Annotated[
    list[str],
    typer.Argument(metavar="EVALUATION|RUN", help="An evaluation of it; of magicbrush the edit runs."),
]
PreparedAt = Annotated[
    str | None,
    typer.Option("--prepared", metavar="DIR", help="What `prepare` wrote, where the runs don't say."),
]
Axes = Annotated[
    list[str] | None,
    typer.Option(
        "--axis", metavar="DIMENSION=AXIS", help="Benchmarks of judges: which of its axes; repeatable."
    ),
]


@benchmark.command(cls=Command)
def prepare(
    name: Named,
    data: Annotated[str, typer.Argument(help="The data set as its owners publish it: a folder or a file.")],
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="A new folder for all that is made.")],
    language: Annotated[
        list[str] | None,
        typer.Option("--language", metavar="en|cn", help="gedit: only this one; repeatable."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Which, where a Hugging Face data set has several.")
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images", metavar="DIR", help="Where the images are that a JSON file names, if elsewhere."
        ),
    ] = None,
    after: Annotated[
        list[str] | None,
        typer.Option(
            "--after", metavar="RUN", help="magicbrush: the next turn, from the results of this; repeatable."
        ),
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Read a data set, check it, and write a manifest that jobs take as it is.

    Nothing of it is executed, and nothing is passed over: what is missing, unknown or there twice is told
    with its place, and nothing is prepared then.
    """
    suite = _find_suite(name)
    given = {"language": language, "split": split, "images": images, "after": after}
    _check_options(suite, given, suite.options)
    storage = read_storage(set_ or ())
    request = Request(
        describe_data(make_absolute(data)),
        tuple(language or ()),
        split,
        None if images is None else describe_data(make_absolute(images)),
        tuple(_absolute(run) for run in after or ()),
        storage,
    )
    found = prepare_data(suite, request, str(describe_data(make_absolute(to))), storage)
    commands = list(_list_commands(suite, found, data, after is not None))
    if as_json:
        print_json(asdict(found) | {"next": commands})
        return
    _print_preparation(suite, found, commands)


def _print_preparation(suite: Suite, found: Preparation, commands: Sequence[str]) -> None:
    counts = ", ".join(f"{name} {count:,}" for name, count in found.counts.items())
    print_text(f"{found.items:,} items of {suite.title} in {found.folder}: {counts}")
    if found.already:
        print_text("they were there before, just so")
    for words in found.left_out:
        print_text(f"left out: {words}")
    whose = "" if suite.of_pairs else ", with the config of your editor in the place of edit.yaml"
    print_text(f"next{whose}:")
    for line in commands:
        print_text(f"  {line}")


def _list_commands(suite: Suite, found: Preparation, data: str, later: bool) -> Iterator[str]:
    """What to type next."""
    name, folder = suite.name, found.folder
    run, scores = (shlex.quote(f"{folder}/{part}/{name}") for part in ("edited", "scores"))
    if not suite.of_pairs:
        places = {"input.manifest": f"{folder}/manifest.jsonl", "output.uri": f"{folder}/edited"}
        sets = " ".join(f"--set {_write_set(field, place)}" for field, place in places.items())
        yield f"mira-batch run --config edit.yaml {sets} --set run_id={name}"
    if suite.judge:
        judge, output = shlex.quote(f"{folder}/judge.yaml"), shlex.quote(f"{folder}/scores")
        source = shlex.quote(f"{folder}/manifest.jsonl") if suite.of_pairs else run
        yield f"mira-batch evaluate {source} --config {judge} --output {output} --set run_id={name}"
        yield f"mira-batch benchmark table {name} {scores}"
        return
    yield f"mira-batch benchmark table {name} {'RUN_BEFORE ' if later else ''}{run}"
    if later or found.counts["turns"] > found.counts["sessions"]:
        to = shlex.quote(f"{folder}-next")
        after = f"--to {to} --after {run}   # for multi-turn"
        yield f"mira-batch benchmark prepare {name} {shlex.quote(data)} {after}"


def _write_set(field: str, place: str) -> str:
    """A setting as a shell and then YAML read it back."""
    plain = shlex.quote(place) == place
    return shlex.quote(f"{field}={place if plain else quote(place)}")


@benchmark.command(cls=Command)
def table(
    name: Named,
    runs: Runs,
    prepared: PreparedAt = None,
    axis: Axes = None,
    clip: Annotated[
        str | None,
        typer.Option("--clip", metavar="WEIGHTS", help="magicbrush: CLIP-I and CLIP-T by these weights."),
    ] = None,
    dino: Annotated[
        str | None, typer.Option("--dino", metavar="WEIGHTS", help="magicbrush: DINO by these weights.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="magicbrush: where these run: auto, cpu or cuda:N.")
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Print a benchmark's own rows and means, and what is not in them."""
    suite, storage = _find_suite(name), read_storage(set_ or ())
    given = {"axis": axis, "clip": clip, "dino": dino, "device": device}
    _check_options(suite, given, {"clip", "dino", "device"} if suite is MAGICBRUSH else _know_axes(suite))
    known = None if prepared is None else _absolute(prepared)
    if suite.tabulate is None:
        if device is not None and clip is None and dino is None:
            raise ConfigError("--device: is for --clip and --dino; without them nothing runs on it")
        embedders = _load_embedders(clip, dino, device or "auto", storage)
        found = tabulate_magicbrush([_absolute(run) for run in runs], known, embedders, storage)
    else:
        evidence = gather(_name_one(suite, runs), suite.name, known, storage)
        found = suite.tabulate(evidence, _read_axes(axis))
    if as_json:
        print_json(found.dump())
        return
    for part in describe_table(found):
        out.print(part)


@benchmark.command(cls=Command)
def layout(
    name: Named,
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="The edit run; of editreward-bench an evaluation.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="The folder that its script is given.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="gedit: what its script calls your model; else the run's name."
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write what there is, where results are missing.")
    ] = False,
    prepared: PreparedAt = None,
    axis: Axes = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Write results where the benchmark's own script looks for them. Nothing is overwritten."""
    suite, storage = _find_suite(name), read_storage(set_ or ())
    knows = {"model"} if suite.name == "gedit" else _know_axes(suite)
    _check_options(suite, {"model": model, "axis": axis}, knows)
    destination, known = make_absolute(to), None if prepared is None else _absolute(prepared)
    if suite.name == "editreward-bench":
        evidence = gather(_name_one(suite, runs), suite.name, known, storage)
        found = lay_out_scores(evidence, _read_axes(axis), destination, partial, storage)
    elif suite.files is None:
        raise ConfigError(
            f"layout: {suite.name} has none: its script takes no results or scores from elsewhere"
        )
    else:
        places = [_absolute(run) for run in runs]
        called = model or places[0].rpartition("/")[2]
        if "/" in called or called.startswith("."):
            raise ConfigError(f"--model: {called!r} is no name of a folder")
        found = lay_out(suite, places, known, destination, called, partial, storage)
    if as_json:
        print_json(asdict(found))
        return
    print_text(
        f"{found.written:,} of {found.expected:,} in {found.destination}, {found.already:,} of them before"
    )
    if found.missing:
        words = ", ".join(f"{why} {count:,}" for why, count in found.missing.items())
        print_text(f"PARTIAL: {sum(found.missing.values()):,} of {found.expected:,} are not there: {words}")


def _find_suite(name: str) -> Suite:
    if name not in SUITES:
        raise ConfigError(f"{name!r} is no benchmark known here; there are {', '.join(SUITES)}")
    return SUITES[name]


def _check_options(suite: Suite, given: Mapping[str, Any], known: Any) -> None:
    for option, value in given.items():
        if value is not None and option not in known:
            raise ConfigError(f"--{option}: {suite.name} has no use for it")


def _know_axes(suite: Suite) -> set[str]:
    return {"axis"} if suite.of_pairs else set()


def _name_one(suite: Suite, evaluations: list[str]) -> str:
    if len(evaluations) > 1:
        raise ConfigError(f"{suite.name}: give one evaluation; several places are for runs")
    return _absolute(evaluations[0])


def _absolute(folder: str) -> str:
    return make_absolute(folder).rstrip("/")


def _read_axes(axes: list[str] | None) -> dict[str, str]:
    found = {}
    for text in axes or ():
        dimension, sign, name = text.partition("=")
        if not sign or not dimension or not name:
            raise ConfigError(f"--axis: {text!r} is not of the form DIMENSION=AXIS")
        found[dimension] = name
    return found


def _load_embedders(clip: str | None, dino: str | None, device: str, storage: StorageConfig) -> Embedders:
    def fetch(location: str) -> str:
        if location.startswith("hf://") and hub_name(location) is None:
            raise ConfigError(f"{location}: is not of the form hf://owner/name@revision; pin the revision")
        return fetch_weights(make_absolute(location), storage).path

    return Embedders(
        None if clip is None else Clip(fetch(clip), device),
        None if dino is None else Dino(fetch(dino), device),
    )
