#!/bin/sh
# Run the T-SQL tests on the SQL Server of docker-compose.yml, in their own database. `make compose-test` calls it.
set -eu

set -a
. ./.env
set +a
docker compose exec -T sqlserver sh -c 'SQLCMDPASSWORD="$MSSQL_SA_PASSWORD" /opt/mssql-tools18/bin/sqlcmd -C -b \
  -S 127.0.0.1 -U sa -Q "IF DB_ID(N'\''tests'\'') IS NULL CREATE DATABASE [tests]"'
driver=$(.venv/bin/python -c 'from operations import odbc; print(odbc.driver())')
export HEADRACE_TEST_SQLSERVER="DRIVER=$driver;SERVER=127.0.0.1,11433;DATABASE=tests;UID=sa;PWD=$SQLSERVER_SA_PASSWORD;Encrypt=yes;TrustServerCertificate=yes"
.venv/bin/pytest tests/contract tests/integration/test_*_sqlserver.py tests/chaos/test_compose_commands.py
# Two workers on ten million rows take ten minutes. HEADRACE_TEST_SQLSERVER_ROWS sets a smaller number.
.venv/bin/pytest --timeout=1200 tests/sqlserver
