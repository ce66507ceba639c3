-- make checkpoint
INSERT INTO reporting_g1.checkpoint (topic, partition, topic_id, next_offset, fence, updated_at)
VALUES (%s, %s, %s, %s, 0, now())
ON CONFLICT (topic, partition) DO NOTHING

-- raise fence
UPDATE reporting_g1.checkpoint SET fence = fence + 1, updated_at = now()
WHERE topic = %s AND partition = %s
RETURNING topic_id, next_offset, fence

-- read checkpoint
SELECT topic_id, next_offset, fence FROM reporting_g1.checkpoint
WHERE topic = %s AND partition = %s

-- move checkpoints
UPDATE reporting_g1.checkpoint AS c
SET next_offset = m.next_offset, updated_at = now()
FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::bigint[]) AS m (topic, partition, fence, next_offset)
WHERE c.topic = m.topic AND c.partition = m.partition AND c.fence = m.fence
