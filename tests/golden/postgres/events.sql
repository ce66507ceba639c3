-- create stage
CREATE TEMPORARY TABLE IF NOT EXISTS pg_temp."stage_events" (LIKE reporting_g1."events") ON COMMIT DELETE ROWS

-- clear stage
TRUNCATE pg_temp."stage_events"

-- load
COPY pg_temp."stage_events" ("tenant_id", "event_day", "event_id", "aggregate_type", "aggregate_id", "event_type", "schema_version", "payload", "occurred_at", "traceparent") FROM STDIN

-- insert
INSERT INTO reporting_g1."events" ("tenant_id", "event_day", "event_id", "aggregate_type", "aggregate_id", "event_type", "schema_version", "payload", "occurred_at", "traceparent")
SELECT "tenant_id", "event_day", "event_id", "aggregate_type", "aggregate_id", "event_type", "schema_version", "payload", "occurred_at", "traceparent"
FROM pg_temp."stage_events" AS s
WHERE NOT EXISTS (SELECT FROM retention.erased_event AS e WHERE e.tenant_id = s."tenant_id" AND e.event_id = s."event_id")
ON CONFLICT ("tenant_id", "event_day", "event_id") DO NOTHING

-- standing
SELECT 0, 0, 0, 0, 0 FROM reporting_g1."events"
WHERE "tenant_id" = %s AND "event_day" = %s AND "event_id" = %s

-- drop view
DROP VIEW IF EXISTS report."events"

-- create view
CREATE VIEW report."events" AS
SELECT "tenant_id", "event_day", "event_id", "aggregate_type", "aggregate_id", "event_type", "schema_version", "payload", "occurred_at", "traceparent"
FROM reporting_g1."events"
