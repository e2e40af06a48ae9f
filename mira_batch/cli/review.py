"""The commands by which people look at results, and say what they think of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from mira_batch.cli.app import Command, Json, MaybeConfig, Sets, app, out, print_json, print_text
from mira_batch.cli.settings import load_run, read_storage
from mira_batch.config.base import make_absolute
from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import ConfigError
from mira_batch.launch import make_job
from mira_batch.report.review import DEFAULT_SIZE, Review, write_review
from mira_batch.report.training import is_training, write_training
from mira_batch.report.write import Form, Report, write_report
from mira_batch.runtime import run as runner
from mira_batch.storage.run.decisions import MOST_BYTES, keep_decisions
from mira_batch.storage.run.layout import read_edit_run
from mira_batch.storage.run.rollouts import refuse_rollouts
from mira_batch.storage.stores import describe_read_error, open_store, read_bytes, read_errors

_MOST_LISTED = 20


@app.command(cls=Command)
def report(
    run: Annotated[
        str | None, typer.Argument(help="The directory of a run or a training, in place of --config.")
    ] = None,
    config: MaybeConfig = None,
    review: Annotated[
        bool, typer.Option("--review", help="A page to approve or reject results on, in place of the report.")
    ] = False,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="Only so many records.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All records, of a review too.")] = False,
    full: Annotated[
        bool,
        typer.Option("--full", help="Originals and results with all their pixels, as a review has them."),
    ] = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="RUN", help="An earlier run, shown beside this one.")
    ] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option("--scores", metavar="EVALUATION", help="Its scores, with the results; repeatable."),
    ] = None,
    counterfactual: Annotated[
        str | None,
        typer.Option(
            "--counterfactual", metavar="DIR", help="What each step was worth, which one ruined it."
        ),
    ] = None,
    stratify: Annotated[
        str,
        typer.Option("--stratify", metavar="COLUMN", help="Each of its values has its share of a sample."),
    ] = "",
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Write the report of a run anew, or a page on which a person reviews its results.

    Of a training's directory it is the page of its figures, also while it is at work.

    A review without --sample or --all shows 299 results: where all are approved, at most 1 % of the run
    are bad, with 95 % confidence.
    """
    if sample is not None and every:
        raise ConfigError("give --sample or --all, one of them")
    if stratify and not review:
        raise ConfigError("--stratify is for the sample of a --review")
    if review:
        _refuse_in_review(full, against, scores, counterfactual)
    given = review, sample, every, full, against, scores, counterfactual
    if run is not None and _report_training(run, set_ or (), as_json, any(given)):
        return
    settings = load_run(run, config, set_ or ())
    if not isinstance(settings, BulkEditConfig):
        raise ConfigError("a report with pictures is of a run of the edit job; this one is of another")
    job = make_job(settings)
    if not review:
        form = Form(
            sample,
            full,
            anew=True,
            against=None if against is None else make_absolute(against),
            scores=[make_absolute(place).rstrip("/") for place in scores or ()],
            counterfactual=None if counterfactual is None else make_absolute(counterfactual).rstrip("/"),
        )
        _print_report(write_report(settings, runner.status(job), form), as_json)
        return
    size = None if every else sample if sample is not None else DEFAULT_SIZE
    _print_review(write_review(settings, runner.open_existing(job).uri, size, stratify), as_json)


def _refuse_in_review(*given: object) -> None:
    """
    Args:
        given: what a review was asked for that only a report has.

    Raises:
        ConfigError: it was asked for any of it.
    """
    if any(given):
        raise ConfigError(
            "--counterfactual, --full, --against and --scores are for the report; a review shows all pixels "
            "anyway, and who reviews shouldn't know the scores"
        )


def _report_training(run: str, sets: Sequence[str], as_json: bool, asks_more: bool) -> bool:
    """Whether a directory is a training's; then its page is written.

    Raises:
        ConfigError: it is, and what only a run of edits has was asked for.
    """
    place, storage = make_absolute(run).rstrip("/"), read_storage(sets)
    if not is_training(place, storage):
        return False
    if asks_more:
        raise ConfigError(f"{place}: is the directory of a training; its report takes no option but --set")
    page = write_training(place, storage)
    if as_json:
        print_json({"report": page})
    else:
        print_text(f"report: {page}")
    return True


def _print_review(found: Review, as_json: bool) -> None:
    if as_json:
        print_json(asdict(found))
        return
    print_text(f"review: {found.page}")
    if found.files:
        out.print("        it goes together with the folder review.data beside it")
    print_text(f"        {found.rule}")


def _print_report(found: Report, as_json: bool) -> None:
    if as_json:
        credit = {} if found.credit is None else {"counterfactual": asdict(found.credit)}
        print_json({"report": found.page, "scores": [asdict(join) for join in found.joins]} | credit)
        return
    print_text(f"report: {found.page}")
    for join in found.joins:
        left = "".join(f", {words}" for words in join.describe())
        print_text(f"scores of {join.evaluation}: {join.joined:,} about results of this run{left}")
    if (credit := found.credit) is not None:
        left = f", {credit.absent:,} of another" if credit.absent else ""
        print_text(
            f"counterfactual {credit.counterfactual}: {credit.joined:,} trajectories of this run{left}"
        )


@app.command(cls=Command)
def decide(
    run: Annotated[str, typer.Argument(help="The directory of the run that was reviewed.")],
    file: Annotated[str, typer.Argument(help="What the review page gave: JSON lines, a decision each.")],
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Take what a person has decided about a run's results, check it, and keep it beside them.

    `retry --decisions RUN` makes again what was rejected. A file with anything wrong in it is refused whole.
    """
    storage = read_storage(set_ or ())
    store = open_store(make_absolute(run).rstrip("/"), storage, make=False)
    refuse_rollouts(read_edit_run(store), store.uri, "decisions are about one result of a record")
    where = make_absolute(file)
    try:
        data = read_bytes(where, storage, MOST_BYTES)
    except read_errors() as error:
        raise ConfigError(describe_read_error(where, error)) from error
    kept = keep_decisions(store, storage, data, file)
    if as_json:
        print_json(asdict(kept))
        return
    out.print(f"{kept.approved:,} approved, {kept.rejected:,} rejected", end="")
    out.print(f", {kept.stale:,} stale: about results that are there no more" if kept.stale else "")
    print_text(f"kept in {kept.file}" + (", as they were already" if kept.known else ""))
    out.print(f"all files of this run: {kept.all_approved:,} approved, {kept.all_rejected:,} rejected")
    if kept.disputes:
        out.print(f"[yellow]disagreements: {len(kept.disputes):,}[/]; the last word stands")
        for dispute in kept.disputes[:_MOST_LISTED]:
            said = ", ".join(f"{by or 'nobody'}: {verdict}" for by, verdict in dispute.said.items())
            print_text(f"  {dispute.record_id}: {said}")
        if (more := len(kept.disputes) - _MOST_LISTED) > 0:
            out.print(f"  and {more:,} more; --json has all")
