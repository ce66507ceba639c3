-- reporting: sums
SELECT e.tenant, e.first_day, count(*), sum(e.hashed)
FROM (
    SELECT "tenant_id" COLLATE "C" AS tenant, date_trunc('month', "order_month")::date AS first_day,
        ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ("order_month" - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || replace("order_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("customer_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("status" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "total", '~') || chr(31)
        || coalesce('=' || replace("currency" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "placed_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "approved_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "shipped_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "delivered_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "cancelled_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "created_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("created_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "updated_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("updated_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "deleted_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("deleted_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
    FROM reporting_g1.orders
    WHERE NOT _deleted
        AND "order_month" >= %s
) AS e
GROUP BY e.tenant, e.first_day

-- reporting: parts
SELECT e.part, count(*), sum(e.hashed)
FROM (
    SELECT CASE
        WHEN ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ("order_month" < %s OR ("order_month" = %s AND "order_id" COLLATE "C" <= %s)))) THEN 0
        WHEN ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ("order_month" < %s OR ("order_month" = %s AND "order_id" COLLATE "C" <= %s)))) THEN 1
        ELSE 2 END AS part,
        ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ("order_month" - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || replace("order_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("customer_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("status" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "total", '~') || chr(31)
        || coalesce('=' || replace("currency" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "placed_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "approved_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "shipped_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "delivered_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "cancelled_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "created_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("created_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "updated_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("updated_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "deleted_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("deleted_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
    FROM reporting_g1.orders
    WHERE NOT _deleted
        AND "tenant_id" IN (%s, %s)
        AND (("order_month" >= %s AND "order_month" < %s) OR "order_month" IS NULL)
        AND CASE WHEN "order_month" < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0
        AND ("tenant_id" COLLATE "C" > %s OR ("tenant_id" COLLATE "C" = %s AND ("order_month" > %s OR ("order_month" = %s AND "order_id" COLLATE "C" > %s))))
        AND ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ("order_month" < %s OR ("order_month" = %s AND "order_id" COLLATE "C" <= %s))))
) AS e
GROUP BY e.part

-- reporting: bounds
SELECT e.k0, e.k1, e.k2
FROM (
    SELECT "tenant_id" COLLATE "C" AS k0, "order_month" AS k1, "order_id" COLLATE "C" AS k2, ROW_NUMBER() OVER (ORDER BY "tenant_id" COLLATE "C", "order_month", "order_id" COLLATE "C") AS place
    FROM reporting_g1.orders
    WHERE NOT _deleted
        AND "tenant_id" IN (%s, %s)
        AND (("order_month" >= %s AND "order_month" < %s) OR "order_month" IS NULL)
        AND CASE WHEN "order_month" < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0
) AS e
WHERE e.place %% 100 = 0
ORDER BY e.place

-- reporting: hashes
SELECT "tenant_id" COLLATE "C", "order_month", "order_id" COLLATE "C",
    ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ("order_month" - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || replace("order_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("customer_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("status" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "total", '~') || chr(31)
        || coalesce('=' || replace("currency" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "placed_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "approved_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "shipped_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "delivered_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "cancelled_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "created_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("created_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "updated_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("updated_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "deleted_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("deleted_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
FROM reporting_g1.orders
    WHERE NOT _deleted
        AND "tenant_id" IN (%s, %s)
        AND (("order_month" >= %s AND "order_month" < %s) OR "order_month" IS NULL)
        AND CASE WHEN "order_month" < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0

-- reporting: rows
SELECT "tenant_id" COLLATE "C", "order_month", "order_id" COLLATE "C", "customer_id" COLLATE "C", "status" COLLATE "C", "total", "currency" COLLATE "C", "placed_at", "approved_at", "shipped_at", "delivered_at", "cancelled_at", "created_at", "created_by" COLLATE "C", "updated_at", "updated_by" COLLATE "C", "deleted_at", "deleted_by" COLLATE "C"
FROM reporting_g1.orders
    WHERE NOT _deleted
        AND (("tenant_id" = %s AND "order_month" = %s AND "order_id" = %s) OR ("tenant_id" = %s AND "order_month" = %s AND "order_id" = %s))

-- source: sums
SELECT e.tenant, e.first_day, count(*), sum(e.hashed)
FROM (
    SELECT "tenant_id" COLLATE "C" AS tenant, date_trunc('month', "order_month")::date AS first_day,
        ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ("order_month" - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || replace("order_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("customer_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("status" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "total", '~') || chr(31)
        || coalesce('=' || replace("currency" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "placed_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "approved_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "shipped_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "delivered_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "cancelled_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "created_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("created_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "updated_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("updated_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "deleted_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("deleted_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
    FROM sales.orders
    WHERE "order_month" >= %s
) AS e
GROUP BY e.tenant, e.first_day

-- source: parts
SELECT e.part, count(*), sum(e.hashed)
FROM (
    SELECT CASE
        WHEN ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ("order_month" < %s OR ("order_month" = %s AND "order_id" COLLATE "C" <= %s)))) THEN 0
        WHEN ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ("order_month" < %s OR ("order_month" = %s AND "order_id" COLLATE "C" <= %s)))) THEN 1
        ELSE 2 END AS part,
        ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ("order_month" - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || replace("order_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("customer_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("status" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "total", '~') || chr(31)
        || coalesce('=' || replace("currency" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "placed_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "approved_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "shipped_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "delivered_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "cancelled_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "created_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("created_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "updated_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("updated_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "deleted_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("deleted_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
    FROM sales.orders
    WHERE "tenant_id" IN (%s, %s)
        AND (("order_month" >= %s AND "order_month" < %s) OR "order_month" IS NULL)
        AND CASE WHEN "order_month" < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0
        AND ("tenant_id" COLLATE "C" > %s OR ("tenant_id" COLLATE "C" = %s AND ("order_month" > %s OR ("order_month" = %s AND "order_id" COLLATE "C" > %s))))
        AND ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ("order_month" < %s OR ("order_month" = %s AND "order_id" COLLATE "C" <= %s))))
) AS e
GROUP BY e.part

-- source: bounds
SELECT e.k0, e.k1, e.k2
FROM (
    SELECT "tenant_id" COLLATE "C" AS k0, "order_month" AS k1, "order_id" COLLATE "C" AS k2, ROW_NUMBER() OVER (ORDER BY "tenant_id" COLLATE "C", "order_month", "order_id" COLLATE "C") AS place
    FROM sales.orders
    WHERE "tenant_id" IN (%s, %s)
        AND (("order_month" >= %s AND "order_month" < %s) OR "order_month" IS NULL)
        AND CASE WHEN "order_month" < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0
) AS e
WHERE e.place %% 100 = 0
ORDER BY e.place

-- source: hashes
SELECT "tenant_id" COLLATE "C", "order_month", "order_id" COLLATE "C",
    ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ("order_month" - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || replace("order_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("customer_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("status" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "total", '~') || chr(31)
        || coalesce('=' || replace("currency" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "placed_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "approved_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "shipped_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "delivered_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "cancelled_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "created_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("created_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "updated_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("updated_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "deleted_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("deleted_by" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
FROM sales.orders
    WHERE "tenant_id" IN (%s, %s)
        AND (("order_month" >= %s AND "order_month" < %s) OR "order_month" IS NULL)
        AND CASE WHEN "order_month" < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0

-- source: rows
SELECT "tenant_id" COLLATE "C", "order_month", "order_id" COLLATE "C", "customer_id" COLLATE "C", "status" COLLATE "C", "total", "currency" COLLATE "C", "placed_at", "approved_at", "shipped_at", "delivered_at", "cancelled_at", "created_at", "created_by" COLLATE "C", "updated_at", "updated_by" COLLATE "C", "deleted_at", "deleted_by" COLLATE "C"
FROM sales.orders
    WHERE (("tenant_id" = %s AND "order_month" = %s AND "order_id" = %s) OR ("tenant_id" = %s AND "order_month" = %s AND "order_id" = %s))
