"""`headrace connectors`: the plan and its application, wired from the settings."""

from collections.abc import Callable, Iterable

import orjson
from rich.console import Console

from connectors import admin, capture
from connectors.capture import Servers
from connectors.line import Line
from kafka import clients
from operations import connections
from operations.settings import Settings
from schemas.topics import own_topics

Say = Callable[[str], None]


def show_plan(settings: Settings, out: Console, *, json: bool) -> None:
    """Print what `apply` would do; raises PlanRefused when something stands in its way."""
    found = capture.plan(Line(), servers(settings))
    if json:
        changes = [step.describe() for step in found.changes]
        refused = [step.describe() for step in found.refusals]
        out.print_json(orjson.dumps({"changes": changes, "refused": refused}).decode())
    else:
        for step in found.changes:
            out.print(step.describe(), markup=False, soft_wrap=True)
        out.print(f"{len(found.changes)} change(s), {len(found.steps) - len(found.changes)} as they should be")
    found.check()


def apply(settings: Settings, say: Say) -> int:
    """Make capture match the tables and wait until records flow; returns how many things were changed."""
    found = capture.plan(Line(), servers(settings))
    beats = capture.apply(found, servers(settings), lambda step: say(step.describe()))
    capture.wait_ready(Line(), servers(settings), beats, on_wait=say)
    if not found.changes:
        say("nothing to change; capture streams")
    return len(found.changes)


def make_topics(settings: Settings) -> None:
    """Make the topics that are not there yet: all that workers need of capture to start."""
    wanted = Line().topics()
    seen = admin.seen_topics(settings.kafka.bootstrap, wanted)
    admin.create_topics(settings.kafka.bootstrap, [topic for topic in wanted if topic.name not in seen])


def make_own_topics(settings: Settings, generations: Iterable[int]) -> None:
    """Make the topics that enrichment writes for these generations of reporting, where they are not there yet."""
    bootstrap = settings.kafka.bootstrap
    wanted = [topic for number in generations for topic in own_topics(number)]
    there = clients.present(bootstrap, [topic.name for topic in wanted])
    admin.create_topics(bootstrap, [topic for topic in wanted if topic.name not in there])


def remove(settings: Settings, say: Say, *, topics: bool) -> None:
    """Remove connectors, slot and publication; when asked, what they wrote as well, but never a dead letter."""
    capture.remove(Line(), servers(settings), topics=topics, on_step=say)


def servers(settings: Settings) -> Servers:
    """Where capture's servers are. The source's login is tried now, so that a refusal names the setting."""
    connections.oltp(settings, "migrator").close()
    return Servers(
        oltp=connections.oltp_conninfo(settings, "migrator"),
        bootstrap=settings.kafka.bootstrap,
        connect_url=settings.connect.url,
    )
