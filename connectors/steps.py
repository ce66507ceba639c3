"""The steps of a plan, and what it reports without changing it. No I/O: connectors/apply.py carries them out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.pipeline import Config
from schemas.topics import Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRefusal:
    """A state that no step can correct."""

    about: str
    reason: str

    def describe(self) -> str:
        """One line."""
        return f"{self.about}: REFUSED: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """A part that is in the declared state."""

    about: str

    def describe(self) -> str:
        """One line."""
        return f"{self.about}: unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A fact that an operator should know and that applying does not change."""

    about: str
    text: str

    def describe(self) -> str:
        """One line."""
        return f"{self.about}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTopic:
    """A topic to create."""

    topic: Topic

    def describe(self) -> str:
        """One line."""
        settings = ", ".join(f"{name}={value}" for name, value in self.topic.config.items())
        return f"topic {self.topic.name}: create with {self.topic.partitions} partition(s), {settings}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterTopic:
    """A topic whose settings have drifted. `config` holds the settings to correct."""

    name: str
    config: Mapping[str, str]

    def describe(self) -> str:
        """One line."""
        settings = ", ".join(f"{name}={value}" for name, value in self.config.items())
        return f"topic {self.name}: set {settings}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFullIdentity:
    """A leaf partition whose updates would lack unchanged TOASTed values."""

    relation: str

    def describe(self) -> str:
        """One line."""
        return f"table {self.relation}: set REPLICA IDENTITY FULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePublication:
    """The publication is missing. `backfill` holds the tables whose rows have to be read again, if any."""

    name: str
    relations: tuple[str, ...]
    backfill: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line."""
        text = f"publication {self.name}: create for {', '.join(self.relations)}"
        return f"{text}; read all rows of {', '.join(self.backfill)}" if self.backfill else text


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterPublication:
    """Tables to publish from now on, their existing rows to be read, and tables to publish no longer."""

    name: str
    add: tuple[str, ...]
    drop: tuple[str, ...]
    backfill: tuple[str, ...]

    def describe(self) -> str:
        """One line."""
        parts = []
        if self.add:
            parts.append(f"add {', '.join(self.add)}")
        if self.backfill:
            parts.append(f"read the rows that {', '.join(self.backfill)} already had")
        if self.drop:
            parts.append(f"drop {', '.join(self.drop)}")
        return f"publication {self.name}: {'; '.join(parts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateConnector:
    """A connector to create."""

    name: str
    config: Config = field(repr=False)

    def describe(self) -> str:
        """One line."""
        return f"connector {self.name}: create"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateConnector:
    """A connector to reconfigure. It is stopped, and stays stopped until its Resume."""

    name: str
    config: Config = field(repr=False)
    changed: tuple[str, ...]

    def describe(self) -> str:
        """One line; names the fields, not their values."""
        return f"connector {self.name}: update {', '.join(self.changed)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """A connector that is, or will be, stopped."""

    name: str

    def describe(self) -> str:
        """One line."""
        return f"connector {self.name}: start again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A connector that has failed."""

    name: str
    failure: str

    def describe(self) -> str:
        """One line."""
        return f"connector {self.name}: restart; it failed: {self.failure}; see docs/runbook.md#connector-failed"


Step = (
    PlanRefusal
    | Unchanged
    | Note
    | CreateTopic
    | AlterTopic
    | SetFullIdentity
    | CreatePublication
    | AlterPublication
    | CreateConnector
    | UpdateConnector
    | Resume
    | Restart
)
