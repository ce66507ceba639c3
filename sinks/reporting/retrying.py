"""Reporting that does not give up at the first deadlock: every call is tried again while its error is Transient."""

from collections.abc import Callable
from typing import TypeVar

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from schemas.change import Key
from schemas.position import Position
from schemas.tables import Table
from sinks.reporting import metrics
from sinks.reporting.port import Batch, Checkpoint, Landed, Partition, Reporting, Transient

_LOG = structlog.get_logger("sink")
_T = TypeVar("_T")


class RetryingReporting:
    """`sinks.reporting.port.Reporting` over another one; Transient comes out only after `patience` seconds of tries."""

    def __init__(self, reporting: Reporting, patience: float) -> None:
        self._reporting = reporting
        self._retrying = Retrying(
            retry=retry_if_exception_type(Transient),
            wait=wait_random_exponential(multiplier=0.1, max=5.0),
            stop=stop_after_delay(patience),
            before_sleep=_tell,
            reraise=True,
        )

    def claim(self, partition: Partition, topic_id: str, beginning: int) -> Checkpoint:
        return self._retry(lambda: self._reporting.claim(partition, topic_id, beginning))

    def checkpoint(self, partition: Partition) -> Checkpoint | None:
        return self._retry(lambda: self._reporting.checkpoint(partition))

    def land(self, batch: Batch) -> Landed:
        return self._retry(lambda: self._reporting.land(batch))

    def position_of(self, table: Table, key: Key) -> Position | None:
        return self._retry(lambda: self._reporting.position_of(table, key))

    def epochs(self) -> frozenset[int]:
        return self._retry(self._reporting.epochs)

    def close(self) -> None:
        self._reporting.close()

    def _retry(self, call: Callable[[], _T]) -> _T:
        return self._retrying(call)


def _tell(state: RetryCallState) -> None:
    metrics.RETRIES.inc()
    error = state.outcome.exception() if state.outcome else None
    _LOG.warning("trying again", attempt=state.attempt_number, error=str(error))
