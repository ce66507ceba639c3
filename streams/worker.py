"""Run Faust's application with the processor and the catalog's reader, and stop all of it when a part fails."""

import asyncio
import logging
import os
import signal
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from messaging import clients
from messaging.dead_letters import DeadLetters
from messaging.decoding import Decoding
from messaging.delivery import ConfirmedProducer
from messaging.offsets import OffsetGone
from messaging.rate_limit import RateLimit
from messaging.registry import Registry
from schemas.errors import HeadraceError, Unavailable
from streams import metrics
from streams.catalog import Catalog
from streams.catalog_reader import CatalogReader
from streams.faust_consumer import BatchApp, NoTables, RecordBatch
from streams.processor import Processor, SpillLimits
from streams.serializer import serializer
from streams.start_offsets import Topics
from streams.wiring import Wiring

_LOG = logging.getLogger("headrace.enrich")
_NAME = "enrich"
_SEE = "see docs/runbook.md#enrichment-stopped"
_DELIVER_S = 60.0  # for which librdkafka retries a record, before the worker stops without an ack


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrichmentLimits:
    """Limits of the worker; times are in seconds.

    Attributes:
        start: The longest time until the catalog is read and partitions are assigned.
        stalled: The longest time without progress of the event loop.
        session: The time after which Kafka reassigns a dead worker's partitions.
        patience: The time for which requests to the schema registry are retried.
        commit: The time between two commits.
        resolve: The time between two checks of waiting lines.
        compare: The time between two comparisons of the topics' ids.
        stop: The longest time for a graceful stop.
        batch: The highest number of records of a fetch.
        rate: The highest number of records a second; 0 means no limit.
        spill: The limits of undecided lines that block acks.
    """

    start: float = 120.0
    stalled: float = 90.0
    session: float = 10.0
    patience: float = 20.0
    commit: float = 0.5
    resolve: float = 0.1
    compare: float = 5.0
    stop: float = 30.0
    batch: int = 2_000
    rate: float = 0
    spill: SpillLimits = field(default_factory=SpillLimits)


