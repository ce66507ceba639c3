"""Find a person's records by the columns that a table declares in schemas/tables.py (`subjects`, `subject_group`)."""

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
        """The person's identity in an erasure record: SHA-256 of `tenant/id`."""
        return hashlib.sha256(f"{self.tenant}/{self.id}".encode()).hexdigest()


def personal_tables(tables: Iterable[Table] = TABLES) -> tuple[Table, ...]:
    """Return the archived tables that hold personal data."""
    return tuple(table for table in tables if table.ages_by and (table.subjects or table.subject_group))


def group_of(table: Table, subject: Subject) -> Callable[[Datum], Iterator[str]]:
    """Return a function that yields a record's group (its order) where the record names the subject."""
    named, group = names_subject(table, subject), _field(table.subject_group or "")

    def find(datum: Datum) -> Iterator[str]:
        if named(datum) and (found := group(datum)):
            yield found

    return find


def names_subject(table: Table, subject: Subject) -> Callable[[Datum], bool]:
    """Return a function that tells whether a record itself names the subject."""
    fields = [_field(path) for path in table.subjects]
    return lambda datum: datum["tenant_id"] == subject.tenant and any(field(datum) == subject.id for field in fields)


def belongs_to(table: Table, subject: Subject, groups: set[str], ids: set[str]) -> Callable[[Datum], bool]:
    """Return a function that tells whether a record is the subject's.

    It is where it names the subject, belongs to one of the `groups`, or its id is one of `ids`.
    """
    named, group, id_ = names_subject(table, subject), _field(table.subject_group or ""), id_of(table)

    def find(datum: Datum) -> bool:
        if datum["tenant_id"] != subject.tenant:
            return False
        return named(datum) or group(datum) in groups or id_(datum) in ids

    return find


def id_of(table: Table) -> Callable[[Datum], str]:
    """Return a function from a record to its id in an erasure record.

    The id is the key without the tenant and the column by which the table ages: for an event, the event's id.
    """
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
    except orjson.JSONDecodeError:  # jsonb accepts larger numbers and deeper documents
        try:
            return json.loads(text, parse_int=str, parse_float=str)
        except RecursionError:
            raise HeadraceError("a document is nested too deeply to be searched for a person") from None
