"""Find a person's rows in the source as the role retention, by the same declarations as in the archive."""

from collections.abc import Iterable
from typing import Any

import psycopg

from schemas.tables import TABLES, Mode, Source, Table
from sinks.archive.erasure import Ids
from sinks.archive.subject import Subject, personal_tables


class SourcePersonalData:
    """Queries the source's tables with personal data. `connection` is of the role retention, in autocommit."""

    def __init__(self, connection: psycopg.Connection[Any], subject: Subject, tables: Iterable[Table] = TABLES) -> None:
        self._connection, self._subject = connection, subject
        self._tables = [table for table in personal_tables(tables) if table.source is not Source.MONGODB]

    def groups(self) -> set[str]:
        """Return the groups (orders) that the source shows to be the person's."""
        found: set[str] = set()
        for table in self._tables:
            if table.subjects and table.subject_group:
                what = f"SELECT DISTINCT {_field(table.subject_group)}"
                found |= {group for (group,) in self._query(what, table, set()) if group}
        return found

    def events(self, groups: set[str]) -> Ids:
        """Return the ids of the person's events by table."""
        events = [table for table in self._tables if table.mode is Mode.EVENT]
        return {
            table.name: {id_ for (id_,) in self._query(f"SELECT {table.key[-1]}::text", table, groups)}
            for table in events
        }

    def rows(self, groups: set[str]) -> dict[str, int]:
        """Return the number of the person's rows in each other table that holds any."""
        rows = [table for table in self._tables if table.mode is Mode.STATE]
        counts = {table.name: self._query("SELECT count(*)", table, groups)[0][0] for table in rows}
        return {name: count for name, count in counts.items() if count}

    def _query(self, what: str, table: Table, groups: set[str]) -> list[tuple[Any, ...]]:
        conditions = [f"{_field(path)} = %(subject)s" for path in table.subjects]
        if groups and table.subject_group:
            conditions.append(f"{_field(table.subject_group)} = ANY (%(groups)s)")
        theirs = " OR ".join(conditions) or "false"
        query = f"{what} FROM {table.schema}.{table.relation} WHERE tenant_id = %(tenant)s AND ({theirs})"
        parameters = {"tenant": self._subject.tenant, "subject": self._subject.id, "groups": sorted(groups)}
        return self._connection.execute(query.encode(), parameters).fetchall()


def _field(path: str) -> str:
    column, _, name = path.partition(".")
    return f"({column} ->> '{name}')" if name else column
