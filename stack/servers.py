"""Declarations of the servers: command, files, environment and probe, from ports and passwords alone.

A declaration is a value. A running server whose declaration is still equal is kept; a port that had to change is a
difference in every server that uses it.
"""

import hashlib
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stack import postgres as pg
from stack.errors import StackError
from stack.folder import LOOPBACK, Folder
from stack.probes import CatalogAnswers, HttpAnswers, KafkaAnswers, PostgresAnswers, Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All that a declaration depends on. `caches` holds the JVMs' class caches (stack/aot.py)."""

    folder: Folder
    postgres: pg.Home
    java: Path
    jars: Path
    caches: Path
    ports: Mapping[str, int]
    passwords: Mapping[str, str]
    jit: bool


CATALOG_EVENTS = "100000"  # change events that the catalog keeps: hours of heartbeats


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server. `needs` must be ready before it starts; `ports` are the names of those it binds."""

    name: str
    command: tuple[str, ...]
    probe: Probe
    ports: tuple[str, ...]
    needs: tuple[str, ...] = ()
    files: tuple[tuple[Path, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    cwd: Path = Path("/")
    user: str | None = None
    stop_signal: int = signal.SIGTERM
    prepare: Callable[[], None] = field(default=_nothing, compare=False)
    complete: Callable[[], None] = field(default=_nothing, compare=False)

    def fingerprint(self) -> str:
        """Return a hash: equal for equal declarations, across processes; it holds no secret."""
        said = repr((self.command, self.files, self.env, self.user))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def postgres(layout: Layout) -> Server:
    """Declare Postgres: the OLTP database, the reporting database's stand-in, and the registry's store."""
    home, port = layout.postgres, layout.ports["postgres"]
    conf, hba = home.root / "postgresql.conf", home.root / "pg_hba.conf"
    return Server(
        name="postgres",
        command=(
            str(home.bin / "postgres"),
            "-D",
            str(home.data),
            "-c",
            f"config_file={conf}",
            "-c",
            f"hba_file={hba}",
        ),
        files=((conf, pg.configuration(port)), (hba, pg.access())),
        env=(("LC_ALL", "C"),),
        user=home.user,
        ports=("postgres",),
        probe=PostgresAnswers(port, layout.passwords["postgres"]),
        stop_signal=signal.SIGINT,  # "fast": disconnect clients, then checkpoint; SIGTERM waits for them
        prepare=lambda: pg.initialize(home, layout.passwords["postgres"]),
        complete=lambda: pg.bootstrap(port, layout.passwords),
    )


def kafka(layout: Layout) -> Server:
    """Declare Kafka: one KRaft node, broker and controller in one process."""
    config = layout.folder.config / "kafka.properties"
    logging = layout.folder.config / "log4j2.xml"
    port, controller = layout.ports["kafka"], layout.ports["kafka_controller"]
    text = _properties(
        {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
            "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": layout.folder.kafka,
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            # allocated at once, at the start; its default is 128 MB
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
            "num.network.threads": 2,
            "num.io.threads": 4,
        }
    )
    classes = f"{layout.jars}/kafka/*"
    return Server(
        name="kafka",
        command=(
            *_java(layout, "kafka", heap="384m", big_heap="1g"),
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            classes,
            "kafka.Kafka",
            str(config),
        ),
        files=((config, text), (logging, LOG4J)),
        env=_java_environment(layout),
        ports=("kafka", "kafka_controller"),
        probe=KafkaAnswers(port, layout.folder.identity()),
        prepare=lambda: _format(layout, classes, config),
    )


def registry(layout: Layout) -> Server:
    """Declare Apicurio. Its schemas are in a Postgres database of its own, and survive a SIGKILL."""
    port = layout.ports["registry"]
    return Server(
        name="registry",
        command=(
            *_java(layout, "registry", heap="256m", big_heap="512m"),
            "-jar",
            f"{layout.jars}/registry/quarkus-run.jar",
        ),
        env=(
            *_java_environment(layout),
            ("APICURIO_STORAGE_KIND", "sql"),
            ("APICURIO_STORAGE_SQL_KIND", "postgresql"),
            ("APICURIO_DATASOURCE_URL", f"jdbc:postgresql://{LOOPBACK}:{layout.ports['postgres']}/registry"),
            ("APICURIO_DATASOURCE_USERNAME", "registry"),
            ("APICURIO_DATASOURCE_PASSWORD", layout.passwords["registry"]),
            ("APICURIO_DATASOURCE_JDBC_INITIAL_SIZE", "1"),
            ("APICURIO_DATASOURCE_JDBC_MIN_SIZE", "1"),
            ("APICURIO_DATASOURCE_JDBC_MAX_SIZE", "10"),
            ("QUARKUS_HTTP_HOST", LOOPBACK),
            ("QUARKUS_HTTP_PORT", str(port)),
            ("QUARKUS_MANAGEMENT_HOST", LOOPBACK),
            ("QUARKUS_MANAGEMENT_PORT", str(layout.ports["registry_management"])),
        ),
        cwd=layout.folder.run,
        ports=("registry", "registry_management"),
        needs=("postgres",),
        probe=HttpAnswers(port, "/apis/ccompat/v7/subjects"),
    )


def catalog(layout: Layout) -> Server:
    """Declare the MongoDB stand-in, which is in memory: a stop writes the catalog to a file, a crash loses it."""
    port = layout.ports["catalog"]
    arguments = (str(port), CATALOG_EVENTS, str(layout.folder.root / "catalog.bson"))
    return Server(
        name="catalog",
        command=(*_java(layout, "catalog", heap="256m", big_heap="512m"), *stand_in(layout.jars), *arguments),
        env=_java_environment(layout),
        ports=("catalog",),
        probe=CatalogAnswers(port),
    )


def stand_in(jars: Path) -> tuple[str, ...]:
    """Return Java's arguments for the stand-in. A port follows, and optionally a number of change events and a file."""
    return ("-cp", f"{jars}/mongo/classes:{jars}/mongo/libs/*", "headrace.mongo.StandIn")


