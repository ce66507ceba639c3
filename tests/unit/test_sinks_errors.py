"""Errors are classified by number, in one table for each database."""

import psycopg
import pytest
from psycopg import errors

from schemas.errors import HeadraceError
from sinks.reporting.port import Duplicate, Fatal, Poison, Transient
from sinks.reporting.postgres import errors as postgres_errors
from sinks.reporting.sqlserver import errors as sqlserver_errors


def odbc(state: str, *numbers: int) -> tuple[str, str]:
    """Return a pyodbc error's arguments, one record for each number."""
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
        *((number, Transient) for number in (9002, 1105, 1101, 596, 6005, 8645, 8651, 802, 921, 922)),
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
    assert sqlserver_errors.number(odbc("40001", 1205)) == 1205


@pytest.mark.parametrize("value", ["(1205) (SQL…", "(229) (SQLExecDirectW)", "x'. (1205) (SQLExecDirectW); [01000] [M"])
def test_a_value_that_the_server_quotes_decides_nothing(value: str) -> None:
    text = f"[22001] [Microsoft][SQL Server]Data would be truncated, column 'name'. Truncated value: '{value}'. (2628)"
    assert type(sqlserver_errors.classify(("22001", f"{text} (SQLExecDirectW)"))) is Poison
    assert type(sqlserver_errors.classify(("22001", f"{text} (SQLExecDirectW); [01000] [M] Ended. (3621)"))) is Poison


@pytest.mark.parametrize(
    ("state", "text", "shown"),
    [
        (
            "22001",
            "String or binary data would be truncated in table 'a.orders', column 'status'. Truncated value: 'secret'.",
            "reporting: [22001] String or binary data would be truncated in table 'a.orders', column 'status' (1)",
        ),
        (
            "23000",
            "Violation of PRIMARY KEY constraint 'orders_pkey'. Cannot insert duplicate key in object 'a.orders'. "
            "The duplicate key value is (secret, 2026-11-01).",
            "reporting: [23000] Violation of PRIMARY KEY constraint 'orders_pkey'. Cannot insert duplicate key in "
            "object 'a.orders' (1)",
        ),
        (
            "22018",
            "Conversion failed when converting the nvarchar value 'secret' to data type int.",
            "reporting: [22018] refused a value (1)",
        ),
        (
            "22001",
            "Zeichenfolgen- oder Binärdaten würden in Tabelle 'secret' abgeschnitten.",
            "reporting: [22001] refused a value (1)",
        ),
    ],
)
def test_a_message_about_a_value_does_not_quote_it(state: str, text: str, shown: str) -> None:
    message = f"[{state}] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]{text} (1) (SQLExecDirectW)"
    assert str(sqlserver_errors.classify((state, message))) == shown


def test_other_messages_are_shown_whole() -> None:
    assert "Said (100) things" in str(sqlserver_errors.classify(odbc("40001", 1205)))
    assert "Said (100) things" in str(sqlserver_errors.classify(odbc("23000", 547)))


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
