-- drop list
DROP TABLE IF EXISTS pg_temp."aged_orders"

-- create list
CREATE TEMPORARY TABLE "aged_orders" AS
SELECT "tenant_id", "order_month", "order_id", 0::bigint AS "_n" FROM reporting_g1."orders" WITH NO DATA

-- index list
CREATE UNIQUE INDEX ON pg_temp."aged_orders" ("_n")

-- load list
COPY pg_temp."aged_orders" ("tenant_id", "order_month", "order_id", "_n") FROM STDIN

-- list of month
INSERT INTO pg_temp."aged_orders" ("tenant_id", "order_month", "order_id", "_n")
SELECT "tenant_id", "order_month", "order_id", row_number() OVER (ORDER BY "tenant_id", "order_month", "order_id")
FROM reporting_g1."orders" AS t
WHERE (t."order_month" >= %s AND t."order_month" < %s AND NOT t."tenant_id" = ANY(%s::text[]))

-- list deleted before
INSERT INTO pg_temp."aged_orders" ("tenant_id", "order_month", "order_id", "_n")
SELECT "tenant_id", "order_month", "order_id", row_number() OVER (ORDER BY "tenant_id", "order_month", "order_id")
FROM reporting_g1."orders" AS t
WHERE (t."_deleted" AND (t."order_month" < %s OR (t."order_month" IS NULL AND t."_source_time" < %s)) AND NOT t."tenant_id" = ANY(%s::text[]))

-- delete of month
DELETE FROM reporting_g1."orders" AS t USING pg_temp."aged_orders" AS a
WHERE a."_n" > %s AND a."_n" <= %s AND t."tenant_id" = a."tenant_id" AND t."order_month" = a."order_month" AND t."order_id" = a."order_id"
AND (t."order_month" >= %s AND t."order_month" < %s AND NOT t."tenant_id" = ANY(%s::text[]))

-- delete deleted before
DELETE FROM reporting_g1."orders" AS t USING pg_temp."aged_orders" AS a
WHERE a."_n" > %s AND a."_n" <= %s AND t."tenant_id" = a."tenant_id" AND t."order_month" = a."order_month" AND t."order_id" = a."order_id"
AND (t."_deleted" AND (t."order_month" < %s OR (t."order_month" IS NULL AND t."_source_time" < %s)) AND NOT t."tenant_id" = ANY(%s::text[]))

-- delete deleted
DELETE FROM reporting_g1."orders" AS t USING pg_temp."aged_orders" AS a
WHERE a."_n" > %s AND a."_n" <= %s AND t."tenant_id" = a."tenant_id" AND t."order_month" = a."order_month" AND t."order_id" = a."order_id"
AND t."_deleted"
