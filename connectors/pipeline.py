"""One line of capture: what the two connectors, their topics, slot and publication are called, and what they carry.

The running system has one line. A test that harms capture has a line of its own, from the same JSON files.
"""

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

from schemas.sizes import record_bytes
from schemas.tables import TABLES, Source, Table
from schemas.topics import PREFIX, Replication, Topic, topics

Config = dict[str, str]

HEARTBEAT = "sales.heartbeat"
SIGNALS = "sales.debezium_signal"
CATALOG_HEARTBEAT = "heartbeat"

_BUFFER = 32 << 20  # bytes of other records that wait with the largest one to be sent: the producer's default

# The event's fields beside its payload; the EventRouter handles `payload` itself.
_ROUTED = frozenset({"payload", "event_day"})
_PLACEHOLDER = re.compile(r"(?<!\$)\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The tables that one pipeline captures, and the names that it uses.

    Connect reads values that start with `${env:` from its own environment: no secret is in a configuration. `database`,
    `user` and `password` are those of the source; `uri` is that of MongoDB, `catalog` its database. `epoch` is the
    history of the source that capture reads (`headrace.epoch`), stamped on every record. `replication` is that of the
    topics; None leaves it to the brokers.
    """

    tables: tuple[Table, ...] = TABLES
    name: str = "headrace"
    prefix: str = PREFIX
    database: str = "${env:HEADRACE_OLTP_DATABASE}"
    user: str = "cdc_reader"
    password: str = "${env:HEADRACE_CDC_READER_PASSWORD}"  # noqa: S105  # a reference
    uri: str = "${env:HEADRACE_CATALOG_URI}"
    catalog: str = "catalog"
    epoch: int = 1
    replication: Replication | None = None

    @property
    def slot(self) -> str:
        """The replication slot."""
        return self.name

    @property
    def publication(self) -> str:
        """The publication."""
        return self.name

    @property
    def relations(self) -> tuple[str, ...]:
        """The Postgres tables that are published: the declared ones, the heartbeat and Debezium's signals."""
        declared = [_relation(table) for table in self.tables if table.source is not Source.MONGODB]
        return (*declared, HEARTBEAT, SIGNALS)

    @property
    def full_identity(self) -> tuple[str, ...]:
        """The Postgres tables whose leaves need REPLICA IDENTITY FULL: those whose rows change."""
        declared = [_relation(table) for table in self.tables if table.source is Source.POSTGRES]
        return (*declared, HEARTBEAT)

    @property
    def collections(self) -> tuple[str, ...]:
        """The MongoDB collections that are captured; empty where no declared table comes from MongoDB."""
        declared = [table.relation for table in self.tables if table.source is Source.MONGODB]
        return tuple(f"{self.catalog}.{name}" for name in [*declared, CATALOG_HEARTBEAT]) if declared else ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """The sources that a connector is needed for."""
        return (Source.POSTGRES, Source.MONGODB) if self.collections else (Source.POSTGRES,)

    def connector(self, source: Source) -> str:
        """Return the connector's name in Connect."""
        return f"{self.name}-{source}"

    def heartbeat_topic(self, source: Source) -> str:
        """Return the topic of the connector's own heartbeats."""
        return f"__debezium-heartbeat.{source}.{self.prefix}"

    def topics(self) -> tuple[Topic, ...]:
        """Return the topics of this pipeline. One with another prefix has no workers, and none of their topics."""
        found = []
        for topic in topics(self.tables):
            name = self._renamed(topic.name)
            if name is not None:
                named = replace(topic, name=name)
                found.append(self.replication.of(named) if self.replication else named)
        return tuple(found)

    def own_topics(self) -> tuple[str, ...]:
        """Return the topics that the connectors write: captured records and heartbeats."""
        beats = {self.heartbeat_topic(source) for source in (Source.POSTGRES, Source.MONGODB)}
        names = [topic.name for topic in self.topics()]
        return tuple(name for name in names if name in beats or name.startswith(f"{self.prefix}."))

    def captured(self, source: Source) -> tuple[str, ...]:
        """Return the topics of the rows that the connector of `source` captures."""
        read = [table for table in self.tables if (table.source is Source.MONGODB) == (source is Source.MONGODB)]
        return tuple(dict.fromkeys(self.topic(name) for table in read for name in table.captured_topics))

    def topic(self, name: str) -> str:
        """Return this pipeline's name of the reference pipeline's captured topic `name`."""
        return self._renamed(name) or name

    def config(self, source: Source) -> Config:
        """Return the connector's configuration, ready for Connect."""
        size = record_bytes(self.tables)
        values = {
            "record_bytes": str(size),
            "buffer_bytes": str(size + _BUFFER),
            "prefix": self.prefix,
            "database": self.database,
            "user": self.user,
            "password": self.password,
            "publication": self.publication,
            "slot": self.slot,
            "uri": self.uri,
            "catalog": self.catalog,
            "epoch": str(self.epoch),
            "relations": ",".join(map(re.escape, self.relations)),
            "collections": ",".join(map(re.escape, self.collections)),
            "outbox_fields": ",".join(self._outbox_fields()),
        }
        return {name: _filled(text, values) for name, text in template(source).items()}

    def _outbox_fields(self) -> list[str]:
        outbox = [table for table in self.tables if table.source is Source.OUTBOX]
        columns = [column.name for table in outbox for column in table.columns if column.name not in _ROUTED]
        return [f"{name}:envelope" for name in columns] or ["event_id:envelope"]

    def _renamed(self, name: str) -> str | None:
        if self.prefix == PREFIX:
            return name
        if name.startswith(f"{PREFIX}."):
            return self.prefix + name.removeprefix(PREFIX)
        return f"{name.removesuffix(PREFIX)}{self.prefix}" if name.endswith(f".{PREFIX}") else None


@lru_cache
def template(source: Source) -> Config:
    """Return the connector's JSON file with unfilled placeholders."""
    found: Config = json.loads(files("connectors").joinpath(f"{source}.json").read_text("utf-8"))
    return found


def _relation(table: Table) -> str:
    return f"{table.schema}.{table.relation}"


def _filled(text: str, values: Config) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)