def connect(layout: Layout) -> Server:
    """Declare Kafka Connect. It starts beside Kafka and waits for it by itself, which saves seconds."""
    config = layout.folder.config / "connect.properties"
    logging = layout.folder.config / "log4j2.xml"
    port = layout.ports["connect"]
    text = _properties(
        {
            "bootstrap.servers": f"{LOOPBACK}:{layout.ports['kafka']}",
            "group.id": "headrace-connect",
            "listeners": f"http://{LOOPBACK}:{port}",
            "rest.advertised.host.name": LOOPBACK,
            "plugin.path": layout.jars / "plugins",
            "plugin.discovery": "service_load",
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "key.converter.schemas.enable": "false",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schemas.enable": "false",
            "offset.storage.topic": "headrace-connect-offsets",
            "offset.storage.replication.factor": 1,
            "offset.storage.partitions": 1,
            "config.storage.topic": "headrace-connect-configs",
            "config.storage.replication.factor": 1,
            "status.storage.topic": "headrace-connect-status",
            "status.storage.replication.factor": 1,
            "status.storage.partitions": 1,
            # how soon the slot's confirmed position follows what has been read: `verify` waits for it
            "offset.flush.interval.ms": 1000,
            # the only worker: no other one could return within five minutes and take its tasks
            "scheduled.rebalance.max.delay.ms": 0,
            "connector.client.config.override.policy": "All",
            "config.providers": "env",
            "config.providers.env.class": "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
            "config.providers.env.param.allowlist.pattern": "HEADRACE_.*",
        }
    )
    return Server(
        name="connect",
        command=(
            *_java(layout, "connect", heap="512m", big_heap="1g"),
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            f"{layout.jars}/kafka/*",
            "org.apache.kafka.connect.cli.ConnectDistributed",
            str(config),
        ),
        files=((config, text), (logging, LOG4J)),
        env=(
            *_java_environment(layout),
            # what connectors/*.json refers to as ${env:NAME}
            ("HEADRACE_CDC_READER_PASSWORD", layout.passwords["cdc_reader"]),
            ("HEADRACE_OLTP_HOST", LOOPBACK),
            ("HEADRACE_OLTP_PORT", str(layout.ports["postgres"])),
            ("HEADRACE_OLTP_DATABASE", "shop"),
            ("HEADRACE_CATALOG_URI", catalog_uri(layout.ports)),
            ("HEADRACE_REGISTRY_CONVERTER_URL", registry_url(layout.ports) + "/apis/registry/v2"),
        ),
        ports=("connect",),
        probe=HttpAnswers(port, "/connectors", expect=("kafka_cluster_id", layout.folder.identity())),
    )


Declarations = Mapping[str, Callable[[Layout], Server]]

SERVERS: Declarations = {
    "postgres": postgres,
    "kafka": kafka,
    "registry": registry,
    "catalog": catalog,
    "connect": connect,
}

# The servers whose JVMs use a cache (stack/aot.py). The catalog's classes lie in a folder, which Java can't cache.
RECORDED = ("kafka", "registry", "connect")

STOP_ORDER = (("connect",), ("registry", "catalog", "kafka"), ("postgres",))

