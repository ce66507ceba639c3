#!/bin/sh
# Print .env for docker-compose.yml, with a random value for each password that the file $1 doesn't have yet: 160 random
# bits after a prefix with the four kinds of characters that SQL Server requires in a password.
set -eu

known=${1:-/dev/null}
test ! -f "$known" || cat "$known"
for name in \
  POSTGRES_PASSWORD REGISTRY_PASSWORD \
  OLTP_MIGRATOR_PASSWORD OLTP_APP_WRITER_PASSWORD OLTP_CDC_READER_PASSWORD OLTP_REPORTER_READER_PASSWORD \
  OLTP_RETENTION_PASSWORD \
  SQLSERVER_SA_PASSWORD REPORTING_MIGRATOR_PASSWORD REPORTING_WRITER_PASSWORD REPORTING_READER_PASSWORD \
  REPORTING_RETENTION_PASSWORD \
  MONGODB_ROOT_PASSWORD MONGODB_KEY CATALOG_MIGRATOR_PASSWORD CATALOG_READER_PASSWORD CATALOG_WRITER_PASSWORD
do
  grep -q "^$name=" "$known" 2>/dev/null && continue
  random=$(od -An -tx1 -N20 /dev/urandom | tr -d ' \n')
  case $name in
    MONGODB_KEY) echo "$name=$random" ;;  # base64's letters only
    *) echo "$name=Hr1-$random" ;;
  esac
done
