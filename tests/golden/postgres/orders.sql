-- create stage
CREATE TEMPORARY TABLE IF NOT EXISTS pg_temp."stage_orders" (LIKE reporting_g1."orders", "_read" boolean NOT NULL) ON COMMIT DELETE ROWS

-- clear stage
TRUNCATE pg_temp."stage_orders"

-- load
COPY pg_temp."stage_orders" ("tenant_id", "order_month", "order_id", "customer_id", "status", "total", "currency", "placed_at", "approved_at", "shipped_at", "delivered_at", "cancelled_at", "created_at", "created_by", "updated_at", "updated_by", "deleted_at", "deleted_by", "_epoch", "_offset", "_version", "_log_commit", "_log_change", "_deleted", "_source_time", "_read") FROM STDIN

-- update
UPDATE reporting_g1."orders" AS t SET
    "customer_id" = s."customer_id",
    "status" = s."status",
    "total" = s."total",
    "currency" = s."currency",
    "placed_at" = s."placed_at",
    "approved_at" = s."approved_at",
    "shipped_at" = s."shipped_at",
    "delivered_at" = s."delivered_at",
    "cancelled_at" = s."cancelled_at",
    "created_at" = s."created_at",
    "created_by" = s."created_by",
    "updated_at" = s."updated_at",
    "updated_by" = s."updated_by",
    "deleted_at" = s."deleted_at",
    "deleted_by" = s."deleted_by",
    "_epoch" = s."_epoch",
    "_offset" = s."_offset",
    "_version" = s."_version",
    "_log_commit" = CASE WHEN s."_read" AND s."_epoch" = t."_epoch" AND (t."_log_commit", t."_log_change") > (s."_log_commit", s."_log_change") THEN t."_log_commit" ELSE s."_log_commit" END,
    "_log_change" = CASE WHEN s."_read" AND s."_epoch" = t."_epoch" AND (t."_log_commit", t."_log_change") > (s."_log_commit", s."_log_change") THEN t."_log_change" ELSE s."_log_change" END,
    "_deleted" = s."_deleted",
    "_source_time" = s."_source_time"
FROM pg_temp."stage_orders" AS s
WHERE t."tenant_id" = s."tenant_id" AND t."order_month" = s."order_month" AND t."order_id" = s."order_id"
AND (s."_epoch" > t."_epoch" OR (s."_epoch" = t."_epoch" AND (
    (s."_offset" = t."_offset" AND s."_version" > t."_version")
    OR (s."_offset" > t."_offset" AND (s."_read"
        OR (s."_log_commit", s."_log_change", s."_version") > (t."_log_commit", t."_log_change", t."_version"))))))

-- insert
INSERT INTO reporting_g1."orders" ("tenant_id", "order_month", "order_id", "customer_id", "status", "total", "currency", "placed_at", "approved_at", "shipped_at", "delivered_at", "cancelled_at", "created_at", "created_by", "updated_at", "updated_by", "deleted_at", "deleted_by", "_epoch", "_offset", "_version", "_log_commit", "_log_change", "_deleted", "_source_time")
SELECT "tenant_id", "order_month", "order_id", "customer_id", "status", "total", "currency", "placed_at", "approved_at", "shipped_at", "delivered_at", "cancelled_at", "created_at", "created_by", "updated_at", "updated_by", "deleted_at", "deleted_by", "_epoch", "_offset", "_version", "_log_commit", "_log_change", "_deleted", "_source_time"
FROM pg_temp."stage_orders"
ON CONFLICT ("tenant_id", "order_month", "order_id") DO NOTHING

-- standing
SELECT "_epoch", "_offset", "_version", "_log_commit", "_log_change" FROM reporting_g1."orders"
WHERE "tenant_id" = %s AND "order_month" = %s AND "order_id" = %s

-- drop view
DROP VIEW IF EXISTS report."orders"

-- create view
CREATE VIEW report."orders" AS
SELECT "tenant_id", "order_month", "order_id", "customer_id", "status", "total", "currency", "placed_at", "approved_at", "shipped_at", "delivered_at", "cancelled_at", "created_at", "created_by", "updated_at", "updated_by", "deleted_at", "deleted_by"
FROM reporting_g1."orders"
WHERE NOT "_deleted" AND "deleted_at" IS NULL
