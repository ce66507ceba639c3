-- reporting: sums
SELECT e.tenant, e.first_day, COUNT_BIG(*), SUM(CAST(CAST(SUBSTRING(e.hashed, 1, 7) AS BIGINT) * 16 + CAST(SUBSTRING(e.hashed, 8, 1) AS INT) / 16 AS DECIMAL(38, 0)))
FROM (
    SELECT [tenant_id] AS tenant, DATEFROMPARTS(YEAR([event_day]), MONTH([event_day]), 1) AS first_day,
        HASHBYTES('MD5', CONVERT(VARCHAR(MAX), (CAST(ISNULL(N'=' + REPLACE([tenant_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') AS NVARCHAR(MAX)) + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF(DAY, CAST('1970-01-01' AS DATE), [event_day])), N'~') + NCHAR(31)
        + ISNULL(N'=' + [event_id], N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([aggregate_type] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([aggregate_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([event_type] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), [schema_version]), N'~') + NCHAR(31)
        + ISNULL(N'=' + [payload], N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [occurred_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([traceparent] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~')) COLLATE Latin1_General_100_BIN2_UTF8)) AS hashed
    FROM reporting_g1.events
    WHERE [event_day] >= %s
) AS e
GROUP BY e.tenant, e.first_day

-- reporting: parts
SELECT e.part, COUNT_BIG(*), SUM(CAST(CAST(SUBSTRING(e.hashed, 1, 7) AS BIGINT) * 16 + CAST(SUBSTRING(e.hashed, 8, 1) AS INT) / 16 AS DECIMAL(38, 0)))
FROM (
    SELECT CASE
        WHEN ([tenant_id] < %s OR ([tenant_id] = %s AND ([event_day] < %s OR ([event_day] = %s AND [event_id] <= %s)))) THEN 0
        WHEN ([tenant_id] < %s OR ([tenant_id] = %s AND ([event_day] < %s OR ([event_day] = %s AND [event_id] <= %s)))) THEN 1
        ELSE 2 END AS part,
        HASHBYTES('MD5', CONVERT(VARCHAR(MAX), (CAST(ISNULL(N'=' + REPLACE([tenant_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') AS NVARCHAR(MAX)) + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF(DAY, CAST('1970-01-01' AS DATE), [event_day])), N'~') + NCHAR(31)
        + ISNULL(N'=' + [event_id], N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([aggregate_type] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([aggregate_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([event_type] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), [schema_version]), N'~') + NCHAR(31)
        + ISNULL(N'=' + [payload], N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [occurred_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([traceparent] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~')) COLLATE Latin1_General_100_BIN2_UTF8)) AS hashed
    FROM reporting_g1.events
    WHERE [tenant_id] IN (%s, %s)
        AND (([event_day] >= %s AND [event_day] < %s) OR [event_day] IS NULL)
        AND CASE WHEN [event_day] < %s AND [tenant_id] NOT IN (%s) THEN 1 ELSE 0 END = 0
        AND ([tenant_id] > %s OR ([tenant_id] = %s AND ([event_day] > %s OR ([event_day] = %s AND [event_id] > %s))))
        AND ([tenant_id] < %s OR ([tenant_id] = %s AND ([event_day] < %s OR ([event_day] = %s AND [event_id] <= %s))))
) AS e
GROUP BY e.part

-- reporting: bounds
SELECT e.k0, e.k1, e.k2
FROM (
    SELECT [tenant_id] AS k0, [event_day] AS k1, [event_id] AS k2, ROW_NUMBER() OVER (ORDER BY [tenant_id], [event_day], [event_id]) AS place
    FROM reporting_g1.events
    WHERE [tenant_id] IN (%s, %s)
        AND (([event_day] >= %s AND [event_day] < %s) OR [event_day] IS NULL)
        AND CASE WHEN [event_day] < %s AND [tenant_id] NOT IN (%s) THEN 1 ELSE 0 END = 0
) AS e
WHERE e.place %% 100 = 0
ORDER BY e.place

-- reporting: hashes
SELECT [tenant_id], [event_day], [event_id],
    HASHBYTES('MD5', CONVERT(VARCHAR(MAX), (CAST(ISNULL(N'=' + REPLACE([tenant_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') AS NVARCHAR(MAX)) + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF(DAY, CAST('1970-01-01' AS DATE), [event_day])), N'~') + NCHAR(31)
        + ISNULL(N'=' + [event_id], N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([aggregate_type] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([aggregate_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([event_type] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), [schema_version]), N'~') + NCHAR(31)
        + ISNULL(N'=' + [payload], N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [occurred_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([traceparent] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~')) COLLATE Latin1_General_100_BIN2_UTF8)) AS hashed
FROM reporting_g1.events
    WHERE [tenant_id] IN (%s, %s)
        AND (([event_day] >= %s AND [event_day] < %s) OR [event_day] IS NULL)
        AND CASE WHEN [event_day] < %s AND [tenant_id] NOT IN (%s) THEN 1 ELSE 0 END = 0

-- reporting: rows
SELECT [tenant_id], [event_day], [event_id], [aggregate_type], [aggregate_id], [event_type], [schema_version], [payload], [occurred_at], [traceparent]
FROM reporting_g1.events
    WHERE (([tenant_id] = %s AND [event_day] = %s AND [event_id] = %s) OR ([tenant_id] = %s AND [event_day] = %s AND [event_id] = %s))
