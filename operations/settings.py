"""Every setting, typed, from the environment or from a stack's own file. The only module that reads the environment.

An address or a password that is empty isn't set: a process is given only what its command uses (operations/needs.py).
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from operations.needs import NEEDS
from schemas.errors import HeadraceError
from schemas.sizes import LONGEST_VALUE
from schemas.topics import Replication

PREFIX = "HEADRACE_"

UNSET = SecretStr("")
_EXPECTED = {"archive.url": "expected a folder or a bucket, such as s3://bucket/headrace"}

ReportingRole = Literal["migrator", "writer", "reader", "retention"]


class OltpSettings(BaseModel):
    """Postgres, the source. Each role has its own password. `max_value_bytes` is the longest value that the source
    accepts where a value may be long (an event's payload); `headrace migrate` applies it."""

    host: str = ""
    port: int = 5432
    database: str = "shop"
    migrator_password: SecretStr = UNSET
    app_writer_password: SecretStr = UNSET
    cdc_reader_password: SecretStr = UNSET
    reporter_reader_password: SecretStr = UNSET
    retention_password: SecretStr = UNSET
    max_value_bytes: int = Field(default=1 << 20, ge=1 << 10, le=LONGEST_VALUE)


class ReportingSettings(BaseModel):
    """The reporting database: SQL Server, or Postgres where there is none. `odbc` are further ODBC attributes,
    such as `Encrypt=yes;TrustServerCertificate=no`. The migrations make the other roles; the migrator is yours.

    `generation` is the one that workers of this process feed; it names their schema, groups and topics. `max_rate` is
    how many records a second each of them takes at most, so that a rebuild leaves room for the live line; 0: no limit.
    """

    adapter: Literal["postgres", "sqlserver"] = "sqlserver"
    host: str = ""
    port: int = 0
    database: str = "reporting"
    generation: int = Field(default=1, ge=1)
    max_rate: float = Field(default=0, ge=0)
    odbc: str = "Encrypt=yes"
    migrator_user: str = "reporting_migrator"
    migrator_password: SecretStr = UNSET
    writer_password: SecretStr = UNSET
    reader_password: SecretStr = UNSET
    retention_password: SecretStr = UNSET

    def user(self, role: ReportingRole) -> str:
        """The name that `role` logs in with."""
        return self.migrator_user if role == "migrator" else f"reporting_{role}"


class CatalogSettings(BaseModel):
    """MongoDB. `uri` carries no password; user and password stand beside it, and are absent where there is no
    authentication (the stand-in). `database` is in the names of the captured topics: it stays what it is."""

    uri: str = ""
    database: str = "catalog"
    user: str | None = None
    password: SecretStr | None = None


class KafkaSettings(BaseModel):
    """Kafka's brokers. Topics are made with `replication_factor` replicas, `min_insync_replicas` of which must have
    stored a record before it counts as written: with the defaults a lost broker loses nothing and stops nothing."""

    bootstrap: str = ""
    replication_factor: int = Field(default=3, ge=1)
    min_insync_replicas: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _can_be_written(self) -> "KafkaSettings":
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError("min_insync_replicas is larger than replication_factor: no record could be written")
        return self

    @property
    def replication(self) -> Replication:
        """Both, as the topics are told."""
        return Replication(factor=self.replication_factor, in_sync=self.min_insync_replicas)


class RegistrySettings(BaseModel):
    """The schema registry; `url` speaks Confluent's API (for Apicurio .../apis/ccompat/v7)."""

    url: str = ""


class ConnectSettings(BaseModel):
    """Kafka Connect's REST API."""

    url: str = ""


class EnrichSettings(BaseModel):
    """The enrichment worker. `group` is what its consumer group is called for generation 1. Health and metrics are
    served on `http_host:http_port`; port 0 is a free one."""

    group: str = "headrace-enrich"
    http_host: str = "127.0.0.1"
    http_port: int = 0
    state_dir: Path | None = None


class SinkSettings(BaseModel):
    """The reporting sink worker. `group` as above. `batch` is a number of records, `linger_ms` how long one may wait
    for more."""

    group: str = "headrace-report"
    http_host: str = "127.0.0.1"
    http_port: int = 0
    batch: int = Field(default=10_000, ge=1)
    linger_ms: int = Field(default=100, ge=0)


class VerifySettings(BaseModel):
    """`headrace verify --follow`. Metrics are served on `http_host:http_port`; port 0 is a free one."""

    http_host: str = "127.0.0.1"
    http_port: int = 0


class ArchiveSettings(BaseModel):
    """The archive and its worker. `url` is a folder, or a bucket such as `s3://bucket/headrace` (fsspec's own settings,
    AWS_ACCESS_KEY_ID for one, say how it is reached; `endpoint` is for an S3 that isn't Amazon's). Open files are
    published when all of them together have `roll_bytes` or the first event has waited `roll_seconds`. They lie in
    `spool` (by default beside a local archive, else where temporary files go). DuckDB reads `deflate` only."""

    url: str | None = None
    endpoint: str | None = None
    group: str = "headrace-archive"
    http_host: str = "127.0.0.1"
    http_port: int = 0
    roll_bytes: int = Field(default=16 << 20, ge=1)
    roll_seconds: float = Field(default=900.0, gt=0)
    codec: Literal["zstandard", "deflate"] = "zstandard"
    spool: Path | None = None


class WatchSettings(BaseModel):
    """The worker that crosses barriers and looks whether the source's history goes on, every `seconds`."""

    http_host: str = "127.0.0.1"
    http_port: int = 0
    seconds: float = Field(default=1.0, gt=0)


class RetentionSettings(BaseModel):
    """Retention. `policy` is a TOML file; without one it is operations/retention/policy.toml."""

    policy: Path | None = None


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
        """Raises HeadraceError that names each of these (`oltp.host`) that is not set."""
        missing = [name for name in names if not self._value(name)]
        if missing:
            lines = [f"{_variable(name.split('.'))}: {_EXPECTED.get(name, 'field required')}" for name in missing]
            raise HeadraceError(_explain(lines, env_file()))

    def _value(self, name: str) -> object:
        section, _, field = name.partition(".")
        return getattr(getattr(self, section), field)

    def of_generation(self, generation: int) -> "Settings":
        """These settings, for workers that feed another generation of reporting."""
        return self.model_copy(update={"reporting": self.reporting.model_copy(update={"generation": generation})})


def env_file() -> Path:
    """The file with settings: HEADRACE_ENV_FILE, else the one that `headrace up` writes in the stack's folder."""
    named = os.environ.get(f"{PREFIX}ENV_FILE")
    return Path(named) if named else stack_dir() / "headrace.env"


def stack_dir() -> Path:
    """The folder of the stack without Docker: HEADRACE_STACK_DIR, else `.headrace` here."""
    return Path(os.environ.get(f"{PREFIX}STACK_DIR", ".headrace"))


def adopt(environment: Mapping[str, str]) -> Settings:
    """Settings of a stack that is just starting; this process and those that it starts use them from here on."""
    os.environ.update(environment)
    return load()


def of(command: str) -> Settings:
    """As `load`, for a command that operations/needs.py lists."""
    return load(NEEDS[command])


def load(needs: Iterable[str] = ()) -> Settings:
    """The settings; the environment wins over the file. Raises HeadraceError that names each wrong one, and each of
    `needs` that is not set."""
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
