-- take replay lock
SELECT CAST(pg_try_advisory_lock(hashtextextended('headrace replay', 0)) AS int)

-- limit lock wait
SET LOCAL lock_timeout = 100

-- block landing
LOCK TABLE reporting_g1.checkpoint IN EXCLUSIVE MODE

-- list views
SELECT viewname, definition FROM pg_views WHERE schemaname = 'report'
