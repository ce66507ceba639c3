"""Real Kafka, real registry, real Postgres: what the sink worker promises, turn by turn."""

import threading
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
from operations import connections
from operations.settings import Settings
from schemas import wire
from schemas.errors import HeadraceError, Unavailable
from sinks.reporting import metrics
from sinks.reporting.cutoff import Cutoff
from sinks.reporting.port import Fatal, Fenced
from sinks.reporting.postgres.driver import PostgresReporting, PostgresRetention
from sinks.reporting.worker import SinkWorker
from tests.support.eventually import eventually
from tests.support.landing import EPOCH, GENERATION, Landing


def test_records_land_and_the_checkpoint_stands_at_the_end(landing: Landing) -> None:
    for number in range(30):
        landing.put(f"o{number % 10}", status=f"at {number // 10}")
    landing.drain(landing.worker())
    assert landing.statuses() == {f"o{number}": "at 2" for number in range(10)}


def test_a_restarted_worker_reads_on_from_the_checkpoint(landing: Landing) -> None:
    landing.put("a")
    first = landing.worker()
    landing.drain(first)
    first.close()
    landing.put("b")
    second = landing.worker()
    landed = eventually(lambda: second.turn(0.5))
    assert landed.folded == 1
    assert landing.statuses() == {"a": "placed", "b": "placed"}


def test_a_delete_stays_as_a_deleted_row_and_a_tombstone_is_passed_over(landing: Landing) -> None:
    landing.put("a")
    landing.put("a", "d")
    landing.send(landing.envelopes.key(landing.row("a")), None)
    landing.drain(landing.worker())
    assert landing.statuses() == {"a": "(deleted)"}
    assert landing.letters() == []


def bad_records(landing: Landing) -> dict[str, tuple[bytes | None, bytes, object]]:
    """Bad records by their defect: key, value, headers."""
    key, value = landing.envelopes.key(landing.row("bad")), landing.value("bad")
    elsewhere = landing.registry.register("test-other-value", {"type": "record", "name": "Other", "fields": []})
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
        "a text that is too long": (key, landing.value("bad", currency="REAIS"), EPOCH),
        "no epoch": (key, value, None),
        "an odd epoch": (key, value, [(wire.EPOCH_HEADER, b"first")]),
        "an epoch that reporting doesn't know": (key, value, [(wire.EPOCH_HEADER, b"999999")]),
        "a value that TOAST left out": (key, landing.value("bad", customer_id="__debezium_unavailable_value"), EPOCH),
        "a truncate": (key, landing.value("bad", "t"), EPOCH),
        "a row that reporting refuses": (key, landing.value("bad", customer_id="nul \0 inside"), EPOCH),
    }


def test_each_bad_record_becomes_one_dead_letter_and_holds_nothing_up(landing: Landing) -> None:
    landing.put("before")
    bad = bad_records(landing)
    for key, value, headers in bad.values():
        landing.send(key, value, headers, partition=0)
    landing.put("after")
    landing.drain(landing.worker())
    assert landing.statuses() == {"before": "placed", "after": "placed"}
    letters = landing.letters()
    sent = sorted((key or b"", value) for key, value, _ in bad.values())
    assert sorted((each.record.key or b"", each.record.value) for each in letters) == sent
    assert {each.record.topic for each in letters} == {landing.topic}
    assert {each.record.partition for each in letters} == {0}
    assert all(each.message and each.worker == "test" for each in letters)
    assert [each.error for each in letters].count("Poison") == 1


def test_a_dead_letter_says_what_was_wrong_and_keeps_the_records_headers(landing: Landing) -> None:
    landing.send(
        landing.envelopes.key(landing.row("a")),
        landing.value("a", currency="REAIS"),
        [*EPOCH, ("traceparent", b"00-1")],
    )
    landing.drain(landing.worker())
    (letter,) = landing.letters()
    assert letter.message == "currency: expected at most 3 characters, got 5"
    assert letter.record.headers == [*EPOCH, ("traceparent", b"00-1")]


def test_an_epoch_that_nobody_raised_beats_nothing(landing: Landing) -> None:
    landing.put("a", status="true")
    forged = [(wire.EPOCH_HEADER, b"999999")]
    landing.send(landing.envelopes.key(landing.row("a")), landing.value("a", status="forged"), forged)
    landing.drain(landing.worker())
    assert landing.statuses() == {"a": "true"}
    (letter,) = landing.letters()
    assert letter.message.startswith("headrace-epoch: reporting knows no epoch 999999")


def test_an_epoch_that_was_raised_under_a_running_worker_lands(landing: Landing) -> None:
    """The worker looks again before it refuses: the epoch is noted before capture stamps it on a record."""
    known = {1}

    class Raising(PostgresReporting):
        def epochs(self) -> frozenset[int]:
            return frozenset(known)

    worker = landing.worker(reporting=Raising(landing.conninfo, GENERATION))
    landing.put("a")
    landing.drain(worker)
    known.add(2)
    landing.send(
        landing.envelopes.key(landing.row("a")), landing.value("a", status="restored"), [(wire.EPOCH_HEADER, b"2")]
    )
    landing.drain(worker)
    assert landing.statuses() == {"a": "restored"}
    assert landing.letters() == []


