"""One shard in a worker's hands: its records side by side, and the rows they end in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mira_batch.core.errors import EngineDead, JobError, StoreError, describe, job_boundary
from mira_batch.core.receipts import Receipt, Tally
from mira_batch.core.types import Status
from mira_batch.runtime.admission import Admission, gather_or_cancel
from mira_batch.runtime.attempts import AttemptLog, Session
from mira_batch.runtime.job import Job, PlanRow, RecordPostponed, RecordResult, RecordRunner, WorkerContext
from mira_batch.storage.run.steplog import ShardLog
from mira_batch.storage.stores import FetchStopped

Rows = list[Mapping[str, Any]]


class ShardRun:
    """Runs the records of one shard, each admitted in its turn."""

    def __init__(
        self,
        shard: int,
        rows: Sequence[PlanRow],
        job: Job,
        runner: RecordRunner,
        context: WorkerContext,
        admission: Admission,
        session: Session,
        end_record: Callable[[], None],
    ) -> None:
        """
        Args:
            shard: its number.
            rows: its rows of the plan.
            job: says what a row must have.
            runner: runs one record.
            context: the worker's.
            admission: bounds the records in flight of the whole worker.
            session: the call of the driver, and this process.
            end_record: called when a record has ended.
        """
        self.tally = Tally()
        """Its records that ended."""
        self._shard = shard
        self._rows = rows
        self._job = job
        self._runner = runner
        self._context = context
        self._admission = admission
        self._end_record = end_record
        self._steps = ShardLog(context.store, shard)
        self._attempts = AttemptLog(context.store, shard, session)

    def open(self) -> None:
        """Find what earlier attempts left: one LIST. Blocks."""
        self._attempts.open(self._steps.open())

    def leave(self) -> None:
        """Let go of it in order, uncommitted. Blocks. A store that fails just now is no further trouble."""
        with suppress(StoreError):
            self._attempts.leave()

    def let_go(self) -> None:
        """Say that the run is to end, while its records are still in hand: should the process be ended before
        they are, that is none of their doing. Blocks."""
        with suppress(StoreError):
            self._attempts.let_go()

    async def run(self) -> Rows | None:
        """The rows of all records in the plan's order; None when the run ends before the last did."""
        # Whoever is first in a process can't blame the others for what it lacks there.
        order = sorted(self._rows, key=lambda row: not self._attempts.is_suspect(row.work_id))
        rows = await gather_or_cancel([self._run_record(row) for row in order])
        if None in rows:
            return None
        made = {row.work_id: result for row, result in zip(order, rows, strict=True)}
        return [made[row.work_id] for row in self._rows]

    @property
    def receipt(self) -> Receipt:
        """What to tell the driver of it."""
        return Receipt(self._shard, self.tally, restarts=int(self._attempts.isolated))

    def delete_state(self) -> None:
        """Delete its step state, once it is committed. Blocks."""
        self._steps.delete()

    async def _run_record(self, row: PlanRow) -> Mapping[str, Any] | None:
        """One record to its result row; None when the run ends before."""
        isolated = self._attempts.isolated
        in_turn = not self._attempts.is_suspect(row.work_id)
        async with self._admission.enter((in_turn, self._shard), alone=isolated):
            if self._context.stop.asked:
                return None
            try:
                with job_boundary(self._name(row)):
                    result = await (self._run_alone(row) if isolated else self._runner.run(row, self._steps))
                    self._check(row, result)
            except EngineDead:
                # Before the place is given back: who took it would note a try that this process can't end,
                # and be blamed for its death.
                self._admission.close()
                raise
            except (RecordPostponed, FetchStopped):
                if self._context.stop.asked:
                    return None
                raise JobError(f"{self._name(row)}: was postponed, but the run is not ending") from None
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # The job's own. Passed on it would count as ours, and end the shard without a word.
                raise JobError(f"{self._name(row)}: {describe(error)}") from error
            finally:
                self._context.activity.leave(row.name)
            self.tally += result.tally
            self._end_record()
            return result.row

    def _check(self, row: PlanRow, result: RecordResult) -> None:
        """Refuse a result that would be committed as something else than it says.

        Raises:
            JobError: naming the columns or figures that are wrong.
        """
        columns = self._job.result_schema.names
        if result.row.keys() != set(columns):
            lacks = ", ".join(name for name in columns if name not in result.row)
            more = ", ".join(name for name in result.row if name not in columns)
            problem = f"lacks {lacks}" if lacks else f"has {more}, which result_schema has not"
            raise JobError(f"{self._name(row)}: its row {problem}")
        for name, planned in (("record_id", row.record_id), ("work_id", row.work_id)):
            if result.row[name] != planned:
                raise JobError(
                    f"{self._name(row)}: its row says {name} {result.row[name]!r}, not {planned!r}"
                )
        tally = result.tally
        counts = {Status.ok: tally.ok, Status.unfinished: tally.unfinished, Status.failed: tally.failed}
        if tally.records != 1 or sorted(counts.values()) != [0, 0, 1]:
            raise JobError(f"{self._name(row)}: its tally must count one record: ok, unfinished or failed")
        status, (counted,) = result.row.get("status"), (name for name, count in counts.items() if count)
        if status != counted:  # what is counted now is the one, what all later runs go by the other
            raise JobError(f"{self._name(row)}: its row says status {status!r}, its tally {str(counted)!r}")

    def _name(self, row: PlanRow) -> str:
        return f"job {self._job.config.job}: record {row.name!r}"

    async def _run_alone(self, row: PlanRow) -> RecordResult:
        """A record of a shard whose worker died, alone in the process, the attempt noted first."""
        work, step = row.work_id, self._steps.count(row.work_id)
        verdict = await asyncio.to_thread(self._attempts.find_verdict, work, step)
        if verdict is not None and not verdict.readable:
            return await self._runner.fail(replace(row, readable=False), self._steps, verdict.failure)
        number = await asyncio.to_thread(self._attempts.begin, work, step, verdict is not None)
        try:
            if verdict is not None:
                result = await self._runner.fail(row, self._steps, verdict.failure)
            else:
                result = await self._runner.run(row, self._steps)
        except EngineDead as error:
            await asyncio.to_thread(self._attempts.explain, work, number, error)
            raise
        except (
            Exception,
            asyncio.CancelledError,
        ):  # the run ends: by what this job or the store says, or in order
            with suppress(StoreError):
                await asyncio.to_thread(self._attempts.withdraw, work, number)
            raise
        await asyncio.to_thread(self._attempts.end, work, number)
        return result
