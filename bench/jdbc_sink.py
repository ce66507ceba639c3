"""Debezium's JDBC sink connector, in a Connect worker of its own: the peer that a rebuild is compared with.

Its jars come from Maven as the stack's do (bench/jdbc/pom.xml), when the bench runs, and are kept beside them.
"""

import hashlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from messaging import clients
from operations.settings import Settings
from schemas.tables import Table
from stack import java
from stack.folder import free_port

POM = Path(__file__).parent / "jdbc" / "pom.xml"
# Two tasks a table, and batches as its documentation advises for throughput.
TUNED = {
    "tasks.max": "2",
    "batch.size": "2000",
    "consumer.override.max.poll.records": "2000",
    "consumer.override.auto.offset.reset": "earliest",
    "use.reduction.buffer": "true",
}


def fetch() -> Path:
    """The folder with the connector's plugin; Maven is called once."""
    key = hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    folder = java.cache() / f"bench-jdbc-{key}"
    if not (folder / "complete").exists():
        print("fetching Debezium's JDBC sink: 60 MB, once", flush=True)
        command = ["mvn", "-B", "-q", "--strict-checksums", "-f", str(POM), "package", f"-Dheadrace.out={folder}"]
        subprocess.run(command, check=True)
        (folder / "complete").touch()
    return folder


@contextmanager
def running(settings: Settings, folder: Path, schema: str, tables: Mapping[str, Table]) -> Iterator[Callable[[], None]]:
    """A worker that fills a table of `schema` from each topic, with the JVM's full compiler; it is ended afterwards.
    Yields a function that raises RuntimeError when it has ended by itself."""
    worker = folder / "jdbc-worker.properties"
    port = free_port(set())
    write(
        worker,
        {
            "bootstrap.servers": settings.kafka.bootstrap,
            "listeners": f"http://127.0.0.1:{port}",
            "plugin.path": f"{java.jars(print) / 'plugins'},{fetch()}",
            "plugin.discovery": "service_load",
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "key.converter.schemas.enable": "false",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "offset.storage.file.filename": str(folder / "jdbc-offsets"),
            "offset.flush.interval.ms": "500",
            "connector.client.config.override.policy": "All",
        },
    )
    connectors = []
    for topic, table in tables.items():
        connectors.append(folder / f"jdbc-{table.name}.properties")
        write(connectors[-1], connector(settings, schema, topic, table))
    command = [
        *(str(java.runtime()), "-Xmx1g", "-cp", f"{java.jars(print)}/kafka/*"),
        "org.apache.kafka.connect.cli.ConnectStandalone",
        *map(str, [worker, *connectors]),
    ]
    with (folder / "jdbc.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:

        def check() -> None:
            if process.poll() is not None:
                raise RuntimeError(f"the JDBC sink ended: {Path(log.name).read_text()[-2_000:]}")

        try:
            yield check
        finally:
            process.terminate()


def connector(settings: Settings, schema: str, topic: str, table: Table) -> dict[str, str]:
    """The sink of one topic. Our keys are JSON without a schema, so it takes a row's key from the row; our decimals are
    text, which Postgres is left to read."""
    at = settings.reporting
    registry = settings.registry.url.removesuffix("/apis/ccompat/v7")
    return TUNED | {
        "name": group(table).removeprefix("connect-"),
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "topics": topic,
        "connection.url": f"jdbc:postgresql://{at.host}:{at.port}/{at.database}?stringtype=unspecified",
        "connection.username": at.user("migrator"),
        "connection.password": at.migrator_password.get_secret_value(),
        "insert.mode": "upsert",
        "primary.key.mode": "record_value",
        "primary.key.fields": ",".join(table.key),
        "schema.evolution": "none",
        "collection.name.format": f"{schema}.{table.name}",
        "value.converter": "io.apicurio.registry.utils.converter.AvroConverter",
        "value.converter.apicurio.registry.url": f"{registry}/apis/registry/v2",
        "value.converter.apicurio.registry.as-confluent": "true",
        "value.converter.apicurio.registry.use-id": "contentId",
        "value.converter.apicurio.registry.headers.enabled": "false",
    }


def group(table: Table) -> str:
    """The consumer group of a table's sink, whose offsets say how far it is."""
    return f"connect-bench-jdbc-{table.name}"


def done(bootstrap: str, topic: str, table: Table) -> int:
    """Records of a topic that its sink has written and committed."""
    asking = clients.consumer(bootstrap, group(table))
    try:
        return sum(max(each.offset, 0) for each in asking.committed(clients.partitions(bootstrap, [topic]), 10))
    finally:
        asking.close()


def write(path: Path, properties: Mapping[str, str]) -> None:
    """A Java properties file that only we read, as it holds a password."""
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
