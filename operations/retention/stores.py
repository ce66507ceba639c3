"""What retention works on, opened by operations/retention/run.py."""

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
    """The hot stores, the archive, and the moment and policy by which things are too old. `held` are tenants of whom
    nothing is deleted; with `dry` nothing is deleted at all. `barrier` returns when everything committed has landed in
    the live generation; `landed` tells the first offset of each (topic, partition) that one of `generations`, those
    that are fed, has not landed.
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
        """The archive as it is now."""
        return ArchiveProof(self.log)

    def before(self, part: str) -> datetime:
        """The midnight (UTC) before which a part of the policy is too old."""
        day = self.policy.age(part).before(self.now.date())
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
