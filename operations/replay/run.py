"""Rebuild reporting as a new generation beside the live one, verify it, and cut readers over to it: `headrace replay`.

1. Create a new generation: its row in `headrace.generation` and its tables. Resume the one that an earlier run was
   building, if there is one.
2. Create its topics.
3. Start its workers, which read the source topics from their beginning (the backfill).
4. Land events that Kafka no longer has, from the archive.
5. Wait until the lag is small.
6. Verify it against the source, row by row.
7. Lift the limit on its workers' rate.
8. Cut over: swap readers' views to it, in one transaction (operations/replay/cutover.py).

A run that was killed is resumed by the next one: each step checks what exists and is idempotent. The previous
generation still receives changes until it is dropped, so that a rollback can show it to readers again.
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
from operations.probe import open_probe
from operations.replay import archived_events, drop
from operations.replay.cutover import ReportingMigrator, opened
from operations.replay.progress import ProgressBoard, TopicProgress, read_progress
from operations.replay.workers import Workers, workers_of
from operations.retention.source import OltpRetention
from operations.settings import Settings
from operations.verify import run
from schemas.errors import HeadraceError, Unavailable
from schemas.failpoints import FailPoint, reached

POLL_S = 0.5
CLOSE = 1_000  # records of lag in all topics together: from here on a barrier takes seconds
VERIFY_S = 300.0
SETTLE_S = 15.0  # during which the live generation is locked: its workers wait for 30 s before they retry
CUTOVER_S = 120.0
ROLLBACK_S = 15.0


class NotEqual(HeadraceError):
    """The new generation differs from the source, so readers still see the old one. See docs/runbook.md#not-equal."""


class RollbackRefused(HeadraceError):
    """The previous generation must not be shown. See docs/runbook.md#rollback-refused."""


def replay(settings: Settings, folder: Path, out: Console, *, max_rate: float = 0, epoch: int | None = None) -> None:
    """Build a generation and cut readers over to it, or resume the one that is being built.

    Args:
        settings: Where the servers are.
        folder: The folder of the local stack, whose workers are started here.
        out: Where progress is printed.
        max_rate: The maximum number of records a second for each worker until cutover, if workers are started here; 0
            for no limit.
        epoch: The generation skips records that were captured before this epoch; None for the live generation's.

    Raises:
        HeadraceError: A previous generation still receives changes.
        NotEqual: Verification found a difference.
        Unavailable: A server does not answer, or a row could not be decided. Running the command again resumes.
    """
    with opened(settings) as reporting:
        drop.finish_drops(settings, folder, reporting, out)
        before = live(reporting.generations())
        new = begin(settings, reporting, epoch)
        capture.make_topics(settings)
        reached(FailPoint.TOPICS_MADE)
        workers = workers_of(settings, folder, new.number, out)
        workers.start(max_rate)
        reached(FailPoint.WORKERS_STARTED)
        out.print(f"generation {new.number} is being built beside {before.number}, which readers see", markup=False)
        with open_probe(settings, new.number) as probe:
            _fill(settings, new, probe, workers, out)
            _prove(settings, new, probe, workers, out)
            workers.unlimit()
            cut_over(reporting, probe, new, before, CUTOVER_S)
        reached(FailPoint.CUT_OVER)
        _print_cutover(new, before, out)


def rollback(settings: Settings, out: Console) -> None:
    """Cut readers over to the previous generation. The one that they saw until now still receives changes.

    Raises:
        RollbackRefused: There is no previous generation, it has a history that the source has left, or it lags; then
            the message has the lag.
    """
    with opened(settings) as reporting:
        found = reporting.generations()
        shown = live(found)
        previous = _previous(found)
        if previous is None or previous.number > shown.number:
            raise RollbackRefused(
                f"generation {shown.number} is live, and no earlier one receives changes, so there is none to roll "
                "back to"
            )
        if previous.epoch < shown.epoch:
            raise RollbackRefused(
                f"generation {previous.number} has rows of epoch {previous.epoch}, a history that the source has left; "
                f"the source is in epoch {shown.epoch}. See docs/runbook.md#rollback-refused"
            )
        try:
            with open_probe(settings, previous.number) as probe:
                cut_over(reporting, probe, previous, shown, ROLLBACK_S)
        except Unavailable as error:
            raise RollbackRefused(
                f"generation {previous.number}: {error}. See docs/runbook.md#rollback-refused"
            ) from None
        out.print(
            f"readers see generation {previous.number} again; {shown.number} still receives changes: "
            f"`{invocation('replay --abort')}` removes it",
            markup=False,
        )


