"""Find a person's rows among those that `headrace verify --repair` took out of reporting and kept."""

from collections.abc import Iterable, Set

import orjson

from schemas.tables import Table
from sinks.archive.erasure import Ids
from sinks.archive.subject import Subject, belongs_to, group_of
from sinks.reporting.retention import RetentionStore

RepairCopies = dict[Table, list[str]]  # rows by table, each as the stored JSON text


def find_repair_copies(
    reporting: RetentionStore, tables: Iterable[Table], subject: Subject, groups: Set[str], ids: Ids
) -> RepairCopies:
    """Return the person's rows.

    A row is the person's where it names the person, belongs to one of the person's groups (`groups`, and those shown by
    rows that name the person), or its id is one of `ids`.
    """
    kept = {table: [(text, orjson.loads(text)) for text in reporting.repaired(table)] for table in tables}
    shown = {group for table, rows in kept.items() for _, row in rows for group in group_of(table, subject)(row)}
    found: RepairCopies = {}
    for table, rows in kept.items():
        theirs = belongs_to(table, subject, set(groups | shown), ids.get(table.name, set()))
        if some := [text for text, row in rows if theirs(row)]:
            found[table] = some
    return found
