-- read epochs
SELECT epoch FROM headrace.epoch

-- read cutoffs
SELECT part, before, held FROM retention.cutoff

-- lock cutoffs
LOCK TABLE retention.cutoff IN ACCESS EXCLUSIVE MODE

-- set cutoff
INSERT INTO retention.cutoff AS c (part, before, held, set_at) VALUES (%s, %s, %s, now())
ON CONFLICT (part) DO UPDATE
SET before = greatest(c.before, excluded.before), held = excluded.held, set_at = excluded.set_at

-- erase events
INSERT INTO retention.erased_event (tenant_id, event_id) SELECT %s, unnest(%s::text[])
ON CONFLICT (tenant_id, event_id) DO NOTHING

-- generations
SELECT schemaname FROM pg_tables WHERE tablename = 'checkpoint'