def cut_over(
    reporting: ReportingMigrator, probe: PipelineProbe, new: Generation, before: Generation, deadline_s: float
) -> None:
    """Swap readers' views to `new`, whose pipeline is `probe`, once it is not behind `before`.

    Raises:
        Unavailable: The swap was not possible within `deadline_s` seconds. Readers still see `before`.
    """
    settle = partial(barrier.wait_until_landed, probe, deadline_s=min(SETTLE_S, deadline_s))
    reporting.swap_views(new.number, before.number, settle, deadline_s)


def begin(settings: Settings, reporting: ReportingMigrator, epoch: int | None) -> Generation:
    """Return the generation to build; create it unless an earlier run did.

    Retention is locked out meanwhile, as it deletes from the generations that existed when it began.

    Raises:
        HeadraceError: Another generation is being built for another epoch, or a previous one still receives changes.
    """
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
            f"readers see generation {shown}, and {previous.number} still receives changes: "
            f"`{invocation(f'replay --{ends}')}` removes it; then another one can be built"
        )
    with connections.oltp(settings, "retention") as source, OltpRetention(source).lock():
        begun = migrate.begin_generation(settings, epoch)
    reached(FailPoint.GENERATION_BEGUN)
    return begun


def _previous(found: Sequence[Generation]) -> Generation | None:
    return next((each for each in found if each.state is State.PREVIOUS), None)


def _fill(settings: Settings, new: Generation, probe: PipelineProbe, workers: Workers, out: Console) -> None:
    """Show the backfill's progress until the lag is small.

    Events that only the archive has are landed once the workers are assigned the event topics: from then on retention
    keeps the records that they have yet to read.
    """
    landed = False
    with ProgressBoard(out) as board:
        while True:
            workers.check()
            topics = read_progress(probe)
            if not landed and _claimed(probe):
                events = archived_events.land_archived(settings, new)
                reached(FailPoint.ARCHIVE_LANDED)
                landed = True
                if events:
                    out.print(f"      {events:,} events from the archive", markup=False)
            elif landed and _behind(topics) <= CLOSE:
                board.show_sample(topics, last=True)
                break
            board.show_sample(topics)
            time.sleep(POLL_S)
    reached(FailPoint.CAUGHT_UP)


def _claimed(probe: PipelineProbe) -> bool:
    """Return whether a sink has a checkpoint for every partition that it lands from."""
    wanted = clients.partitions(
        probe.bootstrap, [topic for table in probe.pipeline.tables for topic in table.landed_topics]
    )
    landed = probe.report.offsets()
    return all((each.topic, each.partition) in landed for each in wanted)


def _behind(topics: Sequence[TopicProgress]) -> int:
    return sum(each.behind for each in topics)


def _prove(settings: Settings, new: Generation, probe: PipelineProbe, workers: Workers, out: Console) -> None:
    """Verify the generation, and record how fresh it is: what is verified is also complete.

    Raises:
        NotEqual: A row differs.
        Unavailable: A row could not be decided.
    """
    result = run.verify(settings, generation=new.number, deadline_s=VERIFY_S, on_wait=lambda _: workers.check())
    run.print_result(result, out, json=False)
    if result.different:
        raise NotEqual(
            f"generation {new.number} differs from the source; readers still see the one before. "
            "See docs/runbook.md#not-equal"
        )
    if not result.equal:
        raise Unavailable(
            f"whether generation {new.number} equals the source could not be decided; run the command again"
        )
    for each in result.tables:
        through = result.through[barrier.source_of(each.table)]
        stamp(probe.report, new.number, each.table.name, Stamp.COMPLETE, through)
        stamp(probe.report, new.number, each.table.name, Stamp.VERIFIED, through)
    reached(FailPoint.GENERATION_PROVEN)


def _print_cutover(new: Generation, before: Generation, out: Console) -> None:
    out.print(
        f"readers see generation {new.number}. {before.number} still receives changes: "
        f"`{invocation('replay --rollback')}` shows it again, `{invocation('replay --drop-old')}` removes it",
        markup=False,
        soft_wrap=True,
    )
