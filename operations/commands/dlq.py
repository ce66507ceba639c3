"""The `headrace dlq` commands. What each does is imported when it runs, as in operations/cli.py."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from operations import settings as configuration
from operations.invoked import who
from operations.terminal import WRONG, Json, out

if TYPE_CHECKING:  # its libraries are imported where dead letters are used
    from operations.dlq.decisions import Journal
    from operations.dlq.letters import Letter, LetterSelection

app = typer.Typer(no_args_is_help=True, help="The dead letters: records that could not be understood or stored.")

FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"]
Target = Annotated[
    str | None,
    typer.Argument(metavar="[GROUP|ORIGIN]", help="A group of `ls`, or a record: topic[partition]@offset."),
]
Error = Annotated[str | None, typer.Option(metavar="TEXT", help="Whose error holds this text.")]
Key = Annotated[str | None, typer.Option(metavar="KEY|NAME=VALUE", help="Of this key, or with this in the key.")]
Topic = Annotated[str | None, typer.Option(metavar="NAME", help="From this topic.")]
Since = Annotated[datetime | None, typer.Option(formats=FORMATS, help="Last refused at this time (UTC) or later.")]
Until = Annotated[datetime | None, typer.Option(formats=FORMATS, help="Last refused before this time (UTC).")]
All = Annotated[bool, typer.Option("--all", help="Those on which something was decided, too.")]
By = Annotated[str | None, typer.Option(metavar="WHO", help="Who decides; you on this machine, if not said.")]


@app.command()
def ls(topic: Topic = None, every: All = False, json: Json = False) -> None:
    """List the open dead letters, grouped by topic and error."""
    from operations.dlq import shown
    from operations.dlq.letters import groups

    shown.show_groups(groups(_found(_selection(topic=topic, settled=every))), out, json=json)


@app.command()
def show(target: Target, json: Json = False) -> None:
    """Print the records of a group, or one record, as far as they can be decoded, and what the runbook says."""
    from messaging.registry import Registry
    from operations.dlq import shown

    found = _found(_selection(target=target, settled=True))
    if not found:
        raise typer.BadParameter(f"no dead letter is of group or origin {target!r}", param_hint="GROUP|ORIGIN")
    shown.show_letters(found, Registry(configuration.of("dlq show").registry.url, patience=2.0), out, json=json)


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
    """Send open dead letters again and say what became of each. A newer row stays as it is. Exit 1 when one is left."""
    from operations.dlq import redrive as sending
    from operations.dlq import shown, targets

    settings = configuration.of("dlq redrive")
    found = _found(_selection(target, error, key, topic, since, until, every))
    outcomes: list[tuple[Letter, sending.RedriveOutcome]] = []
    try:
        if found:
            with targets.ways(settings) as open_ways:
                for sent in sending.redrive(found, open_ways, _journal(), by=by or who()):
                    outcomes.append(sent)
    finally:
        shown.show_outcomes(outcomes, out, json=json)
    if not all(outcome.verdict.closes for _, outcome in outcomes):
        raise typer.Exit(WRONG)


@app.command()
def discard(  # noqa: PLR0913, PLR0917  # its options
    reason: Annotated[str, typer.Option(help="Why nobody needs them; it is kept, with who and when.")],
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
    from operations.dlq import shown
    from operations.dlq.decisions import Verdict
    from operations.dlq.redrive import RedriveOutcome, decision

    selection = _selection(target, error, key, topic, since, until)
    if selection == _selection():
        raise typer.BadParameter("say which: a group, an origin, or an option that selects", param_hint="GROUP|ORIGIN")
    if not reason.strip():
        raise typer.BadParameter("expected a reason", param_hint="--reason")
    outcome, journal = RedriveOutcome(verdict=Verdict.DISCARDED, detail=reason), _journal()
    found = _found(selection)
    for letter in found:
        journal.write(decision(letter, outcome, by=by or who()))
    shown.show_outcomes([(letter, outcome) for letter in found], out, json=json)


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
