"""Millions of orders that a server makes itself out of a thousand that were landed."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from operations import connections
from operations.odbc import connection_string
from operations.settings import Settings
from schemas.change import Change
from schemas.tables import ORDERS
from sinks.reporting.port import Batch
from sinks.reporting.sqlserver.driver import SqlServerReporting
from sinks.reporting.staging import stored_columns
from tests.support.trade import Tenant

BATCH = 10_000
SEED = 1_000
AT_ONCE = 1_000_000  # rows that one statement makes
TABLE = "[reporting_g1].[orders]"


@dataclass
class Filled:
    """A generation with `rows` orders of one tenant and month: o-000000001 and on, each at the offset of its number.
    `owner` is a connection of the migrator's; `batch` how many changes a batch has."""

    settings: Settings
    owner: Any
    rows: int
    tenant: Tenant = field(default_factory=Tenant)
    offsets: Iterator[int] = field(default_factory=lambda: count(10**9))

    @property
    def batch(self) -> int:
        return min(BATCH, self.rows // 10)

    @property
    def babelfish(self) -> bool:
        return bool(self.owner.execute("SELECT CAST(SERVERPROPERTY('Babelfish') AS INT)").fetchval())

    def landing(self) -> SqlServerReporting:
        """An adapter as a worker has it; it doesn't try again by itself, so a deadlock ends the test."""
        landing = connections.landing(self.settings)
        assert isinstance(landing, SqlServerReporting)
        return landing

    def updates(self, numbers: Sequence[int], status: str) -> list[Change]:
        """Changes of rows that are there."""
        return [self.tenant.order(f"o-{number:09d}", next(self.offsets), status) for number in numbers]

    def inserts(self, numbers: Sequence[int], suffix: str) -> list[Change]:
        """Rows that are not there yet; each one's key lies just behind that of the row with this number."""
        return [self.tenant.order(f"o-{number:09d}-{suffix}", next(self.offsets)) for number in numbers]

    def count(self, condition: str) -> int:
        """Return the number of orders that meet a condition."""
        return int(self.owner.execute(f"SELECT COUNT(*) FROM {TABLE} WHERE {condition}").fetchval())


@contextmanager
def filled(settings: Settings, rows: int) -> Iterator[Filled]:
    """Makes the orders: a thousand land, then they are doubled until there are enough."""
    import pyodbc

    at = settings.reporting
    odbc = connection_string(at, at.migrator_user, at.migrator_password.get_secret_value())
    with closing(pyodbc.connect(odbc, autocommit=True)) as owner:
        made = Filled(settings, owner, rows)
        with closing(made.landing()) as landing:
            seed = [made.tenant.order(f"o-{number:09d}", number) for number in range(1, SEED + 1)]
            assert landing.land(Batch(changes=seed, checkpoints={})).written == SEED
        have = SEED
        while have < rows:
            more = min(have, AT_ONCE, rows - have)
            owner.execute(_more(have, more))
            have += more
        assert made.count("[_deleted] = 0") == rows
        yield made


def _more(have: int, more: int) -> str:
    """As many rows behind those that are there. One lock for the table: a lock a row would be a million."""
    columns = stored_columns(ORDERS)
    values = {
        "order_id": f"N'o-' + RIGHT(N'000000000' + CAST([_offset] + {have} AS NVARCHAR(12)), 9)",
        "_offset": f"[_offset] + {have}",
    }
    return (
        f"INSERT INTO {TABLE} WITH (TABLOCK) ({', '.join(f'[{name}]' for name in columns)})\n"
        f"SELECT {', '.join(values.get(name, f'[{name}]') for name in columns)}\n"
        f"FROM {TABLE} WHERE [_offset] <= {more};"
    )
