"""What `headrace verify --repair` has kept of a person: rows that it took out of reporting."""

from collections.abc import Iterable, Set

import orjson

from schemas.tables import Table
from sinks.archive.erasure import Ids
from sinks.archive.subject import Subject, group_of, is_of
from sinks.reporting.retention import RetentionStore

Kept = dict[Table, list[str]]  # rows by their table, each as it is stored


def repairs_of(
    reporting: RetentionStore, tables: Iterable[Table], subject: Subject, groups: Set[str], ids: Ids
) -> Kept:
    """What is the person's of it: a row that names the person, belongs to one of their `groups`, those that such a row
    shows included, or is one of `ids`."""
    kept = {table: [(text, orjson.loads(text)) for text in reporting.repaired(table)] for table in tables}
    shown = {group for table, rows in kept.items() for _, row in rows for group in group_of(table, subject)(row)}
    found: Kept = {}
    for table, rows in kept.items():
        theirs = is_of(table, subject, set(groups | shown), ids.get(table.name, set()))
        if some := [text for text, row in rows if theirs(row)]:
            found[table] = some
    return found
