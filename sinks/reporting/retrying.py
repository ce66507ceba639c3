"""Retry a reporting database's transient errors, such as deadlocks, timeouts and lost connections."""

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from sinks.reporting import metrics
from sinks.reporting.port import Reporting, Transient

_LOG = structlog.get_logger("sink")


class RetryingReporting:
    """`Reporting` (port.py) over another one. Retry transient errors for up to `patience` seconds, then raise them.

    A retry is safe, because every call is idempotent.
    """

    def __init__(self, reporting: Reporting, patience: float) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type(Transient),
            wait=wait_random_exponential(multiplier=0.1, max=5.0),
            stop=stop_after_delay(patience),
            before_sleep=_report_retry,
            reraise=True,
        )
        self.claim = retrying.wraps(reporting.claim)
        self.checkpoint = retrying.wraps(reporting.checkpoint)
        self.land = retrying.wraps(reporting.land)
        self.position_of = retrying.wraps(reporting.position_of)
        self.epochs = retrying.wraps(reporting.epochs)
        self.close = reporting.close


def _report_retry(state: RetryCallState) -> None:
    metrics.RETRIES.inc()
    error = state.outcome.exception() if state.outcome else None
    _LOG.warning("retrying", attempt=state.attempt_number, error=str(error))
