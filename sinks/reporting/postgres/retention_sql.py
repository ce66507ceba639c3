"""The Postgres dialect of retention: SQL with its parameters. Opens nothing. Golden files: tests/golden/postgres."""

from collections.abc import Collection, Sequence
from datetime import date

from schemas.tables import Table
from sinks.reporting.cutoff import TENANT, Cutoff
from sinks.reporting.postgres.checksum_sql import text_hash
from sinks.reporting.postgres.landing_sql import target
from sinks.reporting.query import Query
from sinks.reporting.retention import PAGE
from sinks.reporting.staging import event_id

NUMBER = "_n"

SESSION = (
    "SET enable_hashjoin = off",  # a batch touches few rows of a large table
    "SET enable_mergejoin = off",
    "SET TimeZone = 'UTC'",  # a day is compared with an instant
    "SET statement_timeout = '1h'",
    # While a cutoff waits for a sink, other sinks wait behind it; they give up after 30 s.
    "SET lock_timeout = '20s'",
)


def generations() -> str:
    """Select the schemas of this database that have a checkpoint table, readable or not."""
    return "SELECT schemaname FROM pg_tables WHERE tablename = 'checkpoint'"


def lock_cutoffs() -> str:
    """Lock the cutoffs: wait for transactions that have read them, and block readers until this one ends."""
    return "LOCK TABLE retention.cutoff IN ACCESS EXCLUSIVE MODE"


def set_cutoff(cutoff: Cutoff) -> Sequence[Query]:
    """Upsert a cutoff. `before` never moves back; `held` is replaced."""
    sql = """\
INSERT INTO retention.cutoff AS c (part, before, held, set_at) VALUES (%s, %s, %s, now())
ON CONFLICT (part) DO UPDATE
SET before = greatest(c.before, excluded.before), held = excluded.held, set_at = excluded.set_at"""
    return [(sql, (cutoff.part, cutoff.before, cutoff.held_text()))]


def event_sums(table: Table, generation: int, before: date, held: Collection[str]) -> Query:
    """Select day, tenant, count and sum of hashes of the events before `before`, except those of `held` tenants."""
    return (
        f"""\
SELECT "{table.ages_by}", "{TENANT}", count(*), sum({_hash(event_id(table))})
FROM {target(table, generation)}
WHERE "{table.ages_by}" < %s AND NOT "{TENANT}" = ANY(%s::text[])
GROUP BY "{table.ages_by}", "{TENANT}\"""",
        (before, list(held)),
    )


def event_ids(table: Table, generation: int, day: date, tenant: str, after: str) -> Query:
    """Select the first PAGE of a tenant's sorted event ids of a day that are greater than `after`."""
    name = event_id(table)
    return (
        f"""\
SELECT "{name}" FROM {target(table, generation)}
WHERE "{TENANT}" = %s AND "{table.ages_by}" = %s AND "{name}" > %s
ORDER BY "{name}" LIMIT %s""",
        (tenant, day, after, PAGE),
    )


def retire_events(table: Table, generation: int, day: date, tenants: Collection[str]) -> Query:
    """Delete the tenants' events of a day, and return tenant, count and sum of hashes of the deleted events."""
    name = event_id(table)
    return (
        f"""\
WITH gone AS (
    DELETE FROM {target(table, generation)} WHERE "{TENANT}" = ANY(%s::text[]) AND "{table.ages_by}" = %s
    RETURNING "{TENANT}", "{name}"
)
SELECT "{TENANT}", count(*), sum({_hash(name)}) FROM gone GROUP BY "{TENANT}\"""",
        (list(tenants), day),
    )


def erase_events(tenant: str, ids: Collection[str]) -> Query:
    """Record events as erased, so that no sink inserts them. Idempotent."""
    return (
        """\
INSERT INTO retention.erased_event (tenant_id, event_id) SELECT %s, unnest(%s::text[])
ON CONFLICT (tenant_id, event_id) DO NOTHING""",
        (tenant, list(ids)),
    )


