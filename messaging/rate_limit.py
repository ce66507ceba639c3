"""A limit on how many records a second a worker takes, so that a rebuild leaves room for the live line."""


class RateLimit:
    """At most `rate` records a second on average; 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = 0.0

    def most(self, records: int) -> int:
        """The largest batch: of `records`, what a second may bring."""
        return min(records, max(1, int(self._rate))) if self._rate else records

    def pause(self, records: int, now: float) -> float:
        """How many seconds to rest after `records` were taken by `now` (seconds of any clock that never goes back)."""
        if not self._rate:
            return 0.0
        self._free_at = max(self._free_at, now - 1) + records / self._rate
        return max(0.0, self._free_at - now)
