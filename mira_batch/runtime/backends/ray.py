"""The Ray backend: reads a plan's splits by Ray Data, and has shards run by a pool of actors."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa

from mira_batch.config.shared import WorkersConfig
from mira_batch.core.errors import ClusterLost, JobError, UserError
from mira_batch.core.receipts import Progress
from mira_batch.runtime.backends.actors import PackedJob
from mira_batch.runtime.backends.board import Board
from mira_batch.runtime.backends.cluster import notes, ray_session
from mira_batch.runtime.backends.errors import pack_error, unpack_error
from mira_batch.runtime.backends.handing import ShardHands
from mira_batch.runtime.backends.listener import Listener, find_patience
from mira_batch.runtime.backends.metrics import RayMetrics
from mira_batch.runtime.backends.nodes import stay_here
from mira_batch.runtime.backends.session import HeldRay, explain
from mira_batch.runtime.pool import Assignment, Pool
from mira_batch.runtime.scan import ReadPart, W

_ERROR = pa.field("error", pa.string())


class RayBackend:
    """Actors on the cluster there is or on a Ray of our own on this machine."""

    _held: HeldRay
    """Set while started."""

    @contextmanager
    def start(self, workers: WorkersConfig) -> Iterator[None]:
        """Connect to Ray, or start one; nothing, where that is done."""
        if hasattr(self, "_held"):
            yield
            return
        with ray_session(workers) as self._held:
            yield
        del self._held

    def read(
        self,
        job: W,
        parts: Sequence[Any],
        read_part: ReadPart[W],
        fields: pa.Schema,
        look: Callable[[], None],
    ) -> Iterator[pa.Table]:
        """Parts side by side, their tables in order (the first of two duplicates must be the first).

        Args:
            job, parts, read_part, fields, look: as of `Backend.read`.

        Raises:
            UserError: what `read_part` raised.
            ClusterLost: Ray died.
        """
        from mira_batch.runtime.backends.reading import read_parts

        packed, whole = PackedJob.pack(job), fields.append(_ERROR)

        def scan(batch: pa.Table) -> Iterator[pa.Table]:
            part = pickle.loads(batch["part"][0].as_py())
            try:
                for table in read_part(packed.unpack(), part):
                    yield table.append_column(_ERROR, pa.nulls(table.num_rows, pa.string()))
            except (UserError, JobError) as error:  # as data: of a raised one Ray hands over only text
                yield pa.Table.from_pylist([{_ERROR.name: json.dumps(pack_error(error))}], schema=whole)

        for table in read_parts([pickle.dumps(part) for part in parts], scan, self._held, look):
            for text in table[_ERROR.name].drop_null().to_pylist():
                raise unpack_error(json.loads(text))
            yield table.drop_columns(_ERROR.name)

    def make_metrics(self, run: str) -> Progress:
        """Through Ray's own metrics."""
        return RayMetrics(run)

    @contextmanager
    def open_pool(self, work: Assignment) -> Iterator[Pool]:
        """A pool of actors on the Ray that this process is connected to."""
        pool, held = Pool(), self._held
        held.on_lost = lambda: pool.answers.put(ClusterLost(held.lost))
        board: Any = Board.options(scheduling_strategy=stay_here()).remote()
        hands = ShardHands(work, board, pool, partial(explain, held, doing="go on with the pool"))
        closed = threading.Event()
        patience = find_patience(work.job.config.limits.longest_call)
        listener = Listener(board, pool, work.note, patience)
        listening = threading.Thread(target=listener.listen, args=(closed,), name="board", daemon=True)
        hands.start()
        listening.start()
        try:
            yield pool
        finally:
            closed.set()
            notes.disabled = notes.disabled or not pool.ended
            hands.close(lost=bool(held.lost))
            if not held.lost:
                listening.join(timeout=6)  # it may wait for an answer, for 5 s