def delete_events(table: Table, generation: int, tenant: str, ids: Collection[str]) -> Query:
    """Delete a tenant's events by their ids, whatever their day."""
    return (
        f"""\
DELETE FROM {target(table, generation)} WHERE "{TENANT}" = %s AND "{event_id(table)}" = ANY(%s::text[])""",
        (
            tenant,
            list(ids),
        ),
    )


def read_repaired(table: Table) -> Query:
    """Select the rows that repairs have kept."""
    return "SELECT old_row FROM headrace.repair WHERE table_name = %s", (table.name,)


def erase_repaired(table: Table, rows: Collection[str]) -> Query:
    """Delete rows that repairs have kept."""
    return "DELETE FROM headrace.repair WHERE table_name = %s AND old_row = ANY(%s::text[])", (table.name, list(rows))


def deletion_list(table: Table) -> str:
    """Return the name of the temporary table with the keys of the rows to delete."""
    return f'pg_temp."aged_{table.name}"'


def drop_deletion_list(table: Table) -> str:
    """Drop the list of rows to delete."""
    return f"DROP TABLE IF EXISTS {deletion_list(table)}"


def create_deletion_list(table: Table, generation: int) -> Sequence[str]:
    """Create an empty list of rows to delete, numbered from 1, and the index by which a batch is found."""
    return [
        f"""\
CREATE TEMPORARY TABLE "aged_{table.name}" AS
SELECT {_list(table)}, 0::bigint AS "{NUMBER}" FROM {target(table, generation)} WITH NO DATA""",
        f'CREATE UNIQUE INDEX ON {deletion_list(table)} ("{NUMBER}")',
    ]


def load_deletion_list(table: Table) -> str:
    """Load the list from the client's data: keys and their numbers."""
    return f'COPY {deletion_list(table)} ({_list(table)}, "{NUMBER}") FROM STDIN'


def fill_deletion_list(table: Table, generation: int, condition: Query) -> Query:
    """Fill the list with the rows of the table that meet the condition."""
    where, parameters = condition
    return (
        f"""\
INSERT INTO {deletion_list(table)} ({_list(table)}, "{NUMBER}")
SELECT {_list(table)}, row_number() OVER (ORDER BY {_list(table)})
FROM {target(table, generation)} AS t
WHERE {where}""",
        parameters,
    )


def delete_listed(table: Table, generation: int, condition: Query, after: int, upto: int) -> Query:
    """Delete a batch of listed rows that meet the condition: those numbered from `after` + 1 to `upto`."""
    where, parameters = condition
    join = " AND ".join(f't."{name}" = a."{name}"' for name in table.key)
    return (
        f"""\
DELETE FROM {target(table, generation)} AS t USING {deletion_list(table)} AS a
WHERE a."{NUMBER}" > %s AND a."{NUMBER}" <= %s AND {join}
AND {where}""",
        (after, upto, *parameters),
    )


def in_month(table: Table, month: date, after: date, held: Collection[str]) -> Query:
    """Return the condition for rows from `month` until before `after`, except those of `held` tenants."""
    day = f't."{table.ages_by}"'
    return f'({day} >= %s AND {day} < %s AND NOT t."{TENANT}" = ANY(%s::text[]))', (month, after, list(held))


def deleted_before(table: Table, before: date, held: Collection[str]) -> Query:
    """Return the condition for rows deleted at the source and older than `before`, except those of `held` tenants."""
    day = f't."{table.ages_by}"'
    return (
        f'(t."_deleted" AND ({day} < %s OR ({day} IS NULL AND t."_source_time" < %s))'
        f' AND NOT t."{TENANT}" = ANY(%s::text[]))'
    ), (before, before, list(held))


def deleted() -> Query:
    """Return the condition for rows that are marked as deleted."""
    return 't."_deleted"', ()


def _hash(column: str) -> str:
    return text_hash(f'"{column}"')


def _list(table: Table) -> str:
    return ", ".join(f'"{name}"' for name in table.key)
