"""The partitions that a worker holds: claimed at assignment, read on from their checkpoints.

Kafka's group decides who should read a partition; the fence in reporting decides whose batch may land.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import structlog
from confluent_kafka import Consumer, TopicPartition

from messaging import clients
from sinks.reporting.port import Checkpoint, Partition, Reporting

_LOG = structlog.get_logger("sink")


class Assignments:
    """Partition → checkpoint for what the group has assigned to a consumer."""

    def __init__(self, bootstrap: str, reporting: Reporting) -> None:
        self._bootstrap = bootstrap
        self._reporting = reporting
        self._held: dict[Partition, Checkpoint] = {}

    @property
    def held(self) -> Mapping[Partition, Checkpoint]:
        """The assigned partitions and their checkpoints."""
        return MappingProxyType(self._held)

    def subscribe(self, consumer: Consumer, topics: Sequence[str]) -> None:
        """Join the group. The consumer's next `consume` raises errors of the callbacks."""
        clients.topic_ids(self._bootstrap, topics)  # names a topic that does not exist; a subscription waits for it
        consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def moved(self, checkpoints: Mapping[Partition, Checkpoint]) -> None:
        """Record committed checkpoints."""
        self._held |= checkpoints

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        topics = {each.topic for each in partitions}
        ids = clients.topic_ids(self._bootstrap, topics)
        starts = clients.start_offsets(self._bootstrap, topics, {(each.topic, each.partition) for each in partitions})
        for each in partitions:
            at = Partition(each.topic, each.partition)
            self._held[at] = self._reporting.claim(at, ids[at.topic], starts[at])
            each.offset = self._held[at].next_offset
        consumer.incremental_assign(partitions)
        _LOG.info("claimed", partitions=_names(partitions), held=len(self._held))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop(partitions)
        consumer.incremental_unassign(partitions)
        _LOG.info("given up", partitions=_names(partitions), held=len(self._held))

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop(partitions)
        _LOG.warning("lost", partitions=_names(partitions), held=len(self._held))

    def _drop(self, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self._held.pop(Partition(each.topic, each.partition), None)


def _names(partitions: list[TopicPartition]) -> str:
    return " ".join(sorted(f"{each.topic}/{each.partition}@{each.offset}" for each in partitions))
