"""aiokafka says ten times a second that a broker is away: once in a while is enough."""

import logging
import time

_LOGGERS = ("aiokafka", "aiokafka.conn", "aiokafka.cluster", "aiokafka.consumer.group_coordinator")
_SECONDS = 30.0


class RateLimitedFilter(logging.Filter):
    """Lets each kind of message through once in `seconds`."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._logged_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the message may be logged again; `record.msg` is the message before its arguments."""
        kind, now = str(record.msg), time.monotonic()
        if now - self._logged_at.get(kind, -self._seconds) < self._seconds:
            return False
        self._logged_at[kind] = now
        return True


def limit_aiokafka_logs() -> None:
    """Add the filter to aiokafka's loggers. A second call changes nothing."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, RateLimitedFilter) for each in logger.filters):
            logger.addFilter(RateLimitedFilter())
