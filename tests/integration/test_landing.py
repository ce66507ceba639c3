"""Real Kafka, real registry, real Postgres: what the sink worker promises, turn by turn."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import httpx
import psycopg
import pytest
from confluent_kafka import TopicPartition

from messaging import clients
from messaging.dead_letters import DeadLetters
from messaging.health import HealthServer
from messaging.offsets import OffsetGone, TopicReplaced
from messaging.registry import Registry
from operations import connections, migrate
from operations.settings import Settings
from schemas import wire
from schemas.errors import HeadraceError, Unavailable
from sinks.reporting import metrics
from sinks.reporting.cutoff import Cutoff
from sinks.reporting.port import Fatal, Fenced
from sinks.reporting.postgres.driver import PostgresReporting
from sinks.reporting.postgres.retention import PostgresRetention
from sinks.reporting.worker import SinkWorker
from tests.support.eventually import eventually
from tests.support.landing import EPOCH, GENERATION, Landing, landing_line


@pytest.fixture(scope="module", autouse=True)
def generation(settings: Settings) -> None:
    migrate.migrate_reporting(settings, GENERATION)


@pytest.fixture
def line(settings: Settings) -> Iterator[Landing]:
    with landing_line(settings) as opened:
        yield opened


def test_records_land_and_the_checkpoint_stands_at_the_end(line: Landing) -> None:
    for number in range(30):
        line.put(f"o{number % 10}", status=f"at {number // 10}")
    line.drain(line.worker())
    assert line.statuses() == {f"o{number}": "at 2" for number in range(10)}


def test_a_restarted_worker_reads_on_from_the_checkpoint(line: Landing) -> None:
    line.put("a")
    first = line.worker()
    line.drain(first)
    first.close()
    line.put("b")
    second = line.worker()
    landed = eventually(lambda: second.turn(0.5))
    assert landed.folded == 1
    assert line.statuses() == {"a": "placed", "b": "placed"}


def test_a_delete_stays_as_a_deleted_row_and_a_tombstone_is_passed_over(line: Landing) -> None:
    line.put("a")
    line.put("a", "d")
    line.send(line.envelopes.key(line.row("a")), None)
    line.drain(line.worker())
    assert line.statuses() == {"a": "(deleted)"}
    assert line.letters() == []


def bad_records(line: Landing) -> dict[str, tuple[bytes | None, bytes, object]]:
    """What may come in, by what is wrong with it: key, value, headers."""
    key, value = line.envelopes.key(line.row("bad")), line.value("bad")
    elsewhere = line.registry.register("test-other-value", {"type": "record", "name": "Other", "fields": []})
    return {
        "not the wire format": (key, b"{}", EPOCH),
        "an empty value": (key, b"", EPOCH),
        "malformed Avro": (key, value[:-20], EPOCH),
        "trailing bytes": (key, value + b"\0", EPOCH),
        "bytes of noise behind a known schema": (key, value[:5] + b"\xff" * 40, EPOCH),
        "an unknown schema id": (key, wire.frame(2_000_000_000) + value[5:], EPOCH),
        "a schema of something else": (key, wire.frame(elsewhere), EPOCH),
        "a null key": (None, value, EPOCH),
        "a key that is no JSON": (b"\x00\x01", value, EPOCH),
        "a key that lacks a column": (b'{"tenant_id": "t"}', value, EPOCH),
        "a key of the wrong type": (b'{"tenant_id": 1, "order_month": 1, "order_id": "x"}', value, EPOCH),
        "a text that is too long": (key, line.value("bad", currency="REAIS"), EPOCH),
        "no epoch": (key, value, None),
        "an odd epoch": (key, value, [(wire.EPOCH_HEADER, b"first")]),
        "an epoch that reporting doesn't know": (key, value, [(wire.EPOCH_HEADER, b"999999")]),
        "a value that TOAST left out": (key, line.value("bad", customer_id="__debezium_unavailable_value"), EPOCH),
        "a truncate": (key, line.value("bad", "t"), EPOCH),
        "a row that reporting refuses": (key, line.value("bad", customer_id="nul \0 inside"), EPOCH),
    }


def test_each_bad_record_becomes_one_dead_letter_and_holds_nothing_up(line: Landing) -> None:
    line.put("before")
    bad = bad_records(line)
    for key, value, headers in bad.values():
        line.send(key, value, headers, partition=0)
    line.put("after")
    line.drain(line.worker())
    assert line.statuses() == {"before": "placed", "after": "placed"}
    letters = line.letters()
    sent = sorted((key or b"", value) for key, value, _ in bad.values())
    assert sorted((each.record.key or b"", each.record.value) for each in letters) == sent
    assert {each.record.topic for each in letters} == {line.topic}
    assert {each.record.partition for each in letters} == {0}
    assert all(each.message and each.worker == "test" for each in letters)
    assert [each.error for each in letters].count("Poison") == 1


def test_a_dead_letter_says_what_was_wrong_and_keeps_the_records_headers(line: Landing) -> None:
    line.send(line.envelopes.key(line.row("a")), line.value("a", currency="REAIS"), [*EPOCH, ("traceparent", b"00-1")])
    line.drain(line.worker())
    (letter,) = line.letters()
    assert letter.message == "currency: expected at most 3 characters, got 5"
    assert letter.record.headers == [*EPOCH, ("traceparent", b"00-1")]


def test_an_epoch_that_nobody_raised_beats_nothing(line: Landing) -> None:
    line.put("a", status="true")
    forged = [(wire.EPOCH_HEADER, b"999999")]
    line.send(line.envelopes.key(line.row("a")), line.value("a", status="forged"), forged)
    line.drain(line.worker())
    assert line.statuses() == {"a": "true"}
    (letter,) = line.letters()
    assert letter.message.startswith("headrace-epoch: reporting knows no epoch 999999")


def test_an_epoch_that_was_raised_under_a_running_worker_lands(line: Landing) -> None:
    """The worker looks again before it refuses: the epoch is noted before capture stamps it on a record."""
    known = {1}

    class Raising(PostgresReporting):
        def epochs(self) -> frozenset[int]:
            return frozenset(known)

    worker = line.worker(reporting=Raising(line.conninfo, GENERATION))
    line.put("a")
    line.drain(worker)
    known.add(2)
    line.send(line.envelopes.key(line.row("a")), line.value("a", status="restored"), [(wire.EPOCH_HEADER, b"2")])
    line.drain(worker)
    assert line.statuses() == {"a": "restored"}
    assert line.letters() == []


def test_a_batch_that_is_read_again_lists_each_dead_letter_once(line: Landing) -> None:
    line.send(b"{}", b"junk", partition=0)
    first = line.worker()
    line.drain(first)
    first.close()
    with psycopg.connect(line.conninfo) as connection:
        connection.execute(
            f"UPDATE reporting_g{GENERATION}.checkpoint SET next_offset = 0 WHERE topic = %s", (line.topic,)
        )
    line.drain(line.worker())
    assert len(line.letters()) == 1
    assert clients.end_offsets(line.bootstrap, [line.dead_letter_topic]) == {(line.dead_letter_topic, 0): 2}


def test_two_workers_share_the_partitions_and_take_over_from_each_other(line: Landing) -> None:
    first, second = line.worker(), line.worker()

    def shared() -> bool:
        first.turn(0.1)
        second.turn(0.1)
        return len(first.landed_offsets()) == len(second.landed_offsets()) == 1

    eventually(shared)
    for number in range(20):
        line.put(f"o{number}")
    line.drain(first, second)
    first.close()
    line.workers.remove(first)
    for number in range(20, 40):
        line.put(f"o{number}")
    line.drain(second)
    assert len(line.statuses()) == 40


def test_a_zombie_lands_nothing_once_another_worker_has_claimed(line: Landing) -> None:
    zombie = line.worker()
    eventually(lambda: zombie.turn(0.1) or zombie.landed_offsets())
    owner = line.worker(group=f"{line.name}-other")
    eventually(lambda: owner.turn(0.1) or owner.landed_offsets())
    line.put("a")
    with pytest.raises(Fenced, match="another worker has claimed"):
        eventually(lambda: zombie.turn(0.5))
    assert line.statuses() == {}
    line.drain(owner)
    assert line.statuses() == {"a": "placed"}


def test_a_topic_that_was_made_again_stops_the_worker(line: Landing) -> None:
    line.put("a")
    first = line.worker()
    line.drain(first)
    first.close()
    for future in line.admin.delete_topics([line.topic]).values():
        future.result()
    eventually(lambda: line.topic not in line.admin.list_topics().topics)
    line.make_topics()
    second = line.worker()
    with pytest.raises(TopicReplaced, match="topic-replaced"):
        eventually(lambda: second.turn(0.5))


def test_records_deleted_before_they_landed_stop_the_worker(line: Landing) -> None:
    for number in range(10):
        line.send(line.envelopes.key(line.row("a")), line.value("a", status=f"at {number}"), partition=0)
    first = line.worker(batch=3)
    eventually(lambda: first.turn(0.5))
    first.close()
    line.admin.delete_records([TopicPartition(line.topic, 0, 8)])[TopicPartition(line.topic, 0)].result()
    second = line.worker()
    with pytest.raises(OffsetGone, match="offset-gone"):
        eventually(lambda: second.turn(0.5))


def test_a_new_generation_begins_at_the_first_record_that_is_left(line: Landing) -> None:
    for number in range(10):
        line.send(line.envelopes.key(line.row(f"o{number}")), line.value(f"o{number}"), partition=0)
    line.admin.delete_records([TopicPartition(line.topic, 0, 8)])[TopicPartition(line.topic, 0)].result()
    line.drain(line.worker())
    assert set(line.statuses()) == {"o8", "o9"}


def test_the_checkpoint_passes_what_a_transaction_leaves_at_the_logs_end(line: Landing) -> None:
    producer = clients.producer(line.bootstrap, transactional_id=line.name)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(line.topic, key=line.envelopes.key(line.row("a")), value=line.value("a"), headers=EPOCH)
    producer.commit_transaction(30)
    # The log's end is behind the transaction's marker, which no consumer sees.
    eventually(lambda: sum(clients.end_offsets(line.bootstrap, [line.topic]).values()) == 2)
    line.drain(line.worker())
    assert line.statuses() == {"a": "placed"}


def test_a_connection_that_dies_is_made_anew_and_nothing_is_lost(line: Landing, settings: Settings) -> None:
    worker = line.worker()
    line.put("a")
    line.drain(worker)
    with psycopg.connect(line.conninfo, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'headrace-sink' AND usename = current_user AND datname = current_database()"
        )
    line.put("b")
    line.drain(worker)
    assert line.statuses() == {"a": "placed", "b": "placed"}


def test_reporting_that_does_not_answer_ends_in_one_clear_line(line: Landing) -> None:
    nowhere = PostgresReporting("host=127.0.0.1 port=1 dbname=reporting user=reporting_writer", GENERATION)
    worker = line.worker(reporting=nowhere, patience=0.5)
    with pytest.raises(Unavailable, match="no connection to reporting"):
        eventually(lambda: worker.turn(0.5))


def test_a_missing_table_is_not_tried_again(line: Landing) -> None:
    worker = line.worker(reporting=PostgresReporting(line.conninfo, 99_999))
    with pytest.raises(Fatal, match="reporting refused"):
        eventually(lambda: worker.turn(0.5))


def test_a_registry_that_is_down_stops_the_worker_before_anything_is_skipped(line: Landing) -> None:
    line.put("a")
    worker = line.worker(registry=Registry("http://127.0.0.1:1", patience=0.3))
    with pytest.raises(Unavailable, match="schema registry"):
        eventually(lambda: worker.turn(0.5))
    worker.close()
    assert set(line.checkpoints().values()) == {0}
    line.drain(line.worker())
    assert line.statuses() == {"a": "placed"}
    assert line.letters() == []


def test_an_address_that_is_no_registry_stops_the_worker_and_dead_letters_nothing(line: Landing) -> None:
    line.put("a")
    other = HealthServer(0, alive=lambda: None, ready=lambda: None)  # answers 404, as a wrong path or a proxy would
    worker = line.worker(registry=Registry(f"http://127.0.0.1:{other.port}/apis", patience=0.3))
    with pytest.raises(HeadraceError, match="HEADRACE_REGISTRY__URL"):
        eventually(lambda: worker.turn(0.5))
    worker.close()
    other.close()
    assert line.letters() == []
    line.drain(line.worker())
    assert line.statuses() == {"a": "placed"}


def test_no_checkpoint_passes_a_bad_record_before_its_dead_letter_is_confirmed(line: Landing) -> None:
    line.send(b"{}", b"junk", partition=0)
    unreachable = DeadLetters(clients.producer("127.0.0.1:1"), "test", patience=0.5)
    worker = line.worker(letters=unreachable)
    with pytest.raises(Unavailable, match="dead letter"):
        eventually(lambda: worker.turn(0.5))
    worker.close()
    assert set(line.checkpoints().values()) == {0}
    line.drain(line.worker())
    assert len(line.letters()) == 1


def test_a_topic_that_does_not_exist_is_named_at_the_start(line: Landing) -> None:
    line.table = replace(line.table, schema="test_landing_missing")
    with pytest.raises(HeadraceError, match=r"shop\.test_landing_missing\.orders does not exist"):
        line.worker()


def test_stop_ends_the_loop_with_everything_in_hand_landed(line: Landing) -> None:
    worker = line.worker()
    running = threading.Thread(target=worker.run)
    running.start()
    for number in range(50):
        line.put(f"o{number}")
    eventually(lambda: len(line.statuses()) > 5)
    worker.stop()
    running.join(20)
    assert not running.is_alive()
    line.workers.remove(worker)
    landed = len(line.statuses())
    assert sum(line.checkpoints().values()) == landed


def get(worker: SinkWorker, path: str) -> httpx.Response:
    serving = HealthServer(0, alive=worker.alive, ready=worker.ready)
    try:
        return httpx.get(f"http://127.0.0.1:{serving.port}{path}")
    finally:
        serving.close()


def test_health_readiness_and_metrics_are_told(line: Landing) -> None:
    worker = line.worker()
    assert get(worker, "/healthz").status_code == 200
    assert get(worker, "/readyz").status_code == 503
    line.put("a")
    line.drain(worker)
    assert get(worker, "/readyz").status_code == 200
    told = get(worker, "/metrics").text
    assert f'headrace_sink_lag_records{{partition="0",topic="{line.topic}"}} 0.0' in told
    assert 'headrace_commit_to_visible_seconds_bucket{le="60.0",table="orders"}' in told


def test_what_has_aged_out_is_passed_over_and_counted(line: Landing, settings: Settings) -> None:
    line.table = replace(line.table, retention=line.name)
    retiring = PostgresRetention(connections.reporting_conninfo(settings, "retention"), GENERATION)
    retiring.set_cutoff(Cutoff(line.name, date(2026, 12, 1)))
    retiring.close()
    before = metrics.REFUSED._value.get()
    line.put("old")
    line.put("bad and old", customer_id="nul \0 inside")
    line.put("old", "d")
    line.drain(line.worker())
    assert line.statuses() == {}
    assert line.letters() == []
    assert metrics.REFUSED._value.get() - before == 3


def test_a_port_in_use_is_one_clear_line() -> None:
    first = HealthServer(0, alive=lambda: None, ready=lambda: None)
    with pytest.raises(HeadraceError, match=rf"127\.0\.0\.1:{first.port}: Address already in use"):
        HealthServer(first.port, alive=lambda: None, ready=lambda: None)
    first.close()
