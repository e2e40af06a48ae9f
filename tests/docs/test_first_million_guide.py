"""The guide to the first million images, command by command, over a folder of 140 images."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import pytest
import yaml
from PIL import Image

from mira_batch import load_config, read_catalogue, run
from mira_batch.config.edit import BulkEditConfig
from mira_batch.launch import make_job
from mira_batch.runtime.run import plan
from tests.docs.blocks import blocks, commands
from tests.docs.guides import Terminal, read_figure, read_words, shell, write_files
from tests.support.runs.catalogue import SAMPLE, make_catalogue, settings
from tests.support.servers.s3 import S3Server

GUIDE = "docs/first-million.md"
IMAGES = 140


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """What the guide begins with: a folder of images. One is damaged, and the trial has it."""
    folder = tmp_path / "catalogue" / "shoes"
    folder.mkdir(parents=True)
    for path in sorted((SAMPLE / "images").iterdir())[:2]:
        with Image.open(path) as image:
            image.thumbnail((48, 48))
            image.convert("RGB").save(tmp_path / f"{path.stem}.png")
    small = sorted(tmp_path.glob("*.png"))
    for i in range(IMAGES):
        shutil.copy(small[i % 2], folder / f"{i:04d}.png")
    (tmp_path / "catalogue" / "readme.txt").write_text("no image")
    write_files(GUIDE, tmp_path)
    return tmp_path


def read_rows(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_guide_to_the_first_million(workplace: Path, terminal: Terminal) -> None:
    printed: dict[str, str] = {}
    done: list[str] = []
    for line in commands(GUIDE):
        done.append(line)
        # It has no config that could name the backend.
        inline = " --set backend=inline" if line.startswith("mira-batch inspect") else ""
        printed[line] = terminal(f"{line}{inline}", workplace)
        if line.startswith("python make_manifest.py"):
            assert printed[line] == f"{IMAGES} images, 100 of them in the trial\n"
            trial = [row["record_id"] for row in read_rows(workplace / "catalogue" / "trial.jsonl")]
            (workplace / "catalogue" / trial[50]).write_bytes(b"no image at all")
        if "--assume" in line:
            check_the_plans(*[printed[line] for line in done[-2:]])
    assert len(done) == 13
    trial_run = next(text for line, text in printed.items() if "trial.jsonl --profile" in line)
    assert "100 of 100 committed" in trial_run and "image_unreadable 1" in trial_run
    exported = printed["mira-batch export files --as folder --catalogue edited"]
    check_the_results(workplace, printed["python count.py"], exported)


def check_the_plans(by_trial: str, assumed: str) -> None:
    """What the trial has made well is left out; the estimate follows from it, or from what is assumed."""
    for text in (by_trial, assumed):
        assert re.search(r"^ *40 +new ", text, re.MULTILINE) and re.search(r"^ *1 +failed before", text, re.M)
        assert re.search(r"^ *99 +unchanged", text, re.MULTILINE)
    assert "(by 1 run of these models)" in by_trial and "$0.00" in by_trial
    hours = 41 * 2.4 * 5 / 3600
    dollars, alone = f"${hours * 2.5:.2f}", f"{hours:.2f} hours on 1 worker"
    assert f"about 98 edits, {hours:.2f} worker hours, {dollars}, {alone}" in assumed


def check_the_results(folder: Path, counted: str, exported: str) -> None:
    assert f"'record_id_count': {IMAGES - 1}" in counted and "'status': 'failed'" in counted
    assert f"{IMAGES - 1} of {IMAGES} records exported" in exported
    table = read_catalogue(str(folder / "edited"), ["record_id", "status", "image"])
    good = [row for row in table.to_pylist() if row["status"] == "ok"]
    for row in good:
        assert (folder / "files" / row["record_id"]).read_bytes() == row["image"]["bytes"]
    (statement,) = (block.text for block in blocks(GUIDE) if block.language == "sql")
    with duckdb.connect() as connection:
        rows = connection.execute(statement.replace("'edited/", f"'{folder}/edited/")).fetchall()
    by_run: Counter[str] = Counter()
    for name, _, _, records in rows:
        by_run[name.partition("-")[0]] += records
    # The damaged image is a row of the trial, of the run over all, and of the retry.
    assert by_run["trial"] == 100 and by_run.total() == IMAGES + 2
    assert {(status, why) for _, status, why, _ in rows} == {
        ("ok", "policy_stop"),
        ("failed", "image_unreadable"),
    }


def test_a_trial_afterwards_takes_nothing_away(tmp_path: Path) -> None:
    """As the guide says of a smaller manifest over a whole catalogue."""
    whole = make_catalogue(tmp_path / "catalogue", 12)
    trial = whole.with_name("trial.jsonl")
    trial.write_text("".join(whole.read_text().splitlines(keepends=True)[:5]))
    config = load_config(settings(whole, tmp_path / "out"))
    smaller = load_config(settings(trial, tmp_path / "out"))
    assert run(config).ok == 12
    assert count_causes(smaller) == {"unchanged": 5}
    run(smaller)
    assert count_causes(config) == {"unchanged": 12}
    assert read_catalogue(str(tmp_path / "out"), ["status"])["status"].to_pylist() == ["ok"] * 12


def count_causes(config: BulkEditConfig) -> dict[str, int]:
    return {name: cause.records for name, cause in plan(make_job(config)).causes.items() if cause.records}


def test_the_cluster_config_is_valid() -> None:
    (shown,) = (b.text for b in blocks(GUIDE) if b.text.startswith("# cluster.yaml"))
    config = load_config(yaml.safe_load(shown))
    assert (config.workers.most, config.limits.max_cost, config.prices.gpu_hour) == (64, 9000, 2.5)


@pytest.mark.s3
def test_a_bucket_is_listed_alike(workplace: Path, s3: S3Server) -> None:
    client = s3.client()
    for i in range(3):
        client.put_object(Bucket=s3.bucket, Key=f"first-million/a/{i}.JPG", Body=b"jpeg")
    client.put_object(Bucket=s3.bucket, Key="first-million/notes.txt", Body=b"text")
    where = f"s3://{s3.bucket}/first-million"
    environment = s3.environment | {"AWS_ENDPOINT_URL": s3.endpoint}
    assert "3 images" in shell(f'python make_manifest.py {where} "mirror it"', workplace, **environment)
    manifest = client.get_object(Bucket=s3.bucket, Key="first-million/manifest.jsonl")["Body"].read()
    rows = [json.loads(line) for line in manifest.splitlines()]
    assert [row["image"] for row in rows] == ["a/0.JPG", "a/1.JPG", "a/2.JPG"]
    assert {row["instruction"] for row in rows} == {"mirror it"}


def test_planning_takes_what_the_benchmarks_say() -> None:
    assert "less than half a minute on two cores, in less than half a gigabyte" in read_words(GUIDE)
    assert 15 <= read_figure("plan_1m_seconds") <= 29 and 300 <= read_figure("plan_1m_driver_mb") <= 500
