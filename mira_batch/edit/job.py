"""The bulk edit as a job of the runner: what it reads, what names its work, and how its models are opened.

A method imports what it needs: a look at a run takes nothing of models, images and manifests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import ConfigError, RecordError
from mira_batch.core.identity import fingerprint, frame_of
from mira_batch.edit.promoted import check_promoted, find_adapter
from mira_batch.runtime.job import WorkerContext
from mira_batch.storage import schema
from mira_batch.storage.run.layout import read_edit_run
from mira_batch.storage.run.verify import RowCheck
from mira_batch.storage.source import Source
from mira_batch.storage.stores import Store, open_store

if TYPE_CHECKING:
    from mira_batch.edit.record import EditRunner


class EditJob:
    """Edits every record of a manifest by the loop of policy and editor."""

    plan_schema: pa.Schema = schema.PLAN
    result_schema: pa.Schema = schema.RESULTS

    def __init__(self, config: BulkEditConfig) -> None:
        adapter = find_adapter(config)
        if adapter is not None and adapter.is_open:  # its fingerprint would say nothing of the adapter
            raise ConfigError(
                "policy.adapter.promoted: is to be looked up first; make the job by "
                "mira_batch.launch.make_job"
            )
        self.config = config
        self._fingerprint = fingerprint(config.pixels())

    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Everything that changes what a record's result looks like."""
        return self.config.pixels()

    def settings(self) -> Mapping[str, Any]:
        """What a run can't change half-way: the manifest, what changes pixels, and the form of the rows."""
        output, rollouts = self.config.output, self.config.rollouts
        return {
            "input": self.config.input.model_dump(mode="json", exclude={"max_bytes", "max_pixels"}),
            "pixels": self.config.pixels(),
            "step_images": output.step_images,
            # No more than differs, so that runs of earlier releases go on:
            **({"rollouts": rollouts} if rollouts > 1 else {}),
            **({"tokens": True} if output.tokens else {}),
            **({"candidates": output.candidates} if output.candidates != "scores" else {}),
        }

    def check(self) -> None:
        """Refuse models that can't be built, an adapter that isn't what was promoted, and branches of what is
        no run."""
        from mira_batch.edit.preflight import check_models

        check_models(self.config)
        check_promoted(self.config)
        if (branches := self.config.input.branches) is not None:
            read_edit_run(open_store(branches, self.config.storage, make=False))

    def checks(self) -> list[tuple[str, Callable[[], str]]]:
        """Manifest, images, models and weights."""
        from mira_batch.edit.preflight import make_checks

        return make_checks(self.config)

    def find_source(self) -> Source:
        """The manifest."""
        from mira_batch.storage.manifest import find_manifest

        return find_manifest(self.config.input, self.config.storage, self.config.output.uri)

    def scan(self, split: Any) -> Iterator[pa.Table]:
        """Validated rows of a part of the manifest, with a work_id each."""
        from mira_batch.storage.manifest import scan_split

        return scan_split(split, self.config.input, self.config.storage, self._fingerprint)

    def find_pixel_digest(self, row: Mapping[str, Any]) -> str | None:
        """Digest of the input's pixels, as `core.identity.frame_of` gives it."""
        from mira_batch.storage.images import decode, read_image

        uri, source = row["image_uri"], self.config.input
        if uri is None:  # embedded: its version is the digest of its bytes already
            return None

        def use(data: bytes) -> str:
            return frame_of(decode(data, uri, source)).digest

        try:
            return read_image(uri, use, source, self.config.storage)
        except RecordError:  # its run will say why
            return None

    async def open(self, context: WorkerContext) -> EditRunner:
        """Load policy, editor and judge."""
        from mira_batch.edit.record import EditRunner
        from mira_batch.models.loader import load_models
        from mira_batch.models.serving import ROLES
        from mira_batch.storage.manifest import ManifestImages
        from mira_batch.storage.weights import fetch_weights

        config = self.config
        specs = {
            role: (model, config.limits.seconds_of(ROLES[role].limit))
            for role, model in config.models().items()
        }
        models = await load_models(
            specs,
            lambda place: fetch_weights(place, config.storage),
            config.limits.max_result_pixels,
            config.output.tokens,
        )
        images = ManifestImages(
            config.input,
            config.storage,
            self._fingerprint,
            context.readers,
            context.stop,
            config.limits.max_seconds_per_record,
        )
        return EditRunner(config, context, models, images)

    def check_row(self, store: Store, row: Mapping[str, Any]) -> RowCheck:
        """Images that decode, and steps that follow from each other."""
        from mira_batch.edit.verify import check_row

        return check_row(store, row, self.config.output)
