"""A command requires the settings that it uses, names each missing one, and starts without the others."""

import ast
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from operations import connections, migrate, settings
from operations.cli import app
from operations.commands import archive
from operations.commands.workers import WorkerName
from operations.needs import NEEDS, of
from operations.settings import PREFIX
from schemas.errors import HeadraceError
from tests.support.setting_names import setting_names, variable

SERVERS = {"up", "down", "demo"}  # they start the servers, whose settings they make
VALUES = {"reporting.port": "1433", "catalog.uri": "mongodb://nowhere"}


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in setting_names(settings.Settings):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{PREFIX}ENV_FILE", str(tmp_path / "none.env"))


def give(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setenv(variable(name), VALUES.get(name, "given"))


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from leaves(each, (*words, name))
    else:
        yield words


def asked_for(folder: Path) -> set[str]:
    """Return the entries for which the commands in `folder` ask: `configuration.of("verify")`."""
    found: set[str] = set()
    for path in folder.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            match call:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="configuration"), attr="of"), args=[argument]):
                    found |= texts(argument)
    return found


def texts(argument: ast.expr) -> set[str]:
    match argument:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp(body=body, orelse=orelse):
            return texts(body) | texts(orelse)
        case ast.JoinedStr(values=[ast.Constant(value="run "), ast.FormattedValue()]):
            return {f"run {worker.value}" for worker in WorkerName}
    raise AssertionError(f"not a name of settings: {ast.unparse(argument)}")


def test_the_entries_are_those_that_the_commands_ask_for():
    assert asked_for(Path(archive.__file__).parent) == NEEDS.keys()


def test_every_command_is_listed():
    for words in leaves(typer.main.get_command(app)):
        if words[0] in SERVERS:
            continue
        for line in [(*words, worker.value) for worker in WorkerName] if words == ("run",) else [words]:
            assert of(line), line


@pytest.mark.parametrize("command", NEEDS)
def test_each_setting_that_is_missing_is_named_at_the_start(command: str):
    with pytest.raises(HeadraceError, match="Start a local stack") as refused:
        settings.of(command)
    for name in NEEDS[command]:
        assert f"\n  {variable(name)}: " in str(refused.value)


def test_only_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    give(monkeypatch, "kafka.bootstrap", "registry.url")
    with pytest.raises(HeadraceError) as refused:
        settings.of("run archive")
    said = [line.strip() for line in str(refused.value).splitlines() if line.startswith("  ")]
    assert said == [f"{PREFIX}ARCHIVE__URL: expected a folder or a bucket, such as s3://bucket/headrace"]


def test_workers_that_land_know_no_other_roles_password():
    assert [name for name in NEEDS["run report"] if "password" in name] == ["reporting.writer_password"]
    for worker in ("run enrich", "run archive"):
        assert not any("password" in name for name in NEEDS[worker])


def test_a_password_that_is_used_and_was_not_asked_for_is_named():
    unset = settings.Settings(_env_file=None)
    for connect in (connections.oltp_conninfo, connections.reporting_conninfo):
        with pytest.raises(HeadraceError, match=r"_MIGRATOR_PASSWORD: field required"):
            connect(unset, "migrator")
    for migrating in (migrate.migrate_oltp, migrate.migrate_reporting, migrate.begin_generation):
        with pytest.raises(HeadraceError, match=r"_MIGRATOR_PASSWORD: field required"):
            migrating(unset)
    with pytest.raises(HeadraceError, match=r"CATALOG__URI: field required"):
        migrate.migrate_catalog(unset)
    with pytest.raises(HeadraceError, match=r"OLTP__MIGRATOR_PASSWORD: field required"):
        migrate.make_partitions(unset, date(2026, 11, 1), date(2026, 11, 1))
