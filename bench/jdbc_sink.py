"""Run Debezium's JDBC sink connector in a separate Connect worker: the baseline for a rebuild.

Its jars are downloaded by Maven when the benchmark first runs (bench/jdbc/pom.xml), and cached beside the stack's.
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
    """Return the folder with the connector's plugin; download it if it isn't cached."""
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
    """Run a worker that fills a table of `schema` from each topic, with the JVM's full compiler; stop it afterwards.

    Yield a function that raises RuntimeError when the worker has ended by itself.
    """
    worker = folder / "jdbc-worker.properties"
    write(worker, worker_properties(settings, folder))
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


def worker_properties(settings: Settings, folder: Path) -> dict[str, str]:
    """Return the configuration of the Connect worker, which keeps its offsets in `folder`."""
    port = free_port(set())
    return {
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
    }


def connector(settings: Settings, schema: str, topic: str, table: Table) -> dict[str, str]:
    """Return the configuration of one topic's sink.

    Our keys are JSON without a schema, so the sink takes a row's key from the row. Our decimals are text, which
    Postgres converts.
    """
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
    """Return the consumer group of a table's sink, whose offsets show its progress."""
    return f"connect-bench-jdbc-{table.name}"


def done(bootstrap: str, topic: str, table: Table) -> int:
    """Return how many records of a topic its sink has written and committed."""
    asking = clients.consumer(bootstrap, group(table))
    try:
        return sum(max(each.offset, 0) for each in asking.committed(clients.partitions(bootstrap, [topic]), 10))
    finally:
        asking.close()


def write(path: Path, properties: Mapping[str, str]) -> None:
    """Write a Java properties file that only this user can read, as it contains a password."""
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
