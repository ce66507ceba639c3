-- An event is its tenant, its day (UTC) and its id: reporting and the archive keep one event for each. A second row with
-- the same three would be captured, and its payload would be in neither, so it is refused here.

-- Makes the unique index of one leaf of the outbox. A leaf holds whole days, so what is unique in each is unique in all;
-- an index of the root can't say this, as it would need occurred_at itself. Raises unique_violation that names the events
-- of which there are several rows.
CREATE FUNCTION sales.identify_events(leaf text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    several text;
BEGIN
    EXECUTE format(
        'CREATE UNIQUE INDEX IF NOT EXISTS %I ON sales.%I (tenant_id, ((occurred_at AT TIME ZONE ''UTC'')::date), event_id)',
        leaf || '_identity', leaf
    );
EXCEPTION WHEN unique_violation THEN
    EXECUTE format(
        'SELECT string_agg(format(''%%s rows of %%s of tenant %%s on %%s'', rows, event_id, tenant_id, day), ''; '') '
        'FROM (SELECT tenant_id, (occurred_at AT TIME ZONE ''UTC'')::date AS day, event_id, count(*) AS rows '
        'FROM sales.%I GROUP BY 1, 2, 3 HAVING count(*) > 1 ORDER BY 1, 2, 3 LIMIT 5) AS found',
        leaf
    ) INTO several;
    RAISE EXCEPTION 'sales.%: events with the same tenant, day and id: %; see docs/runbook.md#event-twice', leaf, several
        USING ERRCODE = 'unique_violation';
END
$$;

-- One month of one table, built apart and attached when it is whole: unlike CREATE TABLE ... PARTITION OF the root,
-- that neither waits for readers of the root (a snapshot may take hours) nor lets writers queue up behind it.
-- The root's replica identity reaches no leaf by itself, so each is given it, and a leaf of the outbox its unique index.
-- Returns the number of leaves made: none if the month is there.
CREATE OR REPLACE FUNCTION sales.make_month(root name, key name, by_day boolean, identity text, month date) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hashes CONSTANT integer := 4;
    part CONSTANT text := root || to_char(month, '_YYYY_MM');
    next_month CONSTANT date := month + interval '1 month';
    -- A month that is older than the 90 days which events stay here ages as a whole: loading years of history
    -- makes a leaf for each such month, not thirty.
    whole CONSTANT boolean := by_day AND next_month < current_date - 90;
    -- So that a day's bounds do not depend on the session's time zone.
    utc CONSTANT text := CASE WHEN by_day THEN ' 00:00:00+00' ELSE '' END;
    leaf record;
    made integer := 0;
BEGIN
    IF to_regclass(format('sales.%I', part)) IS NOT NULL THEN
        RETURN 0;
    END IF;
    EXECUTE format('CREATE TABLE sales.%I (LIKE sales.%I INCLUDING ALL) %s', part, root, CASE
        WHEN whole THEN ''
        WHEN by_day THEN format('PARTITION BY RANGE (%I)', key)
        ELSE 'PARTITION BY HASH (tenant_id)'
    END);
    FOR leaf IN
        SELECT part AS name, NULL AS bounds
        WHERE whole
        UNION ALL
        SELECT part || to_char(day, '_DD'), format('FROM (%L) TO (%L)', day || utc, (day + 1) || utc)
        FROM (SELECT generate_series(month, next_month - 1, '1 day')::date AS day) AS days
        WHERE by_day AND NOT whole
        UNION ALL
        SELECT part || '_' || remainder, format('WITH (MODULUS %s, REMAINDER %s)', hashes, remainder)
        FROM generate_series(0, hashes - 1) AS remainder
        WHERE NOT by_day
    LOOP
        IF leaf.bounds IS NOT NULL THEN
            EXECUTE format('CREATE TABLE sales.%I PARTITION OF sales.%I FOR VALUES %s', leaf.name, part, leaf.bounds);
        END IF;
        EXECUTE format('ALTER TABLE sales.%I REPLICA IDENTITY %s', leaf.name, identity);
        IF root = 'outbox_events' THEN
            PERFORM sales.identify_events(leaf.name);
        END IF;
        made := made + 1;
    END LOOP;
    EXECUTE format(
        'ALTER TABLE sales.%I ATTACH PARTITION sales.%I FOR VALUES FROM (%L) TO (%L)',
        root, part, month || utc, next_month || utc
    );
    RETURN made;
END
$$;

-- A leaf's writers wait from the start of its index to the end of this transaction; other leaves' don't, as the root is
-- not locked here. So today's leaf is last. It needs a transaction of its own: a lock on the root that an earlier
-- statement had taken, such as CREATE TRIGGER, would stop all writers meanwhile.
DO $$
DECLARE
    leaf text;
BEGIN
    FOR leaf IN
        SELECT class.relname
        FROM pg_partition_tree('sales.outbox_events') AS tree
        JOIN pg_class AS class ON class.oid = tree.relid
        WHERE tree.isleaf AND class.relispartition
        ORDER BY class.relname = to_char(now() AT TIME ZONE 'UTC', '"outbox_events_"YYYY_MM_DD'), class.relname
    LOOP
        PERFORM sales.identify_events(leaf);
    END LOOP;
END
$$;

-- Of one leaf of the outbox: the rows of each tenant that is not held, and the sum of the hashes of what the archive
-- holds of each (schemas/checksums.py: row_text). Rows, not different ids: a second payload of an id must be proven as well.
CREATE OR REPLACE FUNCTION sales.event_sums(leaf text, held text[])
RETURNS TABLE (tenant_id text, events bigint, total numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT tenant_id::text, count(*), sum(sales.text_hash(concat_ws(chr(31), '
        '''='' || aggregate_id, ''='' || aggregate_type, '
        '''='' || ((occurred_at AT TIME ZONE ''UTC'')::date - date ''1970-01-01''), '
        '''='' || event_id, ''='' || event_type, '
        '''='' || (extract(epoch FROM occurred_at) * 1000000)::bigint, '
        '''='' || payload::text, ''='' || schema_version, '
        '''='' || tenant_id, coalesce(''='' || traceparent, ''~'')))) '
        'FROM %s WHERE (tenant_id = ANY ($1)) IS NOT TRUE GROUP BY tenant_id',
        sales.leaf_of('sales.outbox_events', leaf)
    ) USING held;
END
$$;
-- Only event_sums has called it.
-- squawk-ignore ban-drop-function
DROP FUNCTION sales.event_hash(uuid);

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA sales FROM PUBLIC;
