"""Compute the steps that bring Kafka, Postgres and Connect to the declared state. No I/O: apply.py carries them out.

The order of the steps is part of the promise:

1. Topics, replica identities and a first publication: they must exist before a connector starts.
2. Connectors. A changed one stays stopped, so that no task with the old table list reads what comes next.
3. Tables that are new to an existing publication, and the signal to read the rows that they already hold, in one
   transaction. So a table is either published and about to be read, or still new to the next plan.
4. The stopped connectors start again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from connectors.pipeline import SIGNALS, Config, Pipeline
from schemas.errors import HeadraceError
from schemas.sizes import LARGEST_RECORD, largest_record
from schemas.tables import Source
from schemas.topics import MIN_IN_SYNC, Topic

RUNNING, STOPPED, PAUSED, FAILED, UNASSIGNED = "RUNNING", "STOPPED", "PAUSED", "FAILED", "UNASSIGNED"


class PlanRefused(HeadraceError):
    """The present state can't be corrected without a loss. Each line says what to do. Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTopic:
    """The present state of a topic: its partitions, the values of its settings, and its replicas.

    `replicas` is that of the partition with the fewest.
    """

    partitions: int
    config: Mapping[str, str]
    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenConnector:
    """The present state of a connector.

    `failure` is the first line of its, or its task's, trace. `offsets` says whether it has committed any.
    """

    config: Config
    state: str
    failure: str | None = None
    offsets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The present state.

    `publication` holds table names, None without a publication. `slot` is its wal_status, None without a slot.
    `relations` are the declared tables that exist. `lacking_full` are the leaves of changing tables without FULL.
    """

    topics: Mapping[str, SeenTopic]
    relations: frozenset[str]
    publication: frozenset[str] | None
    lacking_full: tuple[str, ...]
    slot: str | None
    connectors: Mapping[str, SeenConnector]


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
        said = f"publication {self.name}: create for {', '.join(self.relations)}"
        return f"{said}; read all rows of {', '.join(self.backfill)}" if self.backfill else said


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterPublication:
    """Tables to publish from now on, their existing rows to be read, and tables to publish no longer."""

    name: str
    add: tuple[str, ...]
    drop: tuple[str, ...]
    backfill: tuple[str, ...]

    def describe(self) -> str:
        """One line."""
        said = []
        if self.add:
            said.append(f"add {', '.join(self.add)}")
        if self.backfill:
            said.append(f"read the rows that {', '.join(self.backfill)} already had")
        if self.drop:
            said.append(f"drop {', '.join(self.drop)}")
        return f"publication {self.name}: {'; '.join(said)}"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of applying, in order."""

    pipeline: Pipeline
    steps: tuple[Step, ...]

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that change something; none in the declared state."""
        return tuple(step for step in self.steps if not isinstance(step, (Unchanged, Note, PlanRefusal)))

    @property
    def notes(self) -> tuple[Note, ...]:
        """Facts that an operator should know."""
        return tuple(step for step in self.steps if isinstance(step, Note))

    @property
    def refusals(self) -> tuple[PlanRefusal, ...]:
        """The refusals, which prevent applying."""
        return tuple(step for step in self.steps if isinstance(step, PlanRefusal))

    def describe(self) -> list[str]:
        """Return one line for each step."""
        return [step.describe() for step in self.steps]

    def check(self) -> None:
        """Check that nothing prevents applying.

        Raises:
            PlanRefused: There are refusals.
        """
        if self.refusals:
            raise PlanRefused("\n".join(refusal.describe() for refusal in self.refusals))


def plan(pipeline: Pipeline, seen: Seen) -> Plan:
    """Return the steps from the present state `seen` to the declared state of `pipeline`."""
    steps: list[Step] = [*_obstacles(pipeline, seen)]
    steps += [step for topic in pipeline.topics() for step in _topic(topic, seen.topics.get(topic.name))]
    steps += [SetFullIdentity(relation=leaf) for leaf in seen.lacking_full]
    publication = _publication(pipeline, seen)
    first = seen.slot is None
    if first:
        steps.append(publication)
    connectors = [step for source in pipeline.sources for step in _connector(pipeline, source, seen)]
    steps += [step for step in connectors if not isinstance(step, Resume)]
    if not first:
        steps.append(publication)
    steps += [step for step in connectors if isinstance(step, Resume)]
    return Plan(pipeline=pipeline, steps=tuple(steps))


def _obstacles(pipeline: Pipeline, seen: Seen) -> Iterable[PlanRefusal]:
    for relation in pipeline.relations:
        if relation not in seen.relations:
            yield PlanRefusal(about=f"table {relation}", reason="it does not exist; run `headrace migrate` first")
    for table in pipeline.tables:
        if (size := largest_record(table)) > LARGEST_RECORD:
            yield PlanRefusal(
                about=f"table {table.name}",
                reason=f"a record of it may take {size} bytes, more than the {LARGEST_RECORD} that Kafka carries; "
                "declare a length for its texts (docs/runbook.md#record-too-large)",
            )
    capture = seen.connectors.get(pipeline.connector(Source.POSTGRES))
    if seen.slot == "lost" or (seen.slot is None and capture is not None and capture.offsets):
        found = "is lost: it fell too far behind" if seen.slot else "is gone, but capture had begun"
        yield PlanRefusal(
            about=f"replication slot {pipeline.slot}",
            reason=f"it {found}, so changes are missing; see docs/runbook.md#slot-missing",
        )


def _topic(wanted: Topic, seen: SeenTopic | None) -> Iterable[Step]:
    about = f"topic {wanted.name}"
    if seen is None:
        yield CreateTopic(topic=wanted)
        return
    if seen.partitions != wanted.partitions:
        yield PlanRefusal(
            about=about,
            reason=f"it has {seen.partitions} partitions where schemas/tables.py says {wanted.partitions}; a key must "
            "keep its partition, so the number can't change (docs/runbook.md#wrong-partition-count)",
        )
        return
    config = dict(wanted.config)
    if wanted.replicas is not None and seen.replicas < wanted.replicas:
        yield Note(
            about=about,
            text=f"WARNING: it has {seen.replicas} replica(s) where HEADRACE_KAFKA__REPLICATION_FACTOR says "
            f"{wanted.replicas}; see docs/runbook.md#too-few-replicas",
        )
        # More in sync than there are replicas would refuse every write.
        config.pop(MIN_IN_SYNC, None)
    drifted = {name: value for name, value in config.items() if seen.config.get(name) != value}
    yield AlterTopic(name=wanted.name, config=drifted) if drifted else Unchanged(about=about)


def _publication(pipeline: Pipeline, seen: Seen) -> Step:
    begun = seen.slot is not None
    if seen.publication is None:
        backfill = _read_again(pipeline.relations) if begun else ()
        return CreatePublication(name=pipeline.publication, relations=pipeline.relations, backfill=backfill)
    add = tuple(name for name in pipeline.relations if name not in seen.publication)
    drop = tuple(sorted(seen.publication - set(pipeline.relations)))
    if not add and not drop:
        return Unchanged(about=f"publication {pipeline.publication}")
    backfill = _read_again(add) if begun else ()
    return AlterPublication(name=pipeline.publication, add=add, drop=drop, backfill=backfill)


def _read_again(relations: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in relations if name != SIGNALS)


def _connector(pipeline: Pipeline, source: Source, seen: Seen) -> Iterable[Step]:
    name, config = pipeline.connector(source), pipeline.config(source)
    found = seen.connectors.get(name)
    if found is None:
        yield CreateConnector(name=name, config=config)
        return
    wanted = config | {"name": name}
    added = {key: value for key, value in found.config.items() if key not in wanted}
    if added:
        yield Note(about=f"connector {name}", text=f"keeps what was added to it: {', '.join(sorted(added))}")
    changed = tuple(sorted(key for key in wanted if wanted[key] != found.config.get(key)))
    if changed:
        yield UpdateConnector(name=name, config=added | config, changed=changed)
    if changed or found.state in (STOPPED, PAUSED):
        yield Resume(name=name)
    elif found.state == FAILED:
        yield Restart(name=name, failure=found.failure or "no reason given")
    else:
        yield Unchanged(about=f"connector {name}")
