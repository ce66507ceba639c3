"""The `headrace dlq` commands. Their work is imported when one runs, as in operations/cli.py."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from operations import settings as configuration
from operations.commands.options import Json
from operations.console import EXIT_FAILED, invoking_user, out

if TYPE_CHECKING:  # not at run time: its libraries take long to import
    from operations.dlq.decisions import Journal
    from operations.dlq.letters import Letter, LetterSelection

app = typer.Typer(no_args_is_help=True, help="The dead letters: records that could not be decoded or stored.")

FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"]
Target = Annotated[
    str | None,
    typer.Argument(metavar="[GROUP|ORIGIN]", help="A group from `ls`, or a record: topic[partition]@offset."),
]
Error = Annotated[str | None, typer.Option(metavar="TEXT", help="Only those with this text in their error.")]
Key = Annotated[str | None, typer.Option(metavar="KEY|NAME=VALUE", help="Only this key, or keys with this column.")]
Topic = Annotated[str | None, typer.Option(metavar="NAME", help="Only those from this topic.")]
Since = Annotated[datetime | None, typer.Option(formats=FORMATS, help="Last rejected at this time (UTC) or later.")]
Until = Annotated[datetime | None, typer.Option(formats=FORMATS, help="Last rejected before this time (UTC).")]
All = Annotated[bool, typer.Option("--all", help="Also those that were redriven or discarded.")]
By = Annotated[str | None, typer.Option(metavar="WHO", help="The person who decides; by default user@host.")]


@app.command()
def ls(topic: Topic = None, every: All = False, json: Json = False) -> None:
    """List the open dead letters, grouped by topic and error."""
    from operations.dlq import output
    from operations.dlq.letters import groups

    output.print_groups(groups(_found(_selection(topic=topic, settled=every))), out, json=json)


@app.command()
def show(target: Target, json: Json = False) -> None:
    """Print the records of a group, or one record, decoded as far as possible, with the runbook's advice."""
    from messaging.registry import Registry
    from operations.dlq import output

    found = _found(_selection(target=target, settled=True))
    if not found:
        raise typer.BadParameter(f"no dead letter is of group or origin {target!r}", param_hint="GROUP|ORIGIN")
    output.print_letters(found, Registry(configuration.of("dlq show").registry.url, patience=2.0), out, json=json)


@app.command()
def redrive(  # noqa: PLR0913, PLR0917  # its options
    target: Target = None,
    error: Error = None,
    key: Key = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    every: All = False,
    by: By = None,
    json: Json = False,
) -> None:
    """Send open dead letters again and print the outcome of each. Newer rows are kept. Exit 1 when one is left open."""
    from operations.dlq import output, targets
    from operations.dlq import redrive as sending

    settings = configuration.of("dlq redrive")
    found = _found(_selection(target, error, key, topic, since, until, every))
    outcomes: list[tuple[Letter, sending.RedriveOutcome]] = []
    try:
        if found:
            with targets.open_targets(settings) as opened:
                for sent in sending.redrive(found, opened, _journal(), by=by or invoking_user()):
                    outcomes.append(sent)
    finally:
        output.print_outcomes(outcomes, out, json=json)
    if not all(outcome.verdict.closes for _, outcome in outcomes):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def discard(  # noqa: PLR0913, PLR0917  # its options
    reason: Annotated[str, typer.Option(help="The reason; it is recorded with the person and time.")],
    target: Target = None,
    error: Error = None,
    key: Key = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Close open dead letters without sending them. Until retention deletes them, `redrive --all` still sends them."""
    from operations.dlq import output
    from operations.dlq.decisions import Verdict
    from operations.dlq.redrive import RedriveOutcome, decision

    selection = _selection(target, error, key, topic, since, until)
    if selection == _selection():
        raise typer.BadParameter("expected a group, an origin, or an option that selects", param_hint="GROUP|ORIGIN")
    if not reason.strip():
        raise typer.BadParameter("expected a reason", param_hint="--reason")
    outcome, journal = RedriveOutcome(verdict=Verdict.DISCARDED, detail=reason), _journal()
    found = _found(selection)
    for letter in found:
        journal.write(decision(letter, outcome, by=by or invoking_user()))
    output.print_outcomes([(letter, outcome) for letter in found], out, json=json)


def _selection(  # noqa: PLR0913, PLR0917  # the options
    target: str | None = None,
    error: str | None = None,
    key: str | None = None,
    topic: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    settled: bool = False,
) -> "LetterSelection":
    from operations.dlq.letters import LetterSelection

    begin, end = (at and at.replace(tzinfo=UTC) for at in (since, until))
    return LetterSelection(target=target, error=error, key=key, topic=topic, since=begin, until=end, settled=settled)


def _found(selection: "LetterSelection") -> "list[Letter]":
    from messaging.dead_letters import stored
    from operations.dlq.letters import letters

    found = letters(stored(configuration.of("dlq").kafka.bootstrap), _journal().read())
    return [letter for letter in found if selection.matches(letter)]


def _journal() -> "Journal":
    from operations.dlq.decisions import Journal

    return Journal(configuration.of("dlq").kafka.bootstrap)