LOG4J = """\
<Configuration>
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d{ISO8601} %p [%t] %c{1}: %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="info"><AppenderRef ref="out"/></Root>
    <Logger name="org.apache.kafka.common.config" level="warn"/>
    <Logger name="org.apache.kafka.clients" level="warn"/>
    <Logger name="kafka.coordinator" level="warn"/>
    <Logger name="kafka.server.KafkaConfig" level="warn"/>
  </Loggers>
</Configuration>
"""


def catalog_uri(ports: Mapping[str, int]) -> str:
    """Return the catalog's URI; the stand-in is a replica set of one member, without passwords."""
    return f"mongodb://{LOOPBACK}:{ports['catalog']}/?replicaSet=rs0"


def registry_url(ports: Mapping[str, int]) -> str:
    return f"http://{LOOPBACK}:{ports['registry']}"


def environment(ports: Mapping[str, int], passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with which `headrace` commands find this stack (operations/settings.py)."""
    postgres_port = str(ports["postgres"])
    return {
        "HEADRACE_OLTP__HOST": LOOPBACK,
        "HEADRACE_OLTP__PORT": postgres_port,
        "HEADRACE_OLTP__DATABASE": "shop",
        "HEADRACE_OLTP__MIGRATOR_PASSWORD": passwords["migrator"],
        "HEADRACE_OLTP__APP_WRITER_PASSWORD": passwords["app_writer"],
        "HEADRACE_OLTP__CDC_READER_PASSWORD": passwords["cdc_reader"],
        "HEADRACE_OLTP__REPORTER_READER_PASSWORD": passwords["reporter_reader"],
        "HEADRACE_OLTP__RETENTION_PASSWORD": passwords["retention"],
        "HEADRACE_REPORTING__ADAPTER": "postgres",
        "HEADRACE_REPORTING__HOST": LOOPBACK,
        "HEADRACE_REPORTING__PORT": postgres_port,
        "HEADRACE_REPORTING__DATABASE": "reporting",
        "HEADRACE_REPORTING__MIGRATOR_PASSWORD": passwords["reporting_migrator"],
        "HEADRACE_REPORTING__WRITER_PASSWORD": passwords["reporting_writer"],
        "HEADRACE_REPORTING__READER_PASSWORD": passwords["reporting_reader"],
        "HEADRACE_REPORTING__RETENTION_PASSWORD": passwords["reporting_retention"],
        "HEADRACE_CATALOG__URI": catalog_uri(ports),
        "HEADRACE_CATALOG__DATABASE": "catalog",
        "HEADRACE_KAFKA__BOOTSTRAP": f"{LOOPBACK}:{ports['kafka']}",
        "HEADRACE_KAFKA__REPLICATION_FACTOR": "1",
        "HEADRACE_KAFKA__MIN_INSYNC_REPLICAS": "1",
        "HEADRACE_REGISTRY__URL": registry_url(ports) + "/apis/ccompat/v7",
        "HEADRACE_REGISTRY__CONVERTER_URL": registry_url(ports) + "/apis/registry/v2",
        "HEADRACE_CONNECT__URL": f"http://{LOOPBACK}:{ports['connect']}",
    }


def _format(layout: Layout, classes: str, config: Path) -> None:
    if (layout.folder.kafka / "meta.properties").exists():
        return
    done = subprocess.run(
        [
            *_java(layout, "kafka", heap="128m", big_heap="128m"),
            "-cp",
            classes,
            "kafka.tools.StorageTool",
            "format",
            "-t",
            layout.folder.identity(),
            "-c",
            str(config),
            "--ignore-formatted",
        ],
        env=dict(_java_environment(layout)),
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise StackError(f"kafka: its storage could not be formatted: {(done.stdout + done.stderr)[-600:]}")


def _java(layout: Layout, server: str, *, heap: str, big_heap: str) -> tuple[str, ...]:
    quick = () if layout.jit else ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
    return (
        str(layout.java),
        *quick,
        *(aot_options(server, layout.caches) if server in RECORDED else ()),
        f"-Xmx{big_heap if layout.jit else heap}",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        "--enable-native-access=ALL-UNNAMED",
    )


def aot_options(server: str, caches: Path) -> tuple[str, ...]:
    """Return Java's options that use a server's cache. The log is off, as a cache that does not fit is no error."""
    return (f"-XX:AOTCache={caches / server}.aot", "-Xlog:aot*=off")


def _java_environment(layout: Layout) -> tuple[tuple[str, str], ...]:
    # Fixed, not inherited: a caller's JAVA_TOOL_OPTIONS or PATH must not change what a server is.
    return (("PATH", "/usr/bin:/bin"), ("HOME", str(layout.folder.root)), ("LANG", "C.UTF-8"))


def _properties(values: Mapping[str, object]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())
