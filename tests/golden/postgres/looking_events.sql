-- reporting: sums
SELECT e.tenant, e.first_day, count(*), sum(e.hashed)
FROM (
    SELECT "tenant_id" COLLATE "C" AS tenant, date_trunc('month', "event_day")::date AS first_day,
        ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ("event_day" - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || "event_id"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || replace("aggregate_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("aggregate_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("event_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "schema_version", '~') || chr(31)
        || coalesce('=' || "payload"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "occurred_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("traceparent" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
    FROM reporting_g1.events
    WHERE "event_day" >= %s
) AS e
GROUP BY e.tenant, e.first_day

-- reporting: parts
SELECT e.part, count(*), sum(e.hashed)
FROM (
    SELECT CASE
        WHEN ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ("event_day" < %s OR ("event_day" = %s AND "event_id"::text COLLATE "C" <= %s)))) THEN 0
        WHEN ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ("event_day" < %s OR ("event_day" = %s AND "event_id"::text COLLATE "C" <= %s)))) THEN 1
        ELSE 2 END AS part,
        ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ("event_day" - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || "event_id"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || replace("aggregate_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("aggregate_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("event_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "schema_version", '~') || chr(31)
        || coalesce('=' || "payload"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "occurred_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("traceparent" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
    FROM reporting_g1.events
    WHERE "tenant_id" IN (%s, %s)
        AND (("event_day" >= %s AND "event_day" < %s) OR "event_day" IS NULL)
        AND CASE WHEN "event_day" < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0
        AND ("tenant_id" COLLATE "C" > %s OR ("tenant_id" COLLATE "C" = %s AND ("event_day" > %s OR ("event_day" = %s AND "event_id"::text COLLATE "C" > %s))))
        AND ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ("event_day" < %s OR ("event_day" = %s AND "event_id"::text COLLATE "C" <= %s))))
) AS e
GROUP BY e.part

-- reporting: bounds
SELECT e.k0, e.k1, e.k2
FROM (
    SELECT "tenant_id" COLLATE "C" AS k0, "event_day" AS k1, "event_id"::text COLLATE "C" AS k2, ROW_NUMBER() OVER (ORDER BY "tenant_id" COLLATE "C", "event_day", "event_id"::text COLLATE "C") AS place
    FROM reporting_g1.events
    WHERE "tenant_id" IN (%s, %s)
        AND (("event_day" >= %s AND "event_day" < %s) OR "event_day" IS NULL)
        AND CASE WHEN "event_day" < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0
) AS e
WHERE e.place %% 100 = 0
ORDER BY e.place

-- reporting: hashes
SELECT "tenant_id" COLLATE "C", "event_day", "event_id"::text COLLATE "C",
    ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ("event_day" - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || "event_id"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || replace("aggregate_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("aggregate_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("event_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "schema_version", '~') || chr(31)
        || coalesce('=' || "payload"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "occurred_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("traceparent" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
FROM reporting_g1.events
    WHERE "tenant_id" IN (%s, %s)
        AND (("event_day" >= %s AND "event_day" < %s) OR "event_day" IS NULL)
        AND CASE WHEN "event_day" < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0

-- reporting: rows
SELECT "tenant_id" COLLATE "C", "event_day", "event_id"::text COLLATE "C", "aggregate_type" COLLATE "C", "aggregate_id" COLLATE "C", "event_type" COLLATE "C", "schema_version", "payload"::text COLLATE "C", "occurred_at", "traceparent" COLLATE "C"
FROM reporting_g1.events
    WHERE (("tenant_id" = %s AND "event_day" = %s AND "event_id" = %s) OR ("tenant_id" = %s AND "event_day" = %s AND "event_id" = %s))

-- source: sums
SELECT e.tenant, e.first_day, count(*), sum(e.hashed)
FROM (
    SELECT "tenant_id" COLLATE "C" AS tenant, date_trunc('month', (occurred_at AT TIME ZONE 'UTC')::date)::date AS first_day,
        ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ((occurred_at AT TIME ZONE 'UTC')::date - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || "event_id"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || replace("aggregate_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("aggregate_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("event_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "schema_version", '~') || chr(31)
        || coalesce('=' || "payload"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "occurred_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("traceparent" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
    FROM sales.outbox_events
    WHERE occurred_at >= %s
) AS e
GROUP BY e.tenant, e.first_day

-- source: parts
SELECT e.part, count(*), sum(e.hashed)
FROM (
    SELECT CASE
        WHEN ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ((occurred_at AT TIME ZONE 'UTC')::date < %s OR ((occurred_at AT TIME ZONE 'UTC')::date = %s AND "event_id"::text COLLATE "C" <= %s)))) THEN 0
        WHEN ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ((occurred_at AT TIME ZONE 'UTC')::date < %s OR ((occurred_at AT TIME ZONE 'UTC')::date = %s AND "event_id"::text COLLATE "C" <= %s)))) THEN 1
        ELSE 2 END AS part,
        ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ((occurred_at AT TIME ZONE 'UTC')::date - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || "event_id"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || replace("aggregate_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("aggregate_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("event_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "schema_version", '~') || chr(31)
        || coalesce('=' || "payload"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "occurred_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("traceparent" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
    FROM sales.outbox_events
    WHERE "tenant_id" IN (%s, %s)
        AND ((occurred_at >= %s AND occurred_at < %s) OR occurred_at IS NULL)
        AND CASE WHEN occurred_at < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0
        AND ("tenant_id" COLLATE "C" > %s OR ("tenant_id" COLLATE "C" = %s AND ((occurred_at AT TIME ZONE 'UTC')::date > %s OR ((occurred_at AT TIME ZONE 'UTC')::date = %s AND "event_id"::text COLLATE "C" > %s))))
        AND ("tenant_id" COLLATE "C" < %s OR ("tenant_id" COLLATE "C" = %s AND ((occurred_at AT TIME ZONE 'UTC')::date < %s OR ((occurred_at AT TIME ZONE 'UTC')::date = %s AND "event_id"::text COLLATE "C" <= %s))))
) AS e
GROUP BY e.part

-- source: bounds
SELECT e.k0, e.k1, e.k2
FROM (
    SELECT "tenant_id" COLLATE "C" AS k0, (occurred_at AT TIME ZONE 'UTC')::date AS k1, "event_id"::text COLLATE "C" AS k2, ROW_NUMBER() OVER (ORDER BY "tenant_id" COLLATE "C", (occurred_at AT TIME ZONE 'UTC')::date, "event_id"::text COLLATE "C") AS place
    FROM sales.outbox_events
    WHERE "tenant_id" IN (%s, %s)
        AND ((occurred_at >= %s AND occurred_at < %s) OR occurred_at IS NULL)
        AND CASE WHEN occurred_at < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0
) AS e
WHERE e.place %% 100 = 0
ORDER BY e.place

-- source: hashes
SELECT "tenant_id" COLLATE "C", (occurred_at AT TIME ZONE 'UTC')::date, "event_id"::text COLLATE "C",
    ('x' || left(md5(coalesce('=' || replace("tenant_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || ((occurred_at AT TIME ZONE 'UTC')::date - DATE '1970-01-01'), '~') || chr(31)
        || coalesce('=' || "event_id"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || replace("aggregate_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("aggregate_id" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || replace("event_type" COLLATE "C", chr(31), repeat(chr(31), 2)), '~') || chr(31)
        || coalesce('=' || "schema_version", '~') || chr(31)
        || coalesce('=' || "payload"::text COLLATE "C", '~') || chr(31)
        || coalesce('=' || (extract(epoch FROM "occurred_at") * 1000000)::bigint, '~') || chr(31)
        || coalesce('=' || replace("traceparent" COLLATE "C", chr(31), repeat(chr(31), 2)), '~')), 15))::bit(60)::bigint AS hashed
FROM sales.outbox_events
    WHERE "tenant_id" IN (%s, %s)
        AND ((occurred_at >= %s AND occurred_at < %s) OR occurred_at IS NULL)
        AND CASE WHEN occurred_at < %s AND "tenant_id" NOT IN (%s) THEN 1 ELSE 0 END = 0

-- source: rows
SELECT "tenant_id" COLLATE "C", (occurred_at AT TIME ZONE 'UTC')::date, "event_id"::text COLLATE "C", "aggregate_type" COLLATE "C", "aggregate_id" COLLATE "C", "event_type" COLLATE "C", "schema_version", "payload"::text COLLATE "C", "occurred_at", "traceparent" COLLATE "C"
FROM sales.outbox_events
    WHERE (("tenant_id" = %s AND (occurred_at AT TIME ZONE 'UTC')::date = %s AND "event_id" = %s) OR ("tenant_id" = %s AND (occurred_at AT TIME ZONE 'UTC')::date = %s AND "event_id" = %s))
