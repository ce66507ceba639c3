"""The command starts fast: a command's libraries are imported when it runs."""

import subprocess
import sys

CLIENTS = {"confluent_kafka", "psycopg", "pymongo", "pyodbc", "sqlalchemy", "httpx", "fastavro", "faust", "fsspec"}
PARTS = {"connectors", "messaging", "migrations", "shop", "sinks", "stack", "streams"}


def test_the_help_imports_neither_client_libraries_nor_what_a_command_runs():
    code = "import operations.cli, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & (CLIENTS | PARTS)
