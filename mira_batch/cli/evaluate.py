"""The commands by which edits are judged and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mira_batch.cli.app import Command, Json, Sets, app, get_interrupts, out, print_json, print_text
from mira_batch.cli.execute import run_job
from mira_batch.cli.runs import Takeover
from mira_batch.cli.settings import quote, read_storage
from mira_batch.config.base import make_absolute
from mira_batch.config.load import load_job_config
from mira_batch.core.errors import ConfigError
from mira_batch.evaluate.calibrate import calibrate as calibrate_scores
from mira_batch.evaluate.compare import compare as compare_scores
from mira_batch.evaluate.gate import parse_gate
from mira_batch.evaluate.scores import join_scales, read_scores
from mira_batch.report.comparison import find_links, write_comparison
from mira_batch.report.comparison_contents import Checked
from mira_batch.report.judged import describe_calibration, describe_comparison
from mira_batch.storage.catalogue.decided import read_verdicts


@app.command(cls=Command)
def evaluate(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            help="A run's directory, that of all runs, or a manifest of pairs; else the config's."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="RUN", help="Say which is better, pair by pair: these results or this run's."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML or JSON file of the job: who judges, and how.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="TYPE", help="Without a config: rules or fidelity.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Directory of all evaluations.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="Judge only so many results.")
    ] = None,
    set_: Sets = None,
    takeover: Takeover = False,
    as_json: Json = False,
) -> None:
    """Have a judge score each result, and say what the scores come to, with intervals.

    A judge that fails gives no score; canaries and repeats say how far it can be trusted. With --against each
    result is compared with another run's, in both orders, by a judge that looks at two. It goes on from
    wherever an earlier call stopped.
    """
    if (config is None) == (judge is None):
        raise ConfigError("evaluate: give --config FILE, or --judge TYPE for a judge without settings")
    sets = list(set_ or ())
    given: Any = config
    if config is None:
        if source is None:
            raise ConfigError("evaluate: give a SOURCE: a run, all runs, or a manifest of pairs")
        given = {
            "input": {"manifest": source} | ({} if against is None else {"against": against}),
            "judge": {"type": judge},
            "output": {"uri": output or "scores"},
        }
    else:
        places = {"input.manifest": source, "input.against": against, "output.uri": output}
        sets = [f"{name}={quote(make_absolute(p))}" for name, p in places.items() if p is not None] + sets
    sets += [] if sample is None else [f"sample={sample}"]
    run_job(get_interrupts(context), load_job_config(given, sets, "evaluate"), as_json, takeover)


@app.command(cls=Command)
def compare(
    a: Annotated[str, typer.Argument(help="Directory of an evaluation: the one to be beaten.")],
    b: Annotated[str, typer.Argument(help="Directory of another one, by the same judge.")],
    gate: Annotated[
        list[str] | None,
        typer.Option(
            "--gate", metavar="NAME>=X", help="Exit with 1 unless B less A is surely so; repeatable."
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option("--report", metavar="FILE.html", help="Also write a page: charts and pictures."),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            "--pairs",
            metavar="EVALUATION",
            help="What `evaluate RUN_B --against RUN_A` said, to stand beside.",
        ),
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Compare two evaluations of the same records, record by record, and say which is better.

    Scores of other judges, protocols, prompts or settings are refused: they don't compare.
    """
    gates = [parse_gate(text) for text in gate or ()]
    storage = read_storage(set_ or ())
    runs = (make_absolute(run).rstrip("/") for run in (a, b, pairs) if run is not None)
    of_a, of_b, *of_pairs = (read_scores(run, storage) for run in runs)
    found = compare_scores(of_a, of_b, *of_pairs)
    scales = join_scales(of_a, of_b)
    for each in gates:
        each.check_limit(scales)
    checks = [Checked(each, *each.check(found)) for each in gates]
    page = None
    if report is not None:
        page = write_comparison(make_absolute(report), found, of_a, of_b, checks, storage)
    links = find_links(of_a, of_b, [each.record_id for each in found.worst], storage)
    if as_json:
        gated = [{"gate": each.gate.text, "passed": each.passed, "why": each.why} for each in checks]
        more = {"gates": gated, "links": links} | ({} if page is None else {"report": page})
        print_json(found.dump() | more)
    else:
        for part in describe_comparison(found, links):
            out.print(part)
        for each in checks:
            print_text(each.why)
        if page is not None:
            print_text(f"report: {page}")
    if not all(each.passed for each in checks):
        raise typer.Exit(1)


@app.command(cls=Command)
def calibrate(
    evaluation: Annotated[
        str, typer.Argument(help="Directory of an evaluation of the run that was reviewed.")
    ],
    decisions: Annotated[
        str, typer.Option("--decisions", metavar="RUN|FILE", help="What people decided: the run, or a file.")
    ],
    most_bad: Annotated[
        float, typer.Option("--most-bad", min=0.0, max=1.0, help="Share of accepted results that may be bad.")
    ] = 0.05,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Hold a judge against people: how far they agree, from which score on results may be accepted unseen,
    and how many of all results are good.

    The decisions must be a random sample, as `report --review` draws it: 50 at least, better 300.
    """
    storage = read_storage(set_ or ())
    scores = read_scores(make_absolute(evaluation).rstrip("/"), storage)
    verdicts = read_verdicts(make_absolute(decisions), storage, "--decisions")
    found = calibrate_scores(scores, verdicts, most_bad)
    if as_json:
        print_json(found.dump())
        return
    for line in describe_calibration(found):
        print_text(line)
