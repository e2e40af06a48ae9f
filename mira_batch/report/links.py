"""Where a record is to be seen: in the report of the run that made its result."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import MiraError
from mira_batch.storage.run.layout import REPORT
from mira_batch.storage.stores import open_store

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


class Reports:
    """The reports of runs: knows which records each shows."""

    def __init__(self, storage: StorageConfig) -> None:
        """`storage`: how the runs are reached."""
        self._storage = storage
        self._shown: dict[str, frozenset[str]] = {}

    def find(self, run: str | None, record: str) -> str:
        """The location of a record in its run's report; empty where that shows it not, or is not there.

        Args:
            run: the run's directory; None of an image that no run made.
            record: its id.
        """
        if run is None:
            return ""
        if run not in self._shown:
            self._shown[run] = self._read(run)
        return f"{run}/{REPORT}#{urlencode({'record': record})}" if record in self._shown[run] else ""

    def _read(self, run: str) -> frozenset[str]:
        try:
            data = open_store(run, self._storage, make=False).get(REPORT)
        except MiraError:
            return frozenset()
        found = _DATA.search((data or b"").decode("utf-8", "replace"))
        if found is None:
            return frozenset()
        try:
            rows: list[Mapping[str, str]] = json.loads(found[1])["records"]
            return frozenset(row["id"] for row in rows)
        except (ValueError, KeyError, TypeError):  # a page of another release, or somebody's own
            return frozenset()


def make_address(location: str) -> str:
    """A location as a browser's address bar takes it: of a local file its URI.

    Args:
        location: as `Reports.find` gives it.
    """
    if is_remote(location):
        return location
    path, _, place = location.rpartition("#")
    return f"file://{quote(path)}#{place}"


def link_from(page: str, location: str) -> str:
    """A link from a page to a location, relative to it, so that both may be moved together; empty where no
    link leads there.

    Args:
        page: the page's own location.
        location: as `Reports.find` gives it.
    """
    path, _, place = location.rpartition("#")
    if not path or _find_root(page) != _find_root(path):
        return ""
    here, there = (where.partition("://")[2] or where for where in (page, path))
    return f"{quote(posixpath.relpath(there, posixpath.dirname(here)))}#{place}"


def _find_root(location: str) -> str:
    """Scheme and bucket of a URI; of a local path nothing."""
    scheme, _, rest = location.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if is_remote(location) else ""
