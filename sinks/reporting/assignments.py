"""Fence assigned partitions and resume from their checkpoints.

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
        self._owned: dict[Partition, Checkpoint] = {}

    @property
    def owned(self) -> Mapping[Partition, Checkpoint]:
        """The assigned partitions and their checkpoints."""
        return MappingProxyType(self._owned)

    def subscribe(self, consumer: Consumer, topics: Sequence[str]) -> None:
        """Join the group. The consumer's next `consume` raises errors of the callbacks."""
        clients.topic_ids(self._bootstrap, topics)  # names a topic that does not exist; a subscription waits for it
        consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def record(self, checkpoints: Mapping[Partition, Checkpoint]) -> None:
        """Record committed checkpoints."""
        self._owned |= checkpoints

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        topics = {each.topic for each in partitions}
        ids = clients.topic_ids(self._bootstrap, topics)
        starts = clients.start_offsets(self._bootstrap, topics, {(each.topic, each.partition) for each in partitions})
        for each in partitions:
            at = Partition(each.topic, each.partition)
            self._owned[at] = self._reporting.claim(at, ids[at.topic], starts[at])
            each.offset = self._owned[at].next_offset
        consumer.incremental_assign(partitions)
        _LOG.info("claimed", partitions=_names(partitions), owned=len(self._owned))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop(partitions)
        consumer.incremental_unassign(partitions)
        _LOG.info("released", partitions=_names(partitions), owned=len(self._owned))

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drop(partitions)
        _LOG.warning("lost", partitions=_names(partitions), owned=len(self._owned))

    def _drop(self, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self._owned.pop(Partition(each.topic, each.partition), None)


def _names(partitions: list[TopicPartition]) -> str:
    return " ".join(sorted(f"{each.topic}/{each.partition}@{each.offset}" for each in partitions))
