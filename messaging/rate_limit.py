"""Limit the records a second that a worker reads, so that a rebuild leaves capacity to the live pipeline."""


class RateLimit:
    """At most `rate` records a second on average; 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = 0.0

    def most(self, records: int) -> int:
        """Return the largest batch: at most `records`, and at most the records of one second."""
        return min(records, max(1, int(self._rate))) if self._rate else records

    def pause(self, records: int, now: float) -> float:
        """Return the seconds to pause after `records` were read by `now` (seconds of any monotonic clock)."""
        if not self._rate:
            return 0.0
        self._free_at = max(self._free_at, now - 1) + records / self._rate
        return max(0.0, self._free_at - now)
