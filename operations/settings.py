"""Read and validate every setting, from the environment or from a stack's own file.

This is the only module that reads the environment. An empty address or password counts as unset: a process is given
only what its command uses (operations/needs.py).
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from operations.needs import NEEDS
from schemas.errors import HeadraceError
from schemas.sizes import LONGEST_VALUE
from schemas.topics import Replication

PREFIX = "HEADRACE_"

UNSET = SecretStr("")
_EXPECTED = {"archive.url": "expected a folder or a bucket, such as s3://bucket/headrace"}

ReportingRole = Literal["migrator", "writer", "reader", "retention"]


class Section(BaseModel):
    """A group of settings. The text below an attribute is its meaning in docs/reference/settings.md (`make docs`)."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class OltpSettings(Section):
    """Postgres, the source. Each role has its own password."""

    host: str = ""
    """Host name or address of the source's Postgres server."""
    port: int = 5432
    """TCP port of the source's Postgres server."""
    database: str = "shop"
    """Database that holds the captured tables."""
    migrator_password: SecretStr = UNSET
    """Password of `migrator`, which owns the database and runs the migrations."""
    app_writer_password: SecretStr = UNSET
    """Password of `app_writer`, the application's role. It inserts and updates, and never deletes."""
    cdc_reader_password: SecretStr = UNSET
    """Password of `cdc_reader`, with which Debezium captures changes. It also writes heartbeats and signals."""
    reporter_reader_password: SecretStr = UNSET
    """Password of `reporter_reader`, with which `verify` and the barrier read the source."""
    retention_password: SecretStr = UNSET
    """Password of `retention`, which reads what it archives and deletes through functions that check a proof."""
    max_value_bytes: int = Field(default=1 << 20, ge=1 << 10, le=LONGEST_VALUE)
    """Longest value, in bytes, that the source accepts where a value may be long, such as an event's payload.
    `headrace migrate` applies it."""


class ReportingSettings(Section):
    """The reporting database: SQL Server, or Postgres in its place."""

    adapter: Literal["postgres", "sqlserver"] = "sqlserver"
    """Database product."""
    host: str = ""
    """Host name or address of the reporting database."""
    port: int = 0
    """TCP port of the reporting database. It has no default and must be set."""
    database: str = "reporting"
    """Database that holds the report."""
    generation: int = Field(default=1, ge=1)
    """Generation of reporting that this process's workers feed. It names their schema, consumer groups and topics."""
    max_rate: float = Field(default=0, ge=0)
    """Highest number of records a second for each worker, so that a rebuild leaves capacity to the live pipeline.
    0 means no limit."""
    odbc: str = "Encrypt=yes"
    """Further ODBC attributes for SQL Server, such as `Encrypt=yes;TrustServerCertificate=no`."""
    migrator_user: str = "reporting_migrator"
    """Login that runs the migrations. You create it; the migrations create the other roles."""
    migrator_password: SecretStr = UNSET
    """Password of `migrator_user`."""
    writer_password: SecretStr = UNSET
    """Password of `reporting_writer`, with which the sinks land changes."""
    reader_password: SecretStr = UNSET
    """Password of `reporting_reader`, which reads the views in schema `report`."""
    retention_password: SecretStr = UNSET
    """Password of `reporting_retention`, which deletes rows that are proven to be archived."""

    def user(self, role: ReportingRole) -> str:
        """Return the name that `role` logs in with."""
        return self.migrator_user if role == "migrator" else f"reporting_{role}"


class CatalogSettings(Section):
    """MongoDB, the product catalog."""

    uri: str = ""
    """Connection string, without user and password."""
    database: str = "catalog"
    """Database of the catalog. It is part of the captured topics' names, so it can't be changed later."""
    user: str | None = None
    """User name. Unset where MongoDB runs without authentication, as the stand-in does."""
    password: SecretStr | None = None
    """Password of `user`."""


class KafkaSettings(Section):
    """Kafka's brokers. With the default replication the loss of one broker loses no record and stops no write."""

    bootstrap: str = ""
    """Addresses of the first brokers to contact, `host:port`, separated by commas."""
    replication_factor: int = Field(default=3, ge=1)
    """Replicas of each topic that Headrace creates."""
    min_insync_replicas: int = Field(default=2, ge=1)
    """Replicas that must have stored a record before its write is confirmed. At most `replication_factor`."""

    @model_validator(mode="after")
    def _can_be_written(self) -> "KafkaSettings":
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError("min_insync_replicas is larger than replication_factor: no record could be written")
        return self

    @property
    def replication(self) -> Replication:
        """Both replication settings in the form in which topics take them."""
        return Replication(factor=self.replication_factor, in_sync=self.min_insync_replicas)


class RegistrySettings(Section):
    """The schema registry."""

    url: str = ""
    """URL of an API that is compatible with Confluent's (for Apicurio `http://…/apis/ccompat/v7`)."""


class ConnectSettings(Section):
    """Kafka Connect."""

    url: str = ""
    """URL of Kafka Connect's REST API."""


class EnrichSettings(Section):
    """The enrichment worker, `headrace run enrich`."""

    group: str = "headrace-enrich"
    """Consumer group of generation 1. Later generations append their number."""
    http_host: str = "127.0.0.1"
    """Address on which `/healthz`, `/readyz` and `/metrics` are served."""
    http_port: int = 0
    """Port on which they are served. 0 means any free port, which the log names."""
    state_dir: Path | None = None
    """Parent of the folder that each worker creates for Faust's files and deletes at its end. Unset, it is the stack's
    folder, or that of temporary files where there is no stack. No state is kept in it."""


