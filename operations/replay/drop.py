"""Drop a generation: `headrace replay --abort` and `--drop-old`.

1. Mark it as dropped. From here on nothing starts its workers, and its number is not used again.
2. Stop its workers and delete their consumer groups. Kafka refuses that while a worker still runs.
3. Delete its topics.
4. Drop its tables. As long as they exist, the next `headrace replay` resumes here.
"""

import time
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from rich.console import Console

from connectors import kafka_topics
from messaging import clients
from operations.generations import Generation, State, live
from operations.replay.cutover import ReportingMigrator, opened
from operations.replay.workers import workers_of
from operations.settings import Settings
from schemas.errors import HeadraceError, Unavailable
from schemas.failpoints import FailPoint, reached
from schemas.generations import group
from schemas.topics import own_topics

GROUP_S = 45.0  # Kafka keeps a killed worker in its group for 10 s, and removes a stopped one at once
POLL_S = 0.5


def abort(settings: Settings, folder: Path, out: Console) -> None:
    """Drop the generation that is being built, or the one that readers saw before a rollback.

    Raises:
        HeadraceError: There is no such generation, or a server refuses.
        Unavailable: Workers of the generation still run.
    """
    with opened(settings) as reporting:
        found = reporting.generations()
        shown = live(found).number
        chosen = [each for each in found if each.state is State.BUILDING or _rolled_back(each, shown)]
        _drop(settings, folder, reporting, out, chosen, "no generation is being built")


def drop_old(settings: Settings, folder: Path, out: Console) -> None:
    """Drop the generation that readers saw before the live one. Raises as `abort` does."""
    with opened(settings) as reporting:
        found = reporting.generations()
        shown = live(found).number
        chosen = [each for each in found if each.state is State.PREVIOUS and each.number < shown]
        _drop(settings, folder, reporting, out, chosen, f"no generation before {shown}, the live one, receives changes")


def finish_drops(settings: Settings, folder: Path, reporting: ReportingMigrator, out: Console) -> int:
    """Complete interrupted drops, and return how many there were.

    Raises:
        Unavailable: Workers of a dropped generation still run.
        HeadraceError: A server refuses.
    """
    left = [
        each.number
        for each in reporting.generations()
        if each.state is State.DROPPED and reporting.has_schema(each.number)
    ]
    for number in left:
        _remove(settings, folder, reporting, number, out)
    return len(left)


def _rolled_back(each: Generation, shown: int) -> bool:
    return each.state is State.PREVIOUS and each.number > shown


def _drop(  # noqa: PLR0913, PLR0917
    settings: Settings,
    folder: Path,
    reporting: ReportingMigrator,
    out: Console,
    chosen: list[Generation],
    none_left: str,
) -> None:
    for each in chosen:
        reporting.set_state(each.number, State.DROPPED)  # 1
        reached(FailPoint.GENERATION_DROPPED)
    if not finish_drops(settings, folder, reporting, out):
        raise HeadraceError(none_left)


def _remove(settings: Settings, folder: Path, reporting: ReportingMigrator, number: int, out: Console) -> None:
    bootstrap = settings.kafka.bootstrap
    workers_of(settings, folder, number, out).stop()  # 2
    for name in (settings.enrich.group, settings.sink.group):
        _delete_group(bootstrap, group(name, number))
    reached(FailPoint.WORKERS_GONE)
    names = [topic.name for topic in own_topics(number)]
    kafka_topics.delete_topics(bootstrap, clients.present(bootstrap, names))  # 3
    reached(FailPoint.TOPICS_GONE)
    reporting.drop(number)  # 4
    reached(FailPoint.SCHEMA_GONE)
    out.print(f"generation {number} is dropped", markup=False)


def _delete_group(bootstrap: str, name: str) -> None:
    end = time.monotonic() + GROUP_S
    client = clients.admin(bootstrap)
    while True:
        (future,) = client.delete_consumer_groups([name], request_timeout=clients.TIMEOUT).values()
        try:
            future.result(clients.TIMEOUT + 1)
            return
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.GROUP_ID_NOT_FOUND:
                return
            if code != KafkaError.NON_EMPTY_GROUP:
                raise Unavailable(f"group {name} could not be deleted: {clients.error_text(error)}") from None
        if time.monotonic() > end:
            raise Unavailable(
                f"group {name} still has members: stop these workers, then run the command again; "
                "see docs/runbook.md#generation-still-fed"
            )
        time.sleep(POLL_S)
