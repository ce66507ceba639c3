"""The stack itself: started, started again, harmed, and stopped, in folders of its own."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pymongo
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from operations.settings import Settings
from stack import java, processes, supervisor
from stack.errors import StackError
from stack.folder import Folder, free_port
from stack.probes import CatalogAnswers, HttpAnswers, KafkaAnswers, PostgresAnswers, Probe
from stack.servers import SERVERS, Layout, Server

ALL = set(SERVERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack for this file alone, as the tests stop and kill its servers."""
    path = tmp_path_factory.mktemp("own") / "stack"
    supervisor.up(path)
    yield path
    supervisor.down(path, wipe=True)
    assert not path.exists()


@pytest.fixture
def short_lived(tmp_path: Path) -> Iterator[Path]:
    """A folder for a stack that will not come up."""
    folder = tmp_path / "stack"
    yield folder
    supervisor.down(folder, wipe=True)


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    """The settings file of a stack that is up, whatever the test before has done to it."""
    return supervisor.up(folder).environment()


def pids(folder: Path) -> dict[str, int | None]:
    return {server.name: server.pid for server in supervisor.status(folder)}


def postgres(environment: dict[str, str], database: str, user: str, password: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=environment["HEADRACE_OLTP__HOST"],
        port=int(environment["HEADRACE_OLTP__PORT"]),
        dbname=database,
        user=user,
        password=password,
        autocommit=True,
    )


def processes_in(folder: Path) -> list[psutil.Process]:
    """Every process that has to do with a folder: by its command line or, for Postgres, its working folder."""
    found = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except (psutil.Error, OSError):
            continue
        if process.pid != os.getpid() and any(str(folder) in text for text in told):
            found.append(process)
    return found


# ---- what is up ---------------------------------------------------------------------------------


def test_all_servers_answer_and_a_second_up_keeps_them(folder: Path, environment: dict[str, str]) -> None:
    before = supervisor.status(folder)
    assert {server.name for server in before if server.ready} == ALL
    events: list[tuple[str, str]] = []
    supervisor.up(folder, on_event=lambda server, state, seconds: events.append((server, state)))
    assert pids(folder) == {server.name: server.pid for server in before}
    assert {server for server, state in events if state == "running already"} == ALL
    assert sum(server.memory_bytes for server in before) < 2_500_000_000


def test_the_settings_file_is_private_and_complete(
    folder: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    file = folder / "headrace.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings = Settings(_env_file=file)  # type: ignore[call-arg]  # everything comes from the file
    assert settings.oltp.port == int(environment["HEADRACE_OLTP__PORT"])
    assert settings.reporting.adapter == "postgres"


def test_everything_listens_on_loopback_only(folder: Path, environment: dict[str, str]) -> None:
    for name, pid in pids(folder).items():
        listening = [c for c in psutil.Process(pid).net_connections(kind="inet") if c.status == psutil.CONN_LISTEN]
        assert listening, name
        assert {c.laddr.ip.removeprefix("::ffff:") for c in listening} == {"127.0.0.1"}, name


def test_no_password_is_to_be_seen_on_a_command_line(folder: Path, environment: dict[str, str]) -> None:
    passwords = json.loads(Folder(folder).passwords.read_text()).values()
    for pid in pids(folder).values():
        line = " ".join(psutil.Process(pid).cmdline())
        assert not any(password in line for password in passwords)


# ---- Postgres -----------------------------------------------------------------------------------


def test_postgres_is_ready_for_logical_replication_and_utf8(environment: dict[str, str]) -> None:
    password = environment["HEADRACE_OLTP__MIGRATOR_PASSWORD"]
    with postgres(environment, "shop", "migrator", password) as connection:
        wanted = {"wal_level": "logical", "server_encoding": "UTF8", "fsync": "on", "synchronous_commit": "on"}
        for name, value in wanted.items():
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == (value,)
        assert connection.execute("SELECT upper('äß'), 'Z' < 'a'").fetchone() == ("Äß", True)
        connection.execute("CREATE TABLE probe (id int PRIMARY KEY)")
        connection.execute("CREATE PUBLICATION probe FOR TABLE probe")
        connection.execute("CREATE ROLE probe_cdc LOGIN REPLICATION")
        connection.execute("DROP PUBLICATION probe")
        connection.execute("DROP TABLE probe")
        connection.execute("DROP ROLE probe_cdc")


def test_postgres_never_runs_as_root(folder: Path, environment: dict[str, str]) -> None:
    pid = pids(folder)["postgres"]
    assert psutil.Process(pid).uids().real != 0


@pytest.mark.parametrize("user", ["postgres", "migrator", "registry"])
def test_nobody_enters_postgres_without_a_password(environment: dict[str, str], user: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        postgres(environment, "shop", user, "wrong")


# ---- Kafka, registry, Connect -------------------------------------------------------------------


def test_kafka_makes_no_topic_by_itself(environment: dict[str, str]) -> None:
    bootstrap = environment["HEADRACE_KAFKA__BOOTSTRAP"]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic("wanted", 1, 1)])["wanted"].result()
    producer = Producer({"bootstrap.servers": bootstrap, "topic.metadata.propagation.max.ms": 500})
    failed: list[int] = []
    producer.produce("unwanted", b"x", on_delivery=lambda error, _: failed.append(error.code() if error else 0))
    producer.flush(30)
    topics = admin.list_topics(timeout=10).topics
    assert failed in ([KafkaError._UNKNOWN_TOPIC], [KafkaError.UNKNOWN_TOPIC_OR_PART])
    assert "wanted" in topics and "unwanted" not in topics


