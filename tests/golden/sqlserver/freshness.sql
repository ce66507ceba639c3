-- drop view
DROP VIEW IF EXISTS [report].[freshness];

-- create view
CREATE VIEW [report].[freshness] AS
SELECT [table_name], [complete_through],
    CAST(DATEDIFF_BIG(MILLISECOND, [complete_through], SYSUTCDATETIME()) / 1000.0 AS DECIMAL(19, 3)) AS [lag_seconds],
    [passed_at], [verified_through], [verified_at]
FROM [reporting_g1].[freshness];
