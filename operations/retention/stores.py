"""The stores that retention works on. operations/retention/run.py opens them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from messaging.decoding import Decoding
from operations.retention.policy import Policy
from operations.retention.proof import ArchiveProof
from operations.retention.source import OltpRetention
from sinks.archive.files import Codec
from sinks.archive.log import Log
from sinks.reporting.retention import RetentionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The stores, the archive, and the policy and time that define what is expired.

    `held` are the tenants under a legal hold, whose rows are kept; with `dry` nothing is deleted at all. `generations`
    are the generations of reporting that workers feed. `barrier` returns when everything committed so far has landed in
    the live generation. `landed` returns, by (topic, partition), the first offset that at least one of `generations`
    has not landed.
    """

    oltp: OltpRetention
    reporting: Sequence[RetentionStore]
    generations: Sequence[int]
    log: Log
    bootstrap: str
    decoding: Decoding
    barrier: Callable[[], object]
    landed: Callable[[], Mapping[tuple[str, int], int]]
    spool: Path
    codec: Codec
    policy: Policy
    held: frozenset[str]
    now: datetime
    dry: bool

    @property
    def proof(self) -> ArchiveProof:
        """A proof of the archive's present content."""
        return ArchiveProof(self.log)

    def before(self, part: str) -> datetime:
        """Return the midnight (UTC) before which data of a part of the policy is expired."""
        day = self.policy.age(part).before(self.now.date())
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