def test_connect_knows_debezium_and_the_avro_converter(environment: dict[str, str]) -> None:
    answer = httpx.get(environment["HEADRACE_CONNECT__URL"] + "/connector-plugins", params={"connectorsOnly": "false"})
    plugins = {plugin["class"] for plugin in answer.json()}
    assert {
        "io.debezium.connector.postgresql.PostgresConnector",
        "io.debezium.connector.mongodb.MongoDbConnector",
        "io.debezium.transforms.outbox.EventRouter",
        "org.apache.kafka.connect.transforms.InsertHeader",
        "io.apicurio.registry.utils.converter.AvroConverter",
    } <= plugins


def test_a_schema_survives_the_registry_s_death(folder: Path, environment: dict[str, str]) -> None:
    path = "/subjects/kept-value/versions"
    body = {"schema": json.dumps({"type": "record", "name": "Kept", "fields": []})}
    registered = httpx.post(environment["HEADRACE_REGISTRY__URL"] + path, json=body).raise_for_status().json()
    psutil.Process(pids(folder)["registry"]).kill()
    again = supervisor.up(folder).environment()
    latest = httpx.get(again["HEADRACE_REGISTRY__URL"] + path + "/latest").raise_for_status().json()
    assert latest["id"] == registered["id"]


def test_debezium_streams_from_the_mongodb_stand_in(environment: dict[str, str]) -> None:
    """Snapshot, then changes, across a restart of the connector: nothing lost, nothing out of order."""
    bootstrap, connect = environment["HEADRACE_KAFKA__BOOTSTRAP"], environment["HEADRACE_CONNECT__URL"]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic("probe.goods.pens", 1, 1)])["probe.goods.pens"].result()
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(environment["HEADRACE_CATALOG__URI"])
    with client:
        pens = client["goods"]["pens"]
        pens.insert_one({"_id": {"tenant": "t", "sku": "a"}, "n": 0})
        put(f"{connect}/connectors/probe/config", DEBEZIUM_MONGODB)
        assert [op for op, _ in captured(bootstrap, 1)] == ["r"]
        pens.update_one({"_id.sku": "a"}, {"$set": {"n": 1}})
        assert len(captured(bootstrap, 2)) == 2
        put(f"{connect}/connectors/probe/stop", None)
        pens.update_one({"_id.sku": "a"}, [{"$set": {"n": 2, "at": "$$NOW"}}])
        pens.delete_one({"_id.sku": "a"})
        put(f"{connect}/connectors/probe/resume", None)
        changes = captured(bootstrap, 4)
    assert [op for op, _ in changes] == ["r", "u", "u", "d"]
    assert [json.loads(after)["n"] for _, after in changes[:3]] == [0, 1, 2]


DEBEZIUM_MONGODB = {
    "connector.class": "io.debezium.connector.mongodb.MongoDbConnector",
    "mongodb.connection.string": "${env:HEADRACE_CATALOG_URI}",
    "topic.prefix": "probe",
    "collection.include.list": "goods.pens",
    "capture.mode": "change_streams_update_full",
    "tombstones.on.delete": "false",
}


def put(url: str, body: dict[str, str] | None) -> None:
    httpx.put(url, json=body).raise_for_status()


