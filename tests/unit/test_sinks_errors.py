"""Which error means what is decided by number, in one table a database."""

import psycopg
import pytest
from psycopg import errors

from schemas.errors import HeadraceError
from sinks import postgres_errors, sqlserver_errors
from sinks.port import Fatal, Poison, Transient
from sinks.sqlserver_errors import Duplicate


def odbc(state: str, *numbers: int) -> tuple[str, str]:
    """A pyodbc error's arguments, one record a number."""
    records = [
        f"[{state}] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Said (100) things. ({n})" for n in numbers
    ]
    return state, records[0] + " (SQLExecDirectW)" + "".join(f"; {record}" for record in records[1:])


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1205, Transient),
        (1222, Transient),
        (40501, Transient),
        (2627, Duplicate),
        (2601, Duplicate),
        (245, Poison),
        (8114, Poison),
        (8115, Poison),
        (2628, Poison),
        (8152, Poison),
        (515, Poison),
        (547, Poison),
        (18456, Fatal),
        (229, Fatal),
        (208, Fatal),
        (207, Fatal),
        (33557097, Fatal),  # another server's number for several errors: nothing is guessed from it
    ],
)
def test_sql_servers_numbers_decide(number: int, expected: type[HeadraceError]) -> None:
    assert type(sqlserver_errors.classify(odbc("42000", number))) is expected


def test_the_first_known_number_of_a_message_decides() -> None:
    assert type(sqlserver_errors.classify(odbc("22001", 8152, 3621))) is Poison
    assert sqlserver_errors.numbers(odbc("40001", 1205)) == (1205,)


def test_a_lost_connection_has_no_number_and_is_tried_again() -> None:
    arguments = ("08S01", "[08S01] [Microsoft][ODBC Driver 18 for SQL Server]TCP Provider: Error code 0x2746 (10054)")
    assert type(sqlserver_errors.classify(arguments)) is Transient


def test_no_message_at_all_is_fatal_rather_than_guessed_at() -> None:
    assert type(sqlserver_errors.classify(())) is Fatal


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.DeadlockDetected, Transient),
        (errors.SerializationFailure, Transient),
        (errors.LockNotAvailable, Transient),
        (errors.AdminShutdown, Transient),
        (errors.DiskFull, Transient),
        (errors.ConnectionFailure, Transient),
        (errors.CheckViolation, Poison),
        (errors.NotNullViolation, Poison),
        (errors.StringDataRightTruncation, Poison),
        (errors.NumericValueOutOfRange, Poison),
        (errors.InsufficientPrivilege, Fatal),
        (errors.UndefinedTable, Fatal),
        (errors.InvalidPassword, Fatal),
        (psycopg.OperationalError, Transient),
        (psycopg.DataError, Poison),
    ],
)
def test_postgres_codes_decide(error: type[psycopg.Error], expected: type[HeadraceError]) -> None:
    assert type(postgres_errors.classify(error("said so"))) is expected
