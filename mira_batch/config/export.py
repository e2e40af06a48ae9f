"""What an export is told: of what, to where, in which form."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from mira_batch.config.base import Location, Strict
from mira_batch.config.output import ImageOutput
from mira_batch.config.shared import StorageConfig, WorkersConfig

Form = Literal["folder", "webdataset", "hf", "csv", "iceberg", "delta", "lance"]
FORMS: tuple[str, ...] = get_args(Form)
WITH_IMAGES = ("folder", "webdataset", "hf")
"""Forms that hold images; the others say where these are."""
TABLES = ("iceberg", "delta", "lance")
"""Forms that are one table, committed as a whole; the others are files, each created once."""


class SigningConfig(Strict):
    """By what images are signed as they are handed over (C2PA; needs the extra `c2pa`)."""

    certificates: str = Field(min_length=1)
    """Path of the chain of certificates in PEM: the signer's own first, the root left out."""
    key: str = Field(min_length=1)
    """Path of the private key in PEM; or `env:NAME`, an environment variable that holds it; or
    `call:package.module:function`, which signs bytes elsewhere, as a key service does. It is read where
    images are written."""
    algorithm: Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] = "es256"
    """What the key is for."""


class ExportConfig(Strict):
    """All that an export depends on. `mira-batch export` makes it from its options; it is no config file."""

    source: Location
    """The directory of all runs, or of one of them."""
    one_run: bool = False
    """`source` is the directory of one run."""
    destination: str = Field(min_length=1)
    """A directory or URI; of iceberg the name of a table, with its namespace: `shop.edited`."""
    form: Form
    """What is made of the results."""
    where: str = "true"
    """Which records: a condition in SQL over the catalogue's columns."""
    approved_only: bool = False
    """Only results of which the newest decision is to approve."""
    decisions: Location | None = None
    """A file of decisions, beside those that lie with the runs."""
    signing: SigningConfig | None = None
    """folder, webdataset and hf: have each image signed, with its source as parent and its edits."""
    any_status: bool = False
    """Tables and csv: also rows that are not ok."""
    names: Literal["source", "record"] = "source"
    """Files are called as the source image was, or by their record_id."""
    root: Location | None = None
    """Of the names of sources, what stands before this directory is left out. None leaves out the one of
    `input.allow` that the source lies under."""
    format: Literal["keep", "source"] = "keep"
    """folder: images in the format of the results, or of their sources where that is png, jpeg or webp."""
    quality: int = Field(default=95, ge=1, le=100)
    """Of jpeg and webp that are encoded for `format: source`; 100 makes webp lossless."""
    background: str = "#ffffff"
    """What shows through transparent pixels where png or webp becomes jpeg."""
    shard_records: int = Field(default=128, ge=1, le=100_000)
    """Records in a file of webdataset and hf, which is held in memory while it is made."""
    mode: Literal["overwrite", "upsert"] = "overwrite"
    """Tables: replace the whole state, or update and insert by record_id and leave other rows alone."""
    catalog: str = "default"
    """Name of the Iceberg catalogue in pyiceberg's own configuration."""
    backend: Literal["ray", "inline"] = "ray"
    """Where files are written: tasks of Ray Data, if there are many, or this process."""
    ray_from: int = Field(default=2_000, ge=1)
    """With fewer records to write, this process does it in less time than Ray takes to start its tasks."""
    workers: WorkersConfig = WorkersConfig()
    """What a Ray of our own has to have room for."""
    storage: StorageConfig = StorageConfig()
    """How object stores are reached."""

    def encoding(self, format: Literal["png", "webp", "jpeg"]) -> ImageOutput:
        """How an image is encoded anew."""
        return ImageOutput(format=format, quality=self.quality, background=self.background)
