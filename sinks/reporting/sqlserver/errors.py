"""Classify SQL Server errors of a batch: by number in one table, never by text.

Numbers: SqlClient's list of transient errors, as Microsoft documents it
(https://learn.microsoft.com/dotnet/api/microsoft.data.sqlclient.sqlconfigurableretryfactory.baselinetransienterrors)
and the errors that landing meets. An unlisted number is Fatal: a guess that retries could hide an outage, and a guess
that makes dead letters could lose a batch to it.

Messages end in logs, where no value of a row belongs, and SQL Server quotes values in the text of some errors.
"""

import re
from collections.abc import Sequence

from schemas.errors import HeadraceError
from sinks.reporting.port import Duplicate, Fatal, Poison, Transient

CLASSES: dict[int, type[HeadraceError]] = {
    2601: Duplicate,
    2627: Duplicate,
    1204: Transient,  # no more locks
    1205: Transient,  # deadlock victim
    1222: Transient,  # lock timeout
    64: Transient,  # connection lost
    121: Transient,
    233: Transient,
    10053: Transient,
    10054: Transient,
    10060: Transient,
    701: Transient,  # memory
    802: Transient,
    8645: Transient,  # no memory in time
    8651: Transient,
    1101: Transient,  # no space in a file group
    1105: Transient,
    9002: Transient,  # no space in the log
    596: Transient,  # the session was killed
    6005: Transient,  # the server is shutting down
    921: Transient,  # the database is not recovered yet
    922: Transient,
    976: Transient,  # availability group: not a readable secondary
    983: Transient,
    3960: Transient,  # snapshot conflict
    4060: Transient,  # database not there yet
    4221: Transient,
    10928: Transient,  # throttling
    10929: Transient,
    40143: Transient,
    40197: Transient,
    40501: Transient,
    40540: Transient,
    40613: Transient,
    49918: Transient,
    49919: Transient,
    49920: Transient,
    245: Poison,  # conversion
    8114: Poison,
    8115: Poison,  # arithmetic overflow
    2628: Poison,  # truncation
    8152: Poison,
    515: Poison,  # NULL
    547: Poison,  # CHECK
    207: Fatal,  # schema drift
    208: Fatal,
    229: Fatal,  # permission
    18456: Fatal,  # login
}

# ODBC's own states, which have no server's number: connection lost or never opened, time-outs.
STATES: dict[str, type[HeadraceError]] = {
    "08001": Transient,
    "08S01": Transient,
    "08007": Transient,
    "HYT00": Transient,
    "HYT01": Transient,
}
# pyodbc puts a record together as `[state] text (number) (function)`; on Windows others follow, as `; [state] text
# (number)`. The text may quote a value of the row, so only the last such end is the driver's own.
_NUMBER = re.compile(r".*\((-?\d+)\) \(SQL\w+\)(?:$|; \[)", re.DOTALL)

_OF_VALUES = ("22", "23")  # the states of data and of constraints
_QUOTES_NONE = (515, 547, 8115, 8152)
_DRIVER = re.compile(r"^(\[[^\]]*\] ?)+")
# How the texts of 2628, 2627 and 2601 begin: with names, before any value.
_NAMES = re.compile(
    r"String or binary data would be truncated in table '[^']*', column '[^']*'"
    r"|Violation of [A-Z ]+ constraint '[^']*'\. Cannot insert duplicate key in object '[^']*'"
    r"|Cannot insert duplicate key row in object '[^']*' with unique index '[^']*'"
)


def number(arguments: Sequence[object]) -> int | None:
    """Return the native number of a pyodbc error, which has it only in its message, or None."""
    found = _NUMBER.match(str(arguments[1])) if len(arguments) > 1 else None
    return int(found[1]) if found else None


def classify(arguments: Sequence[object]) -> HeadraceError:
    """Return a pyodbc error's arguments (state, message) as the port's type."""
    state = str(arguments[0]) if arguments else ""
    found = CLASSES.get(number(arguments) or 0) or STATES.get(state, Fatal)
    return found(f"reporting: {explained(arguments)}")


def explained(arguments: Sequence[object]) -> str:
    """Return a pyodbc error's message on one line; for an error about values, only the parts that quote none."""
    text = " ".join(str(arguments[1]).split()) if len(arguments) > 1 else ""
    found = number(arguments)
    if str(arguments[0] if arguments else "")[:2] not in _OF_VALUES or found in _QUOTES_NONE:
        return text
    names = _NAMES.match(_DRIVER.sub("", text))
    return f"[{arguments[0]}] {names[0] if names else 'refused a value'} ({found})"