def test_a_batch_that_is_read_again_lists_each_dead_letter_once(landing: Landing) -> None:
    landing.send(b"{}", b"junk", partition=0)
    first = landing.worker()
    landing.drain(first)
    first.close()
    with psycopg.connect(landing.conninfo) as connection:
        connection.execute(
            f"UPDATE reporting_g{GENERATION}.checkpoint SET next_offset = 0 WHERE topic = %s", (landing.topic,)
        )
    landing.drain(landing.worker())
    assert len(landing.letters()) == 1
    assert clients.end_offsets(landing.bootstrap, [landing.dead_letter_topic]) == {(landing.dead_letter_topic, 0): 2}


def test_two_workers_share_the_partitions_and_take_over_from_each_other(landing: Landing) -> None:
    first, second = landing.worker(), landing.worker()

    def shared() -> bool:
        first.turn(0.1)
        second.turn(0.1)
        return len(first.landed_offsets()) == len(second.landed_offsets()) == 1

    eventually(shared)
    for number in range(20):
        landing.put(f"o{number}")
    landing.drain(first, second)
    first.close()
    landing.workers.remove(first)
    for number in range(20, 40):
        landing.put(f"o{number}")
    landing.drain(second)
    assert len(landing.statuses()) == 40


def test_a_zombie_lands_nothing_once_another_worker_has_claimed(landing: Landing) -> None:
    zombie = landing.worker()
    eventually(lambda: zombie.turn(0.1) or zombie.landed_offsets())
    owner = landing.worker(group=f"{landing.name}-other")
    eventually(lambda: owner.turn(0.1) or owner.landed_offsets())
    landing.put("a")
    with pytest.raises(Fenced, match="another worker has claimed"):
        eventually(lambda: zombie.turn(0.5))
    assert landing.statuses() == {}
    landing.drain(owner)
    assert landing.statuses() == {"a": "placed"}


def test_a_topic_that_was_made_again_stops_the_worker(landing: Landing) -> None:
    landing.put("a")
    first = landing.worker()
    landing.drain(first)
    first.close()
    for future in landing.admin.delete_topics([landing.topic]).values():
        future.result()
    eventually(lambda: landing.topic not in landing.admin.list_topics().topics)
    landing.make_topics()
    second = landing.worker()
    with pytest.raises(TopicReplaced, match="topic-replaced"):
        eventually(lambda: second.turn(0.5))


def test_records_deleted_before_they_landed_stop_the_worker(landing: Landing) -> None:
    for number in range(10):
        landing.send(landing.envelopes.key(landing.row("a")), landing.value("a", status=f"at {number}"), partition=0)
    first = landing.worker(batch=3)
    eventually(lambda: first.turn(0.5))
    first.close()
    landing.admin.delete_records([TopicPartition(landing.topic, 0, 8)])[TopicPartition(landing.topic, 0)].result()
    second = landing.worker()
    with pytest.raises(OffsetGone, match="offset-gone"):
        eventually(lambda: second.turn(0.5))


def test_a_new_generation_begins_at_the_first_record_that_is_left(landing: Landing) -> None:
    for number in range(10):
        landing.send(landing.envelopes.key(landing.row(f"o{number}")), landing.value(f"o{number}"), partition=0)
    landing.admin.delete_records([TopicPartition(landing.topic, 0, 8)])[TopicPartition(landing.topic, 0)].result()
    landing.drain(landing.worker())
    assert set(landing.statuses()) == {"o8", "o9"}


def test_the_checkpoint_passes_what_a_transaction_leaves_at_the_logs_end(landing: Landing) -> None:
    producer = clients.producer(landing.bootstrap, transactional_id=landing.name)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(
        landing.topic, key=landing.envelopes.key(landing.row("a")), value=landing.value("a"), headers=EPOCH
    )
    producer.commit_transaction(30)
    # The log's end is behind the transaction's marker, which no consumer sees.
    eventually(lambda: sum(clients.end_offsets(landing.bootstrap, [landing.topic]).values()) == 2)
    landing.drain(landing.worker())
    assert landing.statuses() == {"a": "placed"}


def test_a_connection_that_dies_is_made_anew_and_nothing_is_lost(landing: Landing, settings: Settings) -> None:
    worker = landing.worker()
    landing.put("a")
    landing.drain(worker)
    with psycopg.connect(landing.conninfo, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'headrace-sink' AND usename = current_user AND datname = current_database()"
        )
    landing.put("b")
    landing.drain(worker)
    assert landing.statuses() == {"a": "placed", "b": "placed"}


