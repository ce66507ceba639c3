"""Whose a record is: found by what its table declares in schemas/tables.py (`subjects`, `subject_group`)."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.errors import HeadraceError
from schemas.tables import TABLES, Table
from sinks.archive.files import Datum


@dataclass(frozen=True, slots=True)
class Subject:
    """A person, as a customer of one tenant."""

    tenant: str
    id: str

    @property
    def sha256(self) -> str:
        """By what a tombstone knows the person: SHA-256 of `tenant/id`."""
        return hashlib.sha256(f"{self.tenant}/{self.id}".encode()).hexdigest()


def personal(tables: Iterable[Table] = TABLES) -> tuple[Table, ...]:
    """The tables that hold what is a person's and are archived."""
    return tuple(table for table in tables if table.ages_by and (table.subjects or table.subject_group))


def group_of(table: Table, subject: Subject) -> Callable[[Datum], Iterator[str]]:
    """A function from a record to the group that it shows to be the subject's, if it does."""
    named, group = named_by(table, subject), _field(table.subject_group or "")

    def find(datum: Datum) -> Iterator[str]:
        if named(datum) and (found := group(datum)):
            yield found

    return find


def named_by(table: Table, subject: Subject) -> Callable[[Datum], bool]:
    """Whether a record itself names the subject."""
    fields = [_field(path) for path in table.subjects]
    return lambda datum: datum["tenant_id"] == subject.tenant and any(field(datum) == subject.id for field in fields)


def is_of(table: Table, subject: Subject, groups: set[str], ids: set[str]) -> Callable[[Datum], bool]:
    """Whether a record is the subject's: it names the subject, belongs to one of the `groups`, or is one of `ids`."""
    named, group, id_ = named_by(table, subject), _field(table.subject_group or ""), id_of(table)

    def find(datum: Datum) -> bool:
        if datum["tenant_id"] != subject.tenant:
            return False
        return named(datum) or group(datum) in groups or id_(datum) in ids

    return find


def id_of(table: Table) -> Callable[[Datum], str]:
    """What a tombstone calls a record: its key without the tenant and the column by which it ages. An event's id."""
    names = [name for name in table.key if name not in ("tenant_id", table.ages_by)]
    return lambda datum: "/".join(str(datum[name]) for name in names)


def _field(path: str) -> Callable[[Datum], str | None]:
    column, _, name = path.partition(".")
    if not name:
        return lambda datum: datum.get(column)
    return lambda datum: _in_json(datum[column], name)


def _in_json(text: str, name: str) -> str | None:
    document = _document(text)
    found = document.get(name) if isinstance(document, dict) else None
    return found if found is None else str(found)


def _document(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # jsonb takes greater numbers, and deeper documents
        try:
            return json.loads(text, parse_int=str, parse_float=str)
        except RecursionError:
            raise HeadraceError("a document is nested too deeply to be searched for a person") from None
