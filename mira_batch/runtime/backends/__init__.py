"""Where workers run: in an actor pool on Ray, or in this process. `ray.py` and its neighbours are the only
importers of ray, and are imported only when a run asks for that backend."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # Ray's processes import this package for one module of it
    import pyarrow as pa

    from mira_batch.config.shared import WorkersConfig
    from mira_batch.core.receipts import Progress
    from mira_batch.runtime.pool import Assignment, Pool
    from mira_batch.runtime.scan import ReadPart, W


class Backend(Protocol):
    """Runs tasks of a plan and workers of a pool."""

    def start(self, workers: WorkersConfig) -> AbstractContextManager[None]:
        """Be ready for `scan` and `open_pool` inside.

        Raises:
            ConfigError: it can't be reached, or can never hold the smallest pool.
        """
        ...

    def read(
        self,
        job: W,
        parts: Sequence[Any],
        read_part: ReadPart[W],
        fields: pa.Schema,
        look: Callable[[], None],
    ) -> Iterator[pa.Table]:
        """The tables that `read_part` makes of each part, in the order of the parts.

        Args:
            job: the job, or other work that is made of its config alone.
            parts: what pickles: splits of what the job reads, say.
            read_part: given the job and a part, on any worker.
            fields: schema of the tables.
            look: called now and then; what it raises ends the reading.

        Raises:
            ManifestError: one can't be read to its end.
            ClusterLost: what it runs on died.
        """
        ...

    def make_metrics(self, run: str) -> Progress:
        """Who exports the figures of a run of this name, once the backend has started; nobody, where there is
        nobody to export them to."""
        ...

    def open_pool(self, work: Assignment) -> AbstractContextManager[Pool]:
        """Workers at work; they are ended on leaving.

        Raises:
            UserError: the job can't be opened as configured.
            ClusterLost: raised by the pool: what it runs on died.
        """
        ...


class TrainFunction(Protocol):
    """What each worker runs: a function of a module, which is sent by its name."""

    def __call__(self, settings: Mapping[str, Any], note: Callable[[str], None]) -> dict[str, Any]:
        """Train.

        Args:
            settings: plain JSON data.
            note: told how it goes, for people.
        """
        ...


def make_backend(name: str) -> Backend:
    """The backend that a config names: ray or inline."""
    if name == "ray":
        from mira_batch.runtime.backends.ray import RayBackend

        return RayBackend()
    from mira_batch.runtime.backends.inline import InlineBackend

    return InlineBackend()


# Ray reads this when it is imported. It keeps a Ray of our own on the loopback interface, where nobody
# else on the network can reach it; on a cluster (RAY_ADDRESS is set there) nodes must see each other.
if "RAY_ADDRESS" not in os.environ:
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
