"""The benchmark's peers do the whole work and no more, and what they made is looked at.

Those whose packages are not installed are skipped; `make bench-more` installs them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.child import in_child
from benchmarks.efficiency import timed_models
from benchmarks.figure import Bench
from benchmarks.peers import contest, installed, served, torch_contest
from benchmarks.peers.served import Outcome, Work, prepare_work
from benchmarks.peers.served_model import ServedModels
from benchmarks.timeline import read_calls
from benchmarks.workload import photographs, read_picture
from mira_batch.config.models.simulated import StepCounts
from mira_batch.models.simulated import step_count
from tests.support.servers.models import Asked

NAMES = [f"rec-{number:06d}" for number in range(9)]


def needs(package: str) -> pytest.MarkDecorator:
    missing = installed.find_version(package) is None
    return pytest.mark.skipif(
        missing, reason=f"{package} is not installed; `{installed.COMMAND}` installs it"
    )


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return prepare_work(tmp_path, 8)


@pytest.mark.slow
def test_ours_and_the_scripts_do_the_same_over_endpoints(work: Work) -> None:
    outcomes = [
        served.run_ours(work, 8),
        served.run_script(work, 8, "record"),
        served.run_script(work, 8, "call"),
    ]
    for outcome in outcomes:
        assert outcome.done == outcome.records == len(work.names) >= 2
        assert 0 < outcome.share < 1 and outcome.refusals == 0


@pytest.mark.slow
@needs("datatrove")
def test_datatrove_does_the_same_over_endpoints(work: Work) -> None:
    outcome = served.run_datatrove(work)
    assert outcome.done == len(work.names) and 0 < outcome.share < 1


@pytest.mark.slow
@needs("daft")
def test_daft_makes_the_same_edits(tmp_path: Path) -> None:
    images = photographs(tmp_path / "images", 32)
    rows = [
        {"record_id": name, "image": str(images[i % len(images)]), "instruction": "make it nicer"}
        for i, name in enumerate(NAMES)
    ]
    notes, output = tmp_path / "notes", tmp_path / "results"
    in_child(
        "call",
        variables=installed.see_peers(),
        function="benchmarks.peers.daft_frame:edit_rows",
        rows=rows,
        models={role: model["options"] for role, model in timed_models(notes, 0.0).items()},
        output=str(output),
        devices=2,
        batch=4,
    )
    contest.check(output, rows)
    made = sum(step_count(name, StepCounts()) for name in NAMES)
    assert sum(call.size for call in read_calls(notes)["editor"]) == made
    with pytest.raises(AssertionError):
        contest.check(output, rows[1:])


@pytest.mark.slow
def test_a_script_of_diffusers_makes_the_same_pixels(tmp_path: Path) -> None:
    figures = torch_contest.against_script(Bench(tmp_path, quick=True))
    assert [figure.name for figure in figures] == [
        "speed_against_diffusers_script",
        "cpu_against_diffusers_script",
    ]
    assert all(0 < figure.value < 10 for figure in figures)


def ask(models: ServedModels, kind: Any, text: str) -> str:
    return str(models.answer(Asked(kind, "any", text, (), "")).value)


def serve(work: Work) -> tuple[ServedModels, dict[str, Image.Image]]:
    """What the server notes, and what comes out, when all is done as it should be."""
    models = ServedModels(work.images)
    for name in work.names:
        while "<edit>" in ask(models, "chat", f"improve {name}"):
            ask(models, "edit", f"make {name} nicer")
    return models, {name: read_picture(models.result(name)) for name in work.names}


def measure(work: Work, models: ServedModels, results: dict[str, Image.Image]) -> Outcome:
    return served.measure(work, models, results, [work.manifest], 1.0)


def test_results_over_endpoints_are_looked_at(work: Work) -> None:
    models, results = serve(work)
    work.manifest.touch()
    assert measure(work, models, results).done == len(work.names)
    first, second = work.names[:2]
    with pytest.raises(RuntimeError, match="results of"):
        measure(work, models, {first: results[first]})
    with pytest.raises(RuntimeError, match="is not the image"):
        measure(work, models, results | {first: Image.new("RGB", results[first].size)})
    ask(models, "edit", f"make {second} nicer")
    with pytest.raises(RuntimeError, match=f"{second}: .* edits"):
        measure(work, models, results)


def test_results_of_torch_are_looked_at(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), "gray")
    image.save(tmp_path / "a.png")
    torch_contest.check(["a"], {"a": (0, image)}, tmp_path)
    with pytest.raises(RuntimeError, match="differ by up to"):
        torch_contest.check(["a"], {"a": (0, Image.new("RGB", (8, 8), "red"))}, tmp_path)
    with pytest.raises(RuntimeError, match="2 records"):
        torch_contest.check(["a", "b"], {"a": (0, image), "b": (0, image)}, tmp_path)


def test_a_missing_package_leaves_its_figure_out_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert not installed.is_there("no-such-peer", "speed_against_it")
    said = capsys.readouterr().err
    assert "speed_against_it is left out" in said and installed.COMMAND in said
