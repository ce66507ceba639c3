-- read generations
SELECT generation, state, epoch FROM headrace.generation ORDER BY generation

-- count generation tables
SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'headrace' AND TABLE_NAME = 'generation'

-- add generation
INSERT INTO headrace.generation (generation, state, epoch) VALUES (2, 'building', 1)

-- add first generation
INSERT INTO headrace.generation (generation, state, epoch)
SELECT 1, 'live', 1 WHERE NOT EXISTS (SELECT 1 FROM headrace.generation)

-- set state
UPDATE headrace.generation SET state = 'live', changed_at = '2026-11-01T12:00:00.000000' WHERE generation = 2

-- list schemas
SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA

-- list tables
SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'reporting_g1'

-- list view columns
SELECT TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = 'report' ORDER BY TABLE_NAME, ORDINAL_POSITION

-- drop table
DROP TABLE reporting_g1."orders"

-- drop schema
DROP SCHEMA reporting_g1

-- read checkpoints
SELECT "topic", "partition", "next_offset" FROM reporting_g1."checkpoint"

-- read epochs
SELECT epoch, reason, raised_by, raised_at, system_identifier, timeline, ended_because FROM headrace.epoch ORDER BY epoch

-- begin epoch
INSERT INTO headrace.epoch (epoch, reason, raised_by, system_identifier, timeline) SELECT %s, %s, %s, %s, %s WHERE NOT EXISTS (SELECT 1 FROM headrace.epoch WHERE epoch = %s)

-- end epoch
UPDATE headrace.epoch SET ended_at = %s, ended_because = %s WHERE epoch = %s AND ended_because IS NULL

-- reopen epoch
UPDATE headrace.epoch SET ended_at = NULL, ended_because = NULL, reason = %s, timeline = %s WHERE epoch = %s

-- set timeline
UPDATE headrace.epoch SET timeline = %s WHERE epoch = %s

-- read freshness
SELECT table_name, complete_through FROM reporting_g1.freshness WHERE complete_through IS NOT NULL

-- add freshness
INSERT INTO reporting_g1.freshness (table_name, complete_through, passed_at) SELECT %s, %s, %s WHERE NOT EXISTS (SELECT 1 FROM reporting_g1.freshness WHERE table_name = %s)

-- advance freshness
UPDATE reporting_g1.freshness SET verified_through = %s, verified_at = %s WHERE table_name = %s AND (verified_through IS NULL OR verified_through < %s)

-- read reported freshness
SELECT table_name, complete_through, lag_seconds FROM report.freshness WHERE complete_through IS NOT NULL ORDER BY table_name

-- keep event
INSERT INTO headrace.repair (repaired_at, repaired_by, generation, table_name, row_key, old_row) SELECT %s, %s, %s, %s, %s, %s FROM reporting_g1."events" WHERE "tenant_id" = %s AND "event_day" = %s AND "event_id" = %s

-- delete event
DELETE FROM reporting_g1."events" WHERE "tenant_id" = %s AND "event_day" = %s AND "event_id" = %s

-- mark deleted
UPDATE reporting_g1."orders" SET "customer_id" = NULL, "status" = NULL, "total" = NULL, "currency" = NULL, "placed_at" = NULL, "approved_at" = NULL, "shipped_at" = NULL, "delivered_at" = NULL, "cancelled_at" = NULL, "created_at" = NULL, "created_by" = NULL, "updated_at" = NULL, "updated_by" = NULL, "deleted_at" = NULL, "deleted_by" = NULL, "_deleted" = %s, "_offset" = %s WHERE "tenant_id" = %s AND "order_month" = %s AND "order_id" = %s AND "_epoch" = %s AND "_deleted" = %s