def captured(bootstrap: str, count: int) -> list[tuple[str, str]]:
    """The first `count` changes of the probe's topic, as (operation, document after it)."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "probe", "enable.auto.commit": False})
    consumer.assign([TopicPartition("probe.goods.pens", 0, 0)])
    found: list[tuple[str, str]] = []
    end = time.monotonic() + 60
    try:
        while len(found) < count:
            assert time.monotonic() < end, f"only {found} arrived"
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            value = json.loads(message.value() or b"null")
            found.append((value["op"], value["after"]))
    finally:
        consumer.close()
    return found


def test_a_probe_of_nobody_says_not_ready() -> None:
    port = free_port(taken=set())
    probes = [PostgresAnswers(port, "x"), KafkaAnswers(port, "x"), HttpAnswers(port, "/"), CatalogAnswers(port)]
    assert [probe() for probe in probes] == [False, False, False, False]


# ---- trouble ------------------------------------------------------------------------------------


def stop(folder: Path, *names: str) -> None:
    """Stop these servers alone."""
    for name in names:
        running = processes.find(Folder(folder).pid_of(name))
        assert running is not None
        processes.stop(running, grace=2)


def squatter(host: str, port: int) -> socket.socket:
    """A foreign program that listens where one of our servers was."""
    squatter = socket.socket()
    squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    squatter.bind((host, port))
    squatter.listen()
    return squatter


def test_a_port_that_was_taken_meanwhile_is_given_up(folder: Path, environment: dict[str, str]) -> None:
    stop(folder, "connect")
    taken = int(environment["HEADRACE_CONNECT__URL"].rsplit(":", 1)[1])
    with squatter("127.0.0.1", taken):
        moved = supervisor.up(folder).environment()
    assert moved["HEADRACE_CONNECT__URL"] != environment["HEADRACE_CONNECT__URL"]
    assert moved["HEADRACE_KAFKA__BOOTSTRAP"] == environment["HEADRACE_KAFKA__BOOTSTRAP"]
    assert f"HEADRACE_CONNECT__URL={moved['HEADRACE_CONNECT__URL']}\n" in (folder / "headrace.env").read_text()


def test_servers_follow_those_that_had_to_move(folder: Path, environment: dict[str, str]) -> None:
    stop(folder, "connect", "kafka", "registry", "postgres")
    host, taken = environment["HEADRACE_KAFKA__BOOTSTRAP"].split(":")
    with squatter(host, int(taken)), squatter(host, int(environment["HEADRACE_OLTP__PORT"])):
        moved = supervisor.up(folder).environment()
    assert httpx.get(moved["HEADRACE_CONNECT__URL"] + "/connectors").status_code == 200
    assert moved["HEADRACE_KAFKA__BOOTSTRAP"] != environment["HEADRACE_KAFKA__BOOTSTRAP"]
    assert moved["HEADRACE_OLTP__PORT"] != environment["HEADRACE_OLTP__PORT"]
    told = psutil.Process(pids(folder)["connect"]).environ()
    assert told["HEADRACE_OLTP_PORT"] == moved["HEADRACE_OLTP__PORT"]


def test_a_crash_is_named_with_the_end_of_its_log_and_nothing_stays_behind(short_lived: Path) -> None:
    Folder(short_lived).create()
    Folder(short_lived).kafka.mkdir()
    (short_lived / "kafka" / "meta.properties").write_text(
        f"version=1\nnode.id=7\ncluster.id={Folder(short_lived).identity()}\n"
    )
    with pytest.raises(StackError, match=r"(?s)kafka ended while it was starting.*kafka\.log.*node"):
        supervisor.up(short_lived)
    assert processes_in(short_lived) == []


@dataclass(frozen=True)
class ReadyAfter:
    """A server's probe that fails until an event is set."""

    event: threading.Event
    probe: Probe

    def __call__(self) -> bool:
        return self.event.is_set() and self.probe()


def test_the_caller_may_work_while_the_rest_still_starts(short_lived: Path) -> None:
    worked = threading.Event()

    def connect(layout: Layout) -> Server:
        server = SERVERS["connect"](layout)
        return replace(server, probe=ReadyAfter(worked, server.probe))

    servers = {**SERVERS, "connect": connect}
    with pytest.raises(ZeroDivisionError), supervisor.starting(short_lived, servers=servers) as stack:
        stack.wait_for("postgres")
        environment = stack.environment()
        password = environment["HEADRACE_REPORTING__MIGRATOR_PASSWORD"]
        with postgres(environment, "reporting", "reporting_migrator", password) as connection:
            connection.execute("CREATE SCHEMA early")
        worked.set()
        raise ZeroDivisionError
    assert processes_in(short_lived) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_no_process_behind(short_lived: Path, number: signal.Signals) -> None:
    program = (
        "import sys; from pathlib import Path; from stack import supervisor\n"
        "supervisor.up(Path(sys.argv[1]), on_event=lambda *event: print(*event, flush=True))"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(short_lived)], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            if " ready " in line:
                break
        assert processes_in(short_lived)
        child.send_signal(number)
        child.stdout.read()
    assert child.returncode != 0
    assert processes_in(short_lived) == []


def test_down_stops_everything_and_keeps_the_data(folder: Path, environment: dict[str, str]) -> None:
    admin = AdminClient({"bootstrap.servers": environment["HEADRACE_KAFKA__BOOTSTRAP"]})
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result()
    stopped: list[str] = []
    supervisor.down(folder, on_event=lambda server, state, seconds: stopped.append(f"{server} {state}"))
    assert set(stopped) == {f"{name} stopped" for name in ALL}
    assert (stopped[0], stopped[-1]) == ("connect stopped", "postgres stopped")
    assert not any(server.running for server in supervisor.status(folder))
    assert [p for p in processes_in(folder) if p.name() == "java"] == []
    again = supervisor.up(folder).environment()
    assert (
        "kept" in AdminClient({"bootstrap.servers": again["HEADRACE_KAFKA__BOOTSTRAP"]}).list_topics(timeout=10).topics
    )


def test_a_second_fetch_of_the_jars_does_not_call_maven(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    said: list[str] = []
    assert (java.jars(said.append) / "registry").is_dir()
    assert said == []
