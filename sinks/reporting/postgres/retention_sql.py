"""The Postgres dialect of retention: text only, golden files in tests/golden/postgres. Opens nothing.

What goes in batches is listed first, numbered, in a temporary table: one reading of the table, whatever its key. Each
batch then goes through the primary key and asks the condition again, as a row may have changed since.
"""

from schemas.tables import Table
from sinks.reporting.cutoff import TENANT
from sinks.reporting.postgres.checksum_sql import text_hash
from sinks.reporting.postgres.landing_sql import target
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


def set_cutoff() -> str:
    """Parameters: part, before, held."""
    return """\
INSERT INTO retention.cutoff AS c (part, before, held, set_at) VALUES (%s, %s, %s, now())
ON CONFLICT (part) DO UPDATE
SET before = greatest(c.before, excluded.before), held = excluded.held, set_at = excluded.set_at"""


def event_sums(table: Table, generation: int) -> str:
    """Day, tenant, count and sum of the hashes. Parameters: before, held tenants (an array)."""
    return f"""\
SELECT "{table.ages_by}", "{TENANT}", count(*), sum({_hash(event_id(table))})
FROM {target(table, generation)}
WHERE "{table.ages_by}" < %s AND NOT "{TENANT}" = ANY(%s::text[])
GROUP BY "{table.ages_by}", "{TENANT}\""""


def event_ids(table: Table, generation: int) -> str:
    """Select a page of ids. Parameters: tenant, day, the last id of the previous page, the page's size."""
    name = event_id(table)
    return f"""\
SELECT "{name}" FROM {target(table, generation)}
WHERE "{TENANT}" = %s AND "{table.ages_by}" = %s AND "{name}" > %s
ORDER BY "{name}" LIMIT %s"""


def retire_events(table: Table, generation: int) -> str:
    """Delete, and return tenant, count and sum of hashes of the deleted rows. Parameters: tenants (an array), day."""
    name = event_id(table)
    return f"""\
WITH gone AS (
    DELETE FROM {target(table, generation)} WHERE "{TENANT}" = ANY(%s::text[]) AND "{table.ages_by}" = %s
    RETURNING "{TENANT}", "{name}"
)
SELECT "{TENANT}", count(*), sum({_hash(name)}) FROM gone GROUP BY "{TENANT}\""""


def erase_events() -> str:
    """Parameters: tenant, event ids (an array)."""
    return """\
INSERT INTO retention.erased_event (tenant_id, event_id) SELECT %s, unnest(%s::text[])
ON CONFLICT (tenant_id, event_id) DO NOTHING"""


def delete_events(table: Table, generation: int) -> str:
    """Parameters: tenant, event ids (an array)."""
    return f"""\
DELETE FROM {target(table, generation)} WHERE "{TENANT}" = %s AND "{event_id(table)}" = ANY(%s::text[])"""


def repaired() -> str:
    """Select the rows that repairs have kept. Parameter: the table's name."""
    return "SELECT old_row FROM headrace.repair WHERE table_name = %s"


def erase_repaired() -> str:
    """Parameters: the table's name, rows (an array)."""
    return "DELETE FROM headrace.repair WHERE table_name = %s AND old_row = ANY(%s::text[])"


def deletion_list(table: Table) -> str:
    """Return the name of the temporary table with the keys of the rows to delete."""
    return f'pg_temp."aged_{table.name}"'


def drop_deletion_list(table: Table) -> str:
    """Drop the list of rows to delete."""
    return f"DROP TABLE IF EXISTS {deletion_list(table)}"


def create_deletion_list(table: Table, generation: int) -> str:
    """Create an empty list of rows to delete: keys, numbered from 1."""
    return f"""\
CREATE TEMPORARY TABLE "aged_{table.name}" AS
SELECT {_list(table)}, 0::bigint AS "{NUMBER}" FROM {target(table, generation)} WITH NO DATA"""


def index_deletion_list(table: Table) -> str:
    """Lets a batch be found by its numbers."""
    return f'CREATE UNIQUE INDEX ON {deletion_list(table)} ("{NUMBER}")'


def copy_keys(table: Table) -> str:
    """Load the list from the client's data: keys and their numbers."""
    return f'COPY {deletion_list(table)} ({_list(table)}, "{NUMBER}") FROM STDIN'


def fill_deletion_list(table: Table, generation: int, condition: str) -> str:
    """Fill the list from the table. Parameters: those of the condition."""
    return f"""\
INSERT INTO {deletion_list(table)} ({_list(table)}, "{NUMBER}")
SELECT {_list(table)}, row_number() OVER (ORDER BY {_list(table)})
FROM {target(table, generation)} AS t
WHERE {condition}"""


def delete_listed(table: Table, generation: int, condition: str) -> str:
    """Delete a batch. Parameters: the number before its first one, its last number, those of the condition."""
    join = " AND ".join(f't."{name}" = a."{name}"' for name in table.key)
    return f"""\
DELETE FROM {target(table, generation)} AS t USING {deletion_list(table)} AS a
WHERE a."{NUMBER}" > %s AND a."{NUMBER}" <= %s AND {join}
AND {condition}"""


def of_month(table: Table) -> str:
    """Condition: rows of a month, but held tenants'. Parameters: its first day, the next month's, held (an array)."""
    return f'(t."{table.ages_by}" >= %s AND t."{table.ages_by}" < %s AND NOT t."{TENANT}" = ANY(%s::text[]))'


def deleted_before(table: Table) -> str:
    """Condition: old deletes, but held tenants'. Parameters: before, twice, then held (an array)."""
    return (
        f'(t."_deleted" AND (t."{table.ages_by}" < %s OR (t."{table.ages_by}" IS NULL AND t."_source_time" < %s))'
        f' AND NOT t."{TENANT}" = ANY(%s::text[]))'
    )


def deleted() -> str:
    """Condition: deletes."""
    return 't."_deleted"'


def _hash(column: str) -> str:
    return text_hash(f'"{column}"')


def _list(table: Table) -> str:
    return ", ".join(f'"{name}"' for name in table.key)
