"""What only looks writes nothing: neither an output that isn't there, nor a catalogue that is behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mira_batch.catalogue.explain import explain
from mira_batch.launch import make_job
from mira_batch.runtime import run as runner
from tests.support.runs.nights import Nights


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    found = Nights(tmp_path)
    found.add(20)
    return found


def list_files(nights: Nights) -> dict[str, int]:
    """What lies under the output, and when it was changed."""
    out = Path(nights.output)
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in [out, *out.rglob("*")]}


def test_a_plan_makes_no_output(nights: Nights) -> None:
    assert nights.plan().planned == 20 and not Path(nights.output).exists()
    assert explain(make_job(nights.configure()), "rec-0001").cause == "new"
    assert not Path(nights.output).exists()


def test_a_plan_leaves_a_catalogue_that_is_behind_as_it_is(nights: Nights) -> None:
    """The driver was killed before it folded what it had made, say; or the runs are of an earlier release."""
    cut = nights.run(stop_after=4)
    shutil.rmtree(Path(nights.output, "catalogue"))
    nights.add(1)
    before = list_files(nights)
    assert 0 < cut.committed < 20 and nights.plan().planned == 21 - cut.committed
    assert explain(make_job(nights.configure()), "rec-0000").cause == "unchanged"
    assert list_files(nights) == before
    nights.run()
    shutil.rmtree(cut.run)
    before = list_files(nights)
    assert nights.plan().planned == cut.committed, "what is gone is made again"
    assert list_files(nights) == before


def test_a_plan_leaves_a_run_that_goes_on_as_it_is(nights: Nights) -> None:
    cut = nights.run(stop_after=4)
    before = list_files(nights)
    assert nights.plan().committed == cut.committed < 20 and list_files(nights) == before


def test_a_plan_begins_no_run_in_a_directory_that_has_none(nights: Nights) -> None:
    """It was made by a driver that got no further."""
    (Path(nights.output) / "night").mkdir(parents=True)
    before = list_files(nights)
    assert runner.plan(make_job(nights.configure(run_id="night"))).planned == 20
    assert list_files(nights) == before
    assert nights.run(more={"run_id": "night"}).ok == 20


def test_an_output_that_is_a_file_is_refused(nights: Nights) -> None:
    Path(nights.output).write_text("no directory")
    with pytest.raises(Exception, match="is a file, not a directory"):
        nights.plan()
