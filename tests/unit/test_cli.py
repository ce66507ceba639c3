"""The command starts fast: a command's libraries are imported when it runs."""

import subprocess
import sys

CLIENTS = {"confluent_kafka", "psycopg", "pymongo", "pyodbc", "sqlalchemy", "httpx", "fastavro", "faust", "fsspec"}
PARTS = {"connectors", "messaging", "migrations", "shop", "sinks", "stack", "streams"}


def test_the_help_imports_neither_client_libraries_nor_what_a_command_runs():
    assert not imported("operations.cli") & (CLIENTS | PARTS)


def test_a_command_imports_no_client_library_of_a_server_that_it_does_not_ask():
    assert not imported("operations.retention.run") & {"pymongo", "sqlalchemy"}
    assert not imported("operations.connections", "operations.run", "operations.local") & {"pymongo", "sqlalchemy"}


def imported(*modules: str) -> set[str]:
    """Return the packages that are imported with these modules."""
    code = f"import {', '.join(modules)}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