def test_reporting_that_does_not_answer_ends_in_one_clear_line(landing: Landing) -> None:
    nowhere = PostgresReporting("host=127.0.0.1 port=1 dbname=reporting user=reporting_writer", GENERATION)
    worker = landing.worker(reporting=nowhere, patience=0.5)
    with pytest.raises(Unavailable, match="no connection to reporting"):
        eventually(lambda: worker.turn(0.5))


def test_a_missing_table_is_not_tried_again(landing: Landing) -> None:
    worker = landing.worker(reporting=PostgresReporting(landing.conninfo, 99_999))
    with pytest.raises(Fatal, match="reporting refused"):
        eventually(lambda: worker.turn(0.5))


def test_a_registry_that_is_down_stops_the_worker_before_anything_is_skipped(landing: Landing) -> None:
    landing.put("a")
    worker = landing.worker(registry=Registry("http://127.0.0.1:1", patience=0.3))
    with pytest.raises(Unavailable, match="schema registry"):
        eventually(lambda: worker.turn(0.5))
    worker.close()
    assert set(landing.checkpoints().values()) == {0}
    landing.drain(landing.worker())
    assert landing.statuses() == {"a": "placed"}
    assert landing.letters() == []


def test_an_address_that_is_no_registry_stops_the_worker_and_dead_letters_nothing(landing: Landing) -> None:
    landing.put("a")
    other = HealthServer(0, alive=lambda: None, ready=lambda: None)  # answers 404, as a wrong path or a proxy would
    worker = landing.worker(registry=Registry(f"http://127.0.0.1:{other.port}/apis", patience=0.3))
    with pytest.raises(HeadraceError, match="HEADRACE_REGISTRY__URL"):
        eventually(lambda: worker.turn(0.5))
    worker.close()
    other.close()
    assert landing.letters() == []
    landing.drain(landing.worker())
    assert landing.statuses() == {"a": "placed"}


def test_no_checkpoint_passes_a_bad_record_before_its_dead_letter_is_confirmed(landing: Landing) -> None:
    landing.send(b"{}", b"junk", partition=0)
    unreachable = DeadLetters(clients.producer("127.0.0.1:1"), "test", patience=0.5)
    worker = landing.worker(letters=unreachable)
    with pytest.raises(Unavailable, match="dead letter"):
        eventually(lambda: worker.turn(0.5))
    worker.close()
    assert set(landing.checkpoints().values()) == {0}
    landing.drain(landing.worker())
    assert len(landing.letters()) == 1


def test_a_topic_that_does_not_exist_is_named_at_the_start(landing: Landing) -> None:
    landing.table = replace(landing.table, schema="test_landing_missing")
    with pytest.raises(HeadraceError, match=r"shop\.test_landing_missing\.orders does not exist"):
        landing.worker()


def test_stop_ends_the_loop_with_everything_in_hand_landed(landing: Landing) -> None:
    worker = landing.worker()
    running = threading.Thread(target=worker.run)
    running.start()
    for number in range(50):
        landing.put(f"o{number}")
    eventually(lambda: len(landing.statuses()) > 5)
    worker.stop()
    running.join(20)
    assert not running.is_alive()
    landing.workers.remove(worker)
    landed = len(landing.statuses())
    assert sum(landing.checkpoints().values()) == landed


def get(worker: SinkWorker, path: str) -> httpx.Response:
    serving = HealthServer(0, alive=worker.alive, ready=worker.ready)
    try:
        return httpx.get(f"http://127.0.0.1:{serving.port}{path}")
    finally:
        serving.close()


def test_health_readiness_and_metrics_are_told(landing: Landing) -> None:
    worker = landing.worker()
    assert get(worker, "/healthz").status_code == 200
    assert get(worker, "/readyz").status_code == 503
    landing.put("a")
    landing.drain(worker)
    assert get(worker, "/readyz").status_code == 200
    told = get(worker, "/metrics").text
    assert f'headrace_sink_lag_records{{partition="0",topic="{landing.topic}"}} 0.0' in told
    assert 'headrace_commit_to_visible_seconds_bucket{le="60.0",table="orders"}' in told


def test_what_has_aged_out_is_passed_over_and_counted(landing: Landing, settings: Settings) -> None:
    landing.table = replace(landing.table, retention=landing.name)
    retiring = PostgresRetention(connections.reporting_conninfo(settings, "retention"), GENERATION)
    retiring.set_cutoff(Cutoff(landing.name, date(2026, 12, 1)))
    retiring.close()
    before = metrics.REFUSED._value.get()
    landing.put("old")
    landing.put("bad and old", customer_id="nul \0 inside")
    landing.put("old", "d")
    landing.drain(landing.worker())
    assert landing.statuses() == {}
    assert landing.letters() == []
    assert metrics.REFUSED._value.get() - before == 3


def test_a_port_in_use_is_one_clear_line() -> None:
    first = HealthServer(0, alive=lambda: None, ready=lambda: None)
    with pytest.raises(HeadraceError, match=rf"127\.0\.0\.1:{first.port}: Address already in use"):
        HealthServer(first.port, alive=lambda: None, ready=lambda: None)
    first.close()
