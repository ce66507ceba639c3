"""Compute the steps that bring Kafka, Postgres and Connect to the declared state. No I/O: apply.py carries them out.

The order of the steps is part of the promise:

1. Topics, replica identities and a first publication: they must exist before a connector starts.
2. Connectors. A changed one stays stopped, so that no task with the old table list reads what comes next.
3. Tables that are new to an existing publication, and the signal to read the rows that they already hold, in one
   transaction. So a table is either published and about to be read, or still new to the next plan.
4. The stopped connectors start again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from connectors.pipeline import SIGNALS, Pipeline
from connectors.state import FAILED, PAUSED, STOPPED, Seen, SeenTopic
from connectors.steps import (
    AlterPublication,
    AlterTopic,
    CreateConnector,
    CreatePublication,
    CreateTopic,
    Note,
    PlanRefusal,
    Restart,
    Resume,
    SetFullIdentity,
    Step,
    Unchanged,
    UpdateConnector,
)
from schemas.errors import HeadraceError
from schemas.sizes import LARGEST_RECORD, largest_record
from schemas.tables import Source
from schemas.topics import MIN_IN_SYNC, Topic


class PlanRefused(HeadraceError):
    """The present state can't be corrected without a loss. Each line says what to do. Nothing was changed."""


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
    steps += [step for topic in pipeline.topics() for step in _diff_topic(topic, seen.topics.get(topic.name))]
    steps += [SetFullIdentity(relation=leaf) for leaf in seen.lacking_full]
    publication = _diff_publication(pipeline, seen)
    first = seen.slot is None
    if first:
        steps.append(publication)
    connectors = [step for source in pipeline.sources for step in _diff_connector(pipeline, source, seen)]
    steps += [step for step in connectors if not isinstance(step, Resume)]
    if not first:
        steps.append(publication)
    steps += [step for step in connectors if isinstance(step, Resume)]
    return Plan(pipeline=pipeline, steps=tuple(steps))


def _obstacles(pipeline: Pipeline, seen: Seen) -> Iterable[PlanRefusal]:
    """Yield refusals for what no step can correct: missing tables, records that are too large, a lost slot."""
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


def _diff_topic(wanted: Topic, seen: SeenTopic | None) -> Iterable[Step]:
    """Diff a declared topic against the present one."""
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


def _diff_publication(pipeline: Pipeline, seen: Seen) -> Step:
    """Diff the publication's declared tables against the present ones.

    Tables that are added after capture has begun are also backfilled: their existing rows are read.
    """
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


def _diff_connector(pipeline: Pipeline, source: Source, seen: Seen) -> Iterable[Step]:
    """Diff a connector's declared configuration against the one in Connect.

    Settings that an operator added are kept. Steps print the names of settings, never their values.
    """
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
