"""The present state of Kafka, Postgres and Connect, as far as a plan compares it with the declared one. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.pipeline import Config

RUNNING, STOPPED, PAUSED, FAILED, UNASSIGNED = "RUNNING", "STOPPED", "PAUSED", "FAILED", "UNASSIGNED"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTopic:
    """The present state of a topic: its partitions, the values of its settings, and its replicas.

    `replicas` is that of the partition with the fewest.
    """

    partitions: int
    config: Mapping[str, str]
    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenConnector:
    """The present state of a connector.

    `failure` is the first line of its, or its task's, trace. `offsets` says whether it has committed any.
    """

    config: Config
    state: str
    failure: str | None = None
    offsets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The present state.

    `publication` holds table names, None without a publication. `slot` is its wal_status, None without a slot.
    `relations` are the declared tables that exist. `lacking_full` are the leaves of changing tables without FULL.
    """

    topics: Mapping[str, SeenTopic]
    relations: frozenset[str]
    publication: frozenset[str] | None
    lacking_full: tuple[str, ...]
    slot: str | None
    connectors: Mapping[str, SeenConnector]