class EnrichmentWorker:
    """One enrichment worker, for one event loop."""

    def __init__(
        self, wiring: Wiring, app: BatchApp, limits: EnrichmentLimits, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._wiring = wiring
        self._app = app
        self._limits = limits
        self._loop = loop
        self._topics = Topics(wiring.bootstrap, (wiring.lines, wiring.catalog, wiring.pending))
        app.starts = partial(self._topics.starts, wiring.lines, wiring.pending)
        self._producer = clients.producer(wiring.bootstrap, delivery_timeout_ms=int(_DELIVER_S * 1000))
        self.catalog = Catalog()
        self._reader = CatalogReader(
            self.catalog,
            wiring,
            Registry(wiring.registry_url, patience=limits.patience),
            lambda: DeadLetters(clients.producer(wiring.bootstrap), _NAME, topic=wiring.dead_letters),
        )
        registry = Registry(wiring.registry_url, patience=limits.patience)
        self.processor = Processor(
            wiring=wiring,
            catalog=self.catalog,
            decoding=Decoding(registry, [wiring.table]),
            serialize=serializer(wiring.table, registry, wiring.enriched),
            producer=ConfirmedProducer(self._producer, patience=_DELIVER_S + 10, hint=f"; {_SEE}"),
            dead_letters=DeadLetters(self._producer, _NAME, topic=wiring.dead_letters),
            spill=limits.spill,
            lines_id=self._topics.ids[wiring.lines],
        )
        self._failed: asyncio.Future[None] = loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_turn_at = time.monotonic()

    async def run(self) -> None:
        """Run until a signal, or raise the failure that ended the worker."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, stop.set)
        self._reader.start()
        if await self._until(stop, self._catalog_read()):
            self._connect_streams()
            self._spawn(self._start())
            self._spawn(self._resolve())
            self._spawn(self._commit())
            self._spawn(self._watch())
            self._spawn(self._compare())
            await self._until(stop, asyncio.Event().wait())
        await self._stop()
        if self._failed.done():
            self._failed.result()

    def alive(self) -> str | None:
        """Return None while the loop makes progress, otherwise what is wrong."""
        still = time.monotonic() - self._last_turn_at
        return f"the worker's loop has not turned for {still:.0f} s" if still > self._limits.stalled else None

    def ready(self) -> str | None:
        """Return None while lines are processed, otherwise what is missing."""
        if not self._reader.loaded.is_set():
            return "the catalog has not been read to its end"
        if not self.processor.loaded:
            return "no partitions are assigned"
        return self.alive()

    async def _catalog_read(self) -> None:
        while not self._reader.loaded.is_set():
            self._last_turn_at = time.monotonic()
            await self._check(self._reader.failure)
            if self._last_turn_at - self._reader.progress_at > self._limits.start:
                raise Unavailable(f"{self._wiring.catalog} has brought nothing for {self._limits.start:.0f} s")
            await asyncio.sleep(0.05)
        _LOG.info("catalog read: %d entries", self.catalog.entries)
        self.catalog.arrived.clear()

    def _connect_streams(self) -> None:
        app, processor, throttle = self._app, self.processor, RateLimit(self._limits.rate)

        async def enrich(stream: Any) -> None:
            # noack: nothing is acked by Faust, whatever happens here.
            async for event in stream.noack().events():
                batch: RecordBatch = event.value
                try:
                    await processor.process(batch.assignment, batch.partition, batch.records)
                    await asyncio.sleep(throttle.pause(len(batch.records), time.monotonic()))
                except Exception as error:
                    self._fail(error)
                    # Process nothing more. If the error were raised here, Faust would log it again.
                    await asyncio.Event().wait()

        async def assigned(_sender: Any, /, *arguments: Any, **_: Any) -> None:
            numbers = sorted(tp.partition for tp in arguments[0])
            app.assignment += 1
            processor.assign(app.assignment, numbers)
            _LOG.info("assigned partitions %s", numbers)
            self._spawn(processor.load())

        async def revoked(_sender: Any, /, *_arguments: Any, **_: Any) -> None:
            await self._commit_now(await processor.revoke())

        app.agent(app.topic(self._wiring.lines), concurrency=1)(enrich)
        app.on_partitions_assigned.connect(assigned, weak=False)
        app.on_partitions_revoked.connect(revoked, weak=False)

    async def _start(self) -> None:
        self._app.finalize()
        await self._app.start()

    async def _resolve(self) -> None:
        while True:
            await asyncio.sleep(self._limits.resolve)
            await self.processor.resolve_pending()
            self._measure()

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(self._limits.commit)
            await self._commit_now(self.processor.committable())

    async def _commit_now(self, offsets: dict[int, int]) -> None:
        assignment = self.processor.generation
        if not offsets:
            return
        consumer: Any = self._app.consumer
        beside = self._topics.ids[self._wiring.pending]
        if (
            await consumer.commit_offsets(self._wiring.lines, offsets, beside)
            and assignment == self.processor.generation
        ):
            self.processor.committed(offsets)

    async def _watch(self) -> None:
        started = time.monotonic()
        consumer: Any = self._app.consumer
        while True:
            self._last_turn_at = time.monotonic()
            await self._check(self._reader.failure or consumer.failure)
            if self._app.crashed:
                raise HeadraceError(f"the consumer failed: {self._app.crash_reason!r}; {_SEE}")
            if (reason := consumer.stall_reason(self._limits.stalled)) is not None:
                raise Unavailable(f"{reason}, while Faust counts as running; {_SEE}")
            if not self.processor.loaded and self._last_turn_at - started > self._limits.start:
                seconds = f"{self._limits.start:.0f} s"
                raise Unavailable(
                    f"no partitions of {self._wiring.lines} were assigned within {seconds} of the start; {_SEE}"
                )
            await asyncio.sleep(0.2)

    async def _check(self, failure: HeadraceError | None) -> None:
        if isinstance(failure, OffsetGone):
            # Offsets of a replaced topic are out of range as well.
            await asyncio.to_thread(self._topics.check)
        if failure is not None:
            raise failure

    async def _compare(self) -> None:
        while True:
            await asyncio.sleep(self._limits.compare)
            await asyncio.to_thread(self._topics.check)

    def _measure(self) -> None:
        metrics.CATALOG_ENTRIES.set(self.catalog.entries)
        metrics.WATERMARK.set(self.catalog.watermark / 1e6)
        for number, partition in self.processor.partitions.items():
            metrics.HELD.labels(number).set(partition.undecided.unacked)
            metrics.PENDING.labels(number).set(len(partition.undecided))
        consumer: Any = self._app.consumer
        done = {number: partition.done for number, partition in self.processor.partitions.items()}
        for number, lag in consumer.lags(self._wiring.lines, done).items():
            metrics.LAG.labels(number).set(lag)

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failed.done():
            return
        if not isinstance(error, HeadraceError):
            _LOG.error("enrichment failed unexpectedly", exc_info=error)
            error = HeadraceError(f"enrichment failed: {type(error).__name__} {error}")
        self._failed.set_exception(error)

    async def _until(self, stop: asyncio.Event, work: Any) -> bool:
        """Return whether `work` finished, rather than a signal or a failure ending it."""
        working, stopping = self._loop.create_task(work), self._loop.create_task(stop.wait())
        await asyncio.wait({working, stopping, self._failed}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done():
            working.cancel()
            return False
        if (error := working.exception()) is not None:
            self._fail(error)
            return False
        return not self._failed.done()

    async def _stop(self) -> None:
        """Finish and commit the current batch, unless the worker has failed."""
        try:
            async with asyncio.timeout(self._limits.stop):
                if not self._failed.done() and self._app.started:
                    await self._commit_now(await self.processor.revoke())
                for task in list(self._tasks):
                    task.cancel()
                if self._app.started:
                    await self._app.stop()
        except TimeoutError:
            failure = self._failed.exception() if self._failed.done() else None
            reason = failure or "stopping took too long"
            _LOG.error("enrichment ends at once, what is unfinished stays unacked: %s", reason)
            # Faust's consumer thread would keep the interpreter from ending.
            os._exit(failure.exit_code if isinstance(failure, HeadraceError) else HeadraceError.exit_code)
        finally:
            await asyncio.to_thread(self._reader.stop)


def faust_app(wiring: Wiring, group: str, limits: EnrichmentLimits, folder: Path) -> BatchApp:
    """Create Faust's application without its features that lose data or write files: it acks and declares nothing."""
    return BatchApp(
        group,
        broker=f"kafka://{wiring.bootstrap}",
        datadir=str(folder / group),
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        reply_create_topic=False,
        agent_supervisor="mode.CrashingSupervisor",
        TableManager=NoTables,
        consumer_auto_offset_reset="none",
        broker_max_poll_records=RateLimit(limits.rate).most(limits.batch),
        broker_session_timeout=limits.session,
        broker_heartbeat_interval=limits.session / 3,
        stream_buffer_maxsize=4,
        stream_wait_empty=False,
        key_serializer="raw",
        value_serializer="raw",
    )
