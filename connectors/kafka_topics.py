"""Read, create, alter and delete Kafka's topics."""

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, not declared
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from connectors.state import SeenTopic
from messaging.clients import TIMEOUT, admin
from schemas.errors import HeadraceError, Unavailable
from schemas.topics import Topic

_BROKERS_DEFAULT = -1  # Kafka's value for it


def read_topics(bootstrap: str, wanted: Iterable[Topic]) -> Mapping[str, SeenTopic]:
    """Return those of these topics that exist, with the settings that `wanted` names.

    Raises:
        Unavailable: Kafka does not answer.
    """
    wanted_by_name = {topic.name: topic for topic in wanted}
    client = admin(bootstrap)
    try:
        listed = client.list_topics(timeout=TIMEOUT).topics
    except KafkaException as error:
        raise Unavailable(f"Kafka at {bootstrap} does not answer: {error.args[0]}; check HEADRACE_KAFKA__") from None
    names = [name for name in wanted_by_name if name in listed]
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found = {}
    for resource, future in client.describe_configs(resources, request_timeout=TIMEOUT).items():
        config = _answer(future, bootstrap)
        values = {name: config[name].value for name in wanted_by_name[resource.name].config}
        partitions = listed[resource.name].partitions
        fewest = min(len(each.replicas) for each in partitions.values())
        found[resource.name] = SeenTopic(partitions=len(partitions), config=values, replicas=fewest)
    return found


def create_topics(bootstrap: str, topics: Iterable[Topic]) -> None:
    """Make topics, all at once. Raises HeadraceError, which names the setting where brokers are too few."""
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=topic.replicas or _BROKERS_DEFAULT,
            config=dict(topic.config),
        )
        for topic in topics
    ]
    if new:
        client = admin(bootstrap)
        _wait(client, client.create_topics(new, operation_timeout=TIMEOUT), bootstrap)


def alter_topic(bootstrap: str, name: str, config: Mapping[str, str]) -> None:
    """Set these of a topic's settings, leaving the others."""
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()]
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    client = admin(bootstrap)
    _wait(client, client.incremental_alter_configs([resource], request_timeout=TIMEOUT), bootstrap)


def delete_topics(bootstrap: str, names: Iterable[str]) -> None:
    """Delete topics."""
    gone = list(names)
    if gone:
        client = admin(bootstrap)
        _wait(client, client.delete_topics(gone, operation_timeout=TIMEOUT), bootstrap)


def _wait(_client: AdminClient, futures: Mapping[Any, Any], bootstrap: str) -> None:
    """Wait for all answers. The client is kept until then, as its futures fail without it."""
    for future in futures.values():
        _answer(future, bootstrap)


def _answer(future: Any, bootstrap: str) -> Any:
    try:
        return future.result(TIMEOUT + 1)
    except (KafkaException, TimeoutError) as error:
        reason = error.args[0] if error.args else error
        if isinstance(reason, KafkaError) and reason.code() == KafkaError.INVALID_REPLICATION_FACTOR:
            raise HeadraceError(
                f"Kafka at {bootstrap} has fewer brokers than HEADRACE_KAFKA__REPLICATION_FACTOR says: {reason.str()}; "
                "see docs/runbook.md#too-few-replicas"
            ) from None
        raise HeadraceError(f"Kafka at {bootstrap} refuses: {reason}") from None
