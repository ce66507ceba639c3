-- drop view
DROP VIEW IF EXISTS report.freshness

-- create view
CREATE VIEW report.freshness AS
SELECT table_name, complete_through,
    CAST(EXTRACT(EPOCH FROM statement_timestamp() - complete_through) AS decimal(19, 3)) AS lag_seconds,
    passed_at, verified_through, verified_at
FROM reporting_g1.freshness
