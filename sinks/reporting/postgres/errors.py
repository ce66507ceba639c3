"""Classify Postgres errors of a batch by SQLSTATE.

https://www.postgresql.org/docs/current/errcodes-appendix.html

Messages end in logs, where no value of a row belongs. Postgres quotes values in a message's detail and context, and in
the message itself where a value is malformed.
"""

import re

import psycopg

from schemas.errors import HeadraceError
from sinks.reporting.port import Fatal, Poison, Transient

# The longest prefix decides. A unique violation is no lost race here (postgres_sql inserts first): it is a value that
# a constraint of the operator's own refuses.
CLASSES: dict[str, type[HeadraceError]] = {
    "08": Transient,  # connection exception
    "40": Transient,  # deadlock, serialization failure
    "53": Transient,  # insufficient resources
    "55P03": Transient,  # lock not available
    "57": Transient,  # shutdown, statement timeout
    "58": Transient,  # I/O error of the server's system
    "22": Poison,  # data exception
    "23": Poison,  # constraint violation
}
_MALFORMED = "22"
_QUOTED = re.compile(r'".*"', re.DOTALL)
_COPIED = re.compile(r"COPY \S+, line \d+, column (\w+)")


def classify(error: psycopg.Error) -> HeadraceError:
    """Return the error as the port's type. Without a SQLSTATE the connection is at fault, and a retry may help."""
    said = explained(error)
    if error.sqlstate is None:
        if isinstance(error, psycopg.DataError):  # psycopg itself refused the value, a NUL in a text for one
            return Poison(f"reporting cannot hold a value: {said}")
        return Transient(f"no connection to reporting: {said}")
    for length in (5, 2):
        if found := CLASSES.get(error.sqlstate[:length]):
            return found(f"reporting: {error.sqlstate} {said}")
    return Fatal(f"reporting refused: {error.sqlstate} {said}")


def explained(error: psycopg.Error) -> str:
    """Return the server's message on one line, without its detail; for a malformed value, the column and no value."""
    said = error.diag.message_primary
    if said is None:  # psycopg's own error, which quotes none
        return " ".join(str(error).split())
    if not (error.sqlstate or "").startswith(_MALFORMED):
        return said
    column = error.diag.column_name
    if copied := _COPIED.match(error.diag.context or ""):
        column = copied[1]
    return f"{column or 'a value'}: {_QUOTED.sub('…', said)}"
