"""`headrace replay`: a generation of reporting built beside the live one, proven, and shown instead of it.

1. a new generation: its row in `headrace.generation` and its tables, or the one that an earlier run was building
2. its topics
3. its workers, which read the source topics from their beginning
4. events that Kafka has let go, from the archive
5. wait until it is not far behind
6. verify it against the source, row by row
7. its workers no longer spare the machine
8. readers' views turn to it, in one transaction (operations/replay/cutover.py)

A run that ends anywhere is gone on with by the next one: each step looks at what there is, and may be repeated. The
generation before is fed until it is dropped, so that readers can be shown it again.
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from messaging import clients
from operations import barrier, capture, connections, migrate
from operations.barrier import PipelineProbe
from operations.console import invocation
from operations.freshness import Stamp, stamp
from operations.generations import Generation, State, live
from operations.replay import archived_events, drop
from operations.replay.cutover import ReportingMigrator, opened
from operations.replay.progress import Passed, ProgressBoard, sample
from operations.replay.workers import Workers, workers_of
from operations.retention.source import OltpRetention
from operations.settings import Settings
from operations.verify import run
from schemas.errors import HeadraceError, Unavailable
from schemas.failpoints import FailPoint, reached

POLL_S = 0.5
CLOSE = 1_000  # records behind, all topics together: from here on a barrier is a matter of seconds
VERIFY_S = 300.0
SETTLE_S = 15.0  # for which the live generation stands still: its workers wait for 30 s before they try again
SHOW_S = 120.0
ROLLBACK_S = 15.0


class NotEqual(HeadraceError):
    """The new generation differs from the source, so readers still see the old one. See docs/runbook.md#not-equal."""


class RollbackRefused(HeadraceError):
    """The previous generation must not be shown. See docs/runbook.md#rollback-refused."""


def replay(settings: Settings, folder: Path, out: Console, *, max_rate: float = 0, epoch: int | None = None) -> None:
    """Build a generation and show it, or go on with the one that is being built. It reads nothing that was captured
    before `epoch`, by default what the live one does. Each of its workers takes at most `max_rate` records a second
    until it is shown, where they are started here; 0 for no limit.

    Raises HeadraceError while a previous generation is still fed, NotEqual when verification finds a difference, and
    Unavailable when a server does not answer or something could not be decided. Running it again goes on.
    """
    with opened(settings) as reporting:
        drop.finish(settings, folder, reporting, out)
        before = live(reporting.generations())
        new = _begin(settings, reporting, epoch)
        capture.make_topics(settings)
        reached(FailPoint.TOPICS_MADE)
        workers = workers_of(settings, folder, new.number, out)
        workers.start(max_rate)
        reached(FailPoint.WORKERS_STARTED)
        out.print(f"generation {new.number} is being built beside {before.number}, which readers see", markup=False)
        with connections.open_probe(settings, new.number) as probe:
            _fill(settings, new, probe, workers, out)
            _prove(settings, new, probe, workers, out)
            workers.unlimit()
            cut_over(reporting, probe, new, before, SHOW_S)
        reached(FailPoint.GENERATION_SHOWN)
        _say_shown(new, before, out)


def rollback(settings: Settings, out: Console) -> None:
    """Have readers see the previous generation again; the one that they saw until now is fed on.

    Raises RollbackRefused where there is none, where it holds a history that the source has left, and, with figures,
    where it is behind.
    """
    with opened(settings) as reporting:
        found = reporting.generations()
        shown = live(found)
        previous = _previous(found)
        if previous is None or previous.number > shown.number:
            raise RollbackRefused(
                f"generation {shown.number} is live, and no earlier one is fed: nothing to go back to"
            )
        if previous.epoch < shown.epoch:
            raise RollbackRefused(
                f"generation {previous.number} holds rows of epoch {previous.epoch}, whose future the source has left; "
                f"the source is in epoch {shown.epoch}. See docs/runbook.md#rollback-refused"
            )
        try:
            with connections.open_probe(settings, previous.number) as probe:
                cut_over(reporting, probe, previous, shown, ROLLBACK_S)
        except Unavailable as error:
            raise RollbackRefused(
                f"generation {previous.number}: {error}. See docs/runbook.md#rollback-refused"
            ) from None
        out.print(
            f"readers see generation {previous.number} again; {shown.number} is still fed: "
            f"`{invocation('replay --abort')}` removes it",
            markup=False,
        )