class SinkSettings(Section):
    """The reporting sink worker, `headrace run report`."""

    group: str = "headrace-report"
    """Consumer group of generation 1. Later generations append their number."""
    http_host: str = "127.0.0.1"
    """Address on which `/healthz`, `/readyz` and `/metrics` are served."""
    http_port: int = 0
    """Port on which they are served. 0 means any free port, which the log names."""
    batch: int = Field(default=10_000, ge=1)
    """Highest number of records in a batch."""
    linger_ms: int = Field(default=100, ge=0)
    """Longest time, in milliseconds, that a batch waits for more records."""


class VerifySettings(Section):
    """The metrics of `headrace verify --follow`."""

    http_host: str = "127.0.0.1"
    """Address on which `/metrics` is served."""
    http_port: int = 0
    """Port on which it is served. 0 means any free port, which is printed."""


class ArchiveSettings(Section):
    """The archive, and its worker, `headrace run archive`."""

    url: str | None = None
    """A folder, or a bucket such as `s3://bucket/headrace`. fsspec's own variables, such as AWS_ACCESS_KEY_ID, hold
    the credentials."""
    endpoint: str | None = None
    """URL of an S3 service that isn't Amazon's."""
    group: str = "headrace-archive"
    """Consumer group of the archive worker."""
    http_host: str = "127.0.0.1"
    """Address on which `/healthz`, `/readyz` and `/metrics` are served."""
    http_port: int = 0
    """Port on which they are served. 0 means any free port, which the log names."""
    roll_bytes: int = Field(default=16 << 20, ge=1)
    """Size of all open files together, in bytes, at which they are published."""
    roll_seconds: float = Field(default=900.0, gt=0)
    """Longest time, in seconds, that the first event of the open files waits until they are published."""
    codec: Literal["zstandard", "deflate"] = "zstandard"
    """Compression of the Avro files. DuckDB's Avro reader (1.5.5) reads `deflate` only."""
    spool: Path | None = None
    """Folder for open files. Unset, it is beside a local archive, or in the system's temporary folder."""


class WatchSettings(Section):
    """The freshness worker, `headrace run watch`."""

    http_host: str = "127.0.0.1"
    """Address on which `/healthz`, `/readyz` and `/metrics` are served."""
    http_port: int = 0
    """Port on which they are served. 0 means any free port, which the log names."""
    seconds: float = Field(default=1.0, gt=0)
    """Seconds between two measurements of freshness and two checks of the source's history."""


class RetentionSettings(Section):
    """Retention."""

    policy: Path | None = None
    """TOML file with the policy. Unset, it is `operations/retention/policy.toml`."""


class Settings(BaseSettings):
    """All settings. `HEADRACE_OLTP__HOST` sets `oltp.host`, and so on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="ignore")

    oltp: OltpSettings = OltpSettings()
    reporting: ReportingSettings = ReportingSettings()
    catalog: CatalogSettings = CatalogSettings()
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    connect: ConnectSettings = ConnectSettings()
    enrich: EnrichSettings = EnrichSettings()
    sink: SinkSettings = SinkSettings()
    archive: ArchiveSettings = ArchiveSettings()
    watch: WatchSettings = WatchSettings()
    retention: RetentionSettings = RetentionSettings()
    verify: VerifySettings = VerifySettings()

    def require(self, *names: str) -> None:
        """Check that each of `names`, such as `oltp.host`, is set.

        Raises:
            HeadraceError: At least one is unset; the message names all of them.
        """
        missing = [name for name in names if not self._value(name)]
        if missing:
            lines = [f"{_variable(name.split('.'))}: {_EXPECTED.get(name, 'field required')}" for name in missing]
            raise HeadraceError(_explain(lines, env_file()))

    def _value(self, name: str) -> object:
        section, _, field = name.partition(".")
        return getattr(getattr(self, section), field)

    def of_generation(self, generation: int) -> "Settings":
        """Return a copy of these settings for workers that feed another generation of reporting."""
        return self.model_copy(update={"reporting": self.reporting.model_copy(update={"generation": generation})})


def env_file() -> Path:
    """Return the settings file: HEADRACE_ENV_FILE, or the file that `headrace up` writes in the stack's folder."""
    named = os.environ.get(f"{PREFIX}ENV_FILE")
    return Path(named) if named else stack_dir() / "headrace.env"


def stack_dir() -> Path:
    """Return the folder of the stack without Docker: HEADRACE_STACK_DIR, or `.headrace` in the current folder."""
    return Path(os.environ.get(f"{PREFIX}STACK_DIR", ".headrace"))


def adopt(environment: Mapping[str, str]) -> Settings:
    """Set the variables of a stack that is starting, for this process and its children, and return the settings."""
    os.environ.update(environment)
    return load()


def of(command: str) -> Settings:
    """Load the settings for a command that operations/needs.py lists, and check that those it needs are set."""
    return load(NEEDS[command])


def load(needs: Iterable[str] = ()) -> Settings:
    """Read the settings. The environment takes precedence over the file.

    Raises:
        HeadraceError: A value is invalid, or one of `needs` is unset; the message names all of them.
    """
    path = env_file()
    try:
        settings = Settings(_env_file=path)  # type: ignore[call-arg]  # the rest comes from the environment
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        lines = [f"{_variable(problem['loc'])}: {problem['msg'].lower()}" for problem in problems]
        raise HeadraceError(_explain(lines, path)) from None
    settings.require(*needs)
    return settings


def _variable(parts: Iterable[object]) -> str:
    return PREFIX + "__".join(str(part).upper() for part in parts)


def _explain(lines: Iterable[str], path: Path) -> str:
    where = f"the environment and {path}" if path.exists() else f"the environment ({path} does not exist)"
    return f"settings from {where}:\n  " + "\n  ".join(lines) + "\nStart a local stack with `headrace up`, or set them."
