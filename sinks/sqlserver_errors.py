"""What a SQL Server error means for a batch: one table of numbers, never its text.

Numbers: Microsoft's list of transient errors as SqlClient has it
(https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues) and what landing meets.
What is not listed is Fatal: a guess that retries or dead-letters could hide an outage, or lose a batch to it.
"""

import re
from collections.abc import Sequence

from schemas.errors import HeadraceError
from sinks.port import Fatal, Poison, Transient


class Duplicate(Transient):
    """The primary key refused a row. Another worker was quicker; when it happens again, the row itself is bad."""


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

# ODBC's own states, which come without a number of the server's: connection lost or never made, timeouts.
STATES: dict[str, type[HeadraceError]] = {
    "08001": Transient,
    "08S01": Transient,
    "08007": Transient,
    "HYT00": Transient,
    "HYT01": Transient,
}
_NUMBER = re.compile(r"\((\d+)\) \(SQL")


def numbers(arguments: Sequence[object]) -> tuple[int, ...]:
    """The native error numbers of a pyodbc error, which has them only inside its message: `… (1205) (SQLExecDirectW)`,
    or `…; … (3621)` for the records after the first."""
    message = str(arguments[1]) if len(arguments) > 1 else ""
    return tuple(int(found) for found in _NUMBER.findall(message))


def classify(arguments: Sequence[object]) -> HeadraceError:
    """A pyodbc error's arguments (state, message) as the port's type."""
    state = str(arguments[0]) if arguments else ""
    said = f"reporting: {' '.join(map(str, arguments[1:]))}"
    for number in numbers(arguments):
        if found := CLASSES.get(number):
            return found(said)
    return STATES.get(state, Fatal)(said)