def cut_over(
    reporting: ReportingMigrator, probe: PipelineProbe, new: Generation, before: Generation, deadline_s: float
) -> None:
    """Have readers see `new`, whose pipeline is `probe`, once it is not behind `before`. Raises Unavailable."""
    settle = partial(barrier.wait_until_landed, probe, deadline_s=min(SETTLE_S, deadline_s))
    reporting.switch_readers(new.number, before.number, settle, deadline_s)


def _begin(settings: Settings, reporting: ReportingMigrator, epoch: int | None) -> Generation:
    """The generation to build. Retention stands aside while it is made: it deletes from the generations that it found
    when it began."""
    found = reporting.generations()
    for each in found:
        if each.state is State.BUILDING and epoch is not None and each.epoch != epoch:
            raise HeadraceError(
                f"generation {each.number} is being built for epoch {each.epoch}: "
                f"`{invocation('replay --abort')}` first"
            )
        if each.state is State.BUILDING:
            return each
    if (previous := _previous(found)) is not None:
        shown, ends = live(found).number, "drop-old" if previous.number < live(found).number else "abort"
        raise HeadraceError(
            f"readers see generation {shown}, and {previous.number} is still fed: `{invocation(f'replay --{ends}')}` "
            "removes it; then another one can be built"
        )
    with OltpRetention(connections.oltp(settings, "retention")).lock():
        begun = migrate.begin_generation(settings, epoch)
    reached(FailPoint.GENERATION_BEGUN)
    return begun


def _previous(found: Sequence[Generation]) -> Generation | None:
    return next((each for each in found if each.state is State.PREVIOUS), None)


def _fill(settings: Settings, new: Generation, probe: PipelineProbe, workers: Workers, out: Console) -> None:
    """Show how far it is until it is close; meanwhile, once its workers hold the event topics, so that retention keeps
    what they have still to read, land what the archive alone has."""
    whole = False
    with ProgressBoard(out) as board:
        while True:
            workers.check()
            topics = sample(probe)
            if not whole and _claimed(probe):
                events = archived_events.land(settings, new)
                reached(FailPoint.ARCHIVE_LANDED)
                whole = True
                if events:
                    out.print(f"      {events:,} events from the archive", markup=False)
            elif whole and _behind(topics) <= CLOSE:
                board.show_sample(topics, last=True)
                break
            board.show_sample(topics)
            time.sleep(POLL_S)
    reached(FailPoint.CAUGHT_UP)


def _claimed(probe: PipelineProbe) -> bool:
    """Whether a sink holds every partition that it lands from."""
    wanted = clients.partitions(
        probe.bootstrap, [topic for table in probe.pipeline.tables for topic in table.landed_topics]
    )
    held = probe.report.offsets()
    return all((each.topic, each.partition) in held for each in wanted)


def _behind(topics: Sequence[Passed]) -> int:
    return sum(each.behind for each in topics)


def _prove(settings: Settings, new: Generation, probe: PipelineProbe, workers: Workers, out: Console) -> None:
    """Verify it; what is proven is complete, too, so readers who turn to it find it as fresh as that."""
    result = run.verify(settings, generation=new.number, deadline_s=VERIFY_S, on_wait=lambda _: workers.check())
    run.print_result(result, out, json=False)
    if result.different:
        raise NotEqual(
            f"generation {new.number} differs from the source; readers still see the one before. "
            "See docs/runbook.md#not-equal"
        )
    if not result.equal:
        raise Unavailable(f"whether generation {new.number} equals the source could not be decided; run it again")
    for each in result.tables:
        through = result.through[barrier.log_of(each.table)]
        stamp(probe.report, new.number, each.table.name, Stamp.COMPLETE, through)
        stamp(probe.report, new.number, each.table.name, Stamp.VERIFIED, through)
    reached(FailPoint.GENERATION_PROVEN)


def _say_shown(new: Generation, before: Generation, out: Console) -> None:
    out.print(
        f"readers see generation {new.number}. {before.number} is still fed: `{invocation('replay --rollback')}` shows "
        f"it again, `{invocation('replay --drop-old')}` removes it",
        markup=False,
        soft_wrap=True,
    )
