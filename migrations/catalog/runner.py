"""MongoDB's migrations: numbered files of plain database commands, applied in order and recorded in `migrations`.

MongoDB has no transaction around such commands, so each is harmless when repeated: after a crash, or beside a second
run, a file is simply applied again.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson import json_util
from pymongo.database import Database
from pymongo.errors import OperationFailure

from schemas.errors import HeadraceError

Document = dict[str, Any]
COLLECTION = "migrations"
_NAMESPACE_EXISTS = 48
_ROLE_EXISTS = 51002


def migrate(database: Database[Document], *, folder: Path | None = None) -> list[str]:
    """Apply what is not applied yet; the names of what was. Raises HeadraceError that names the file at fault."""
    done = {document["_id"] for document in database[COLLECTION].find({}, {"_id": 1})}
    roles_are_kept = _authenticated(database)
    applied = []
    for path in _files(folder or Path(__file__).parent):
        commands = _commands(path)
        # Without logins, roles have no effect. The file is applied once there are logins.
        if path.stem in done or ("createRole" in commands[0] and not roles_are_kept):
            continue
        for command in commands:
            try:
                _run(database, command)
            except OperationFailure as error:
                raise HeadraceError(f"migrations/catalog/{path.name}: {next(iter(command))} refused: {error}") from None
        database[COLLECTION].update_one({"_id": path.stem}, {"$set": {"applied_at": datetime.now(UTC)}}, upsert=True)
        applied.append(path.stem)
    return applied


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.json")))


def _commands(path: Path) -> list[Document]:
    commands: list[Document] = json_util.loads(path.read_text(encoding="utf-8"))
    return commands


def _authenticated(database: Database[Document]) -> bool:
    try:
        status = database.command("connectionStatus")
    except OperationFailure:  # a stand-in without users does not know the command
        return False
    return bool(status.get("authInfo", {}).get("authenticatedUsers"))


def _run(database: Database[Document], command: Document) -> None:
    try:
        database.command(_in_database(command, database.name))
    except OperationFailure as error:
        rest = {name: value for name, value in command.items() if name not in ("create", "createRole")}
        if error.code == _NAMESPACE_EXISTS and "create" in command:
            if rest:
                database.command({"collMod": command["create"], **rest})
        elif error.code == _ROLE_EXISTS:
            database.command(_in_database({"updateRole": command["createRole"], **rest}, database.name))
        else:
            raise


def _in_database(command: Document, name: str) -> Document:
    """Return the command with this database's name in its privileges, which the file can't contain."""
    if "privileges" not in command:
        return command
    privileges = [{**p, "resource": {"db": name, **p["resource"]}} for p in command["privileges"]]
    return {**command, "privileges": privileges}
