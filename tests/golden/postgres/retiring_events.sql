-- event sums
SELECT "event_day", "tenant_id", count(*), sum(('x' || left(md5("event_id"), 15))::bit(60)::bigint)
FROM reporting_g1."events"
WHERE "event_day" < %s AND NOT "tenant_id" = ANY(%s::text[])
GROUP BY "event_day", "tenant_id"

-- event ids
SELECT "event_id" FROM reporting_g1."events"
WHERE "tenant_id" = %s AND "event_day" = %s AND "event_id" > %s
ORDER BY "event_id" LIMIT %s

-- retire events
WITH gone AS (
    DELETE FROM reporting_g1."events" WHERE "tenant_id" = ANY(%s::text[]) AND "event_day" = %s
    RETURNING "tenant_id", "event_id"
)
SELECT "tenant_id", count(*), sum(('x' || left(md5("event_id"), 15))::bit(60)::bigint) FROM gone GROUP BY "tenant_id"

-- delete events
DELETE FROM reporting_g1."events" WHERE "tenant_id" = %s AND "event_id" = ANY(%s::text[])
