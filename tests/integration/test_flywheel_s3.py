"""A turn of the flywheel whose catalogue, samples, training and promotions are all in an object store."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from mira_batch import launch, load_config, read_outputs
from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.config.load import load_own_config
from mira_batch.storage.promotions import read_promotion
from mira_batch.storage.stores import open_store
from mira_batch.train.flywheel.lineage import trace
from mira_batch.train.flywheel.run import look, turn
from mira_batch.train.world.manifest import write_manifest
from mira_batch.train.world.tasks import generate_tasks
from tests.support.models import taught
from tests.support.runs.wheel import night, show_night, wheel_settings
from tests.support.servers.s3 import S3Server

pytestmark = [pytest.mark.s3, pytest.mark.soak, pytest.mark.usefixtures("one_thread")]


def test_a_turn_in_an_object_store(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    prefix = secrets.token_hex(4)
    place, storage = f"s3://{s3.bucket}/{prefix}", {"endpoint_url": s3.endpoint}
    taught.write_taught(tmp_path / "base")
    s3.upload(tmp_path / "base", f"{prefix}/base")
    write_manifest(tmp_path / "manifests/train.parquet", generate_tasks("train", 8))
    write_manifest(tmp_path / "manifests/heldout.parquet", generate_tasks("val", 7))
    s3.upload(tmp_path / "manifests", f"{prefix}/manifests")
    show_night(f"{place}/manifests/train.parquet", f"{place}/nights", storage=storage)
    given = wheel_settings(tmp_path, output={"uri": f"{place}/wheel"}, promoted=f"{place}/promoted")
    given["samples"]["sources"] = [{"type": "runs", "uri": f"{place}/nights"}]
    given["train"]["model"]["weights"] = f"{place}/base"
    given["edit"]["input"] = {"manifest": f"{place}/manifests/heldout.parquet"}
    config = load_own_config(FlywheelConfig, given | {"storage": storage})
    assert turn(config, print)["outcome"] == "promoted"
    assert turn(config, print)["outcome"] == "nothing new"
    assert [each["result"]["outcome"] for each in look(config)["turns"]] == ["promoted", "nothing new"]
    promotion = read_promotion(open_store(f"{place}/promoted", config.storage))
    assert promotion is not None and promotion.adapter == f"{place}/wheel/turns/000001/trained/adapter"
    found = trace(f"{place}/promoted", config.storage)
    assert len(found["records"]) == 8 and {row["run"] for row in found["records"]} == {"night"}
    taken = night(tmp_path, storage=storage, **{"input": {"manifest": f"{place}/manifests/heldout.parquet"}})
    given = taken.model_dump(mode="json", exclude_unset=True)
    given["output"]["uri"] = f"{place}/taken"
    given["policy"] |= {"weights": f"{place}/base", "adapter": {"promoted": f"{place}/promoted"}}
    summary = launch.run(load_config(given))
    assert summary.committed == 3
    assert read_outputs(summary.run, ["record_id"], storage=config.storage).num_rows == 3
