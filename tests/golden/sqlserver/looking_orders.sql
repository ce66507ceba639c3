-- reporting: sums
SELECT e.tenant, e.first_day, COUNT_BIG(*), SUM(CAST(CAST(SUBSTRING(e.hashed, 1, 7) AS BIGINT) * 16 + CAST(SUBSTRING(e.hashed, 8, 1) AS INT) / 16 AS DECIMAL(38, 0)))
FROM (
    SELECT [tenant_id] AS tenant, DATEFROMPARTS(YEAR([order_month]), MONTH([order_month]), 1) AS first_day,
        HASHBYTES('MD5', CONVERT(VARCHAR(MAX), (CAST(ISNULL(N'=' + REPLACE([tenant_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') AS NVARCHAR(MAX)) + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF(DAY, CAST('1970-01-01' AS DATE), [order_month])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([order_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([customer_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([status] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(41), [total]), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([currency] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [placed_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [approved_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [shipped_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [delivered_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [cancelled_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [created_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([created_by] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [updated_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([updated_by] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [deleted_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([deleted_by] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~')) COLLATE Latin1_General_100_BIN2_UTF8)) AS hashed
    FROM reporting_g1.orders
    WHERE _deleted = 0
        AND [order_month] >= %s
) AS e
GROUP BY e.tenant, e.first_day

-- reporting: parts
SELECT e.part, COUNT_BIG(*), SUM(CAST(CAST(SUBSTRING(e.hashed, 1, 7) AS BIGINT) * 16 + CAST(SUBSTRING(e.hashed, 8, 1) AS INT) / 16 AS DECIMAL(38, 0)))
FROM (
    SELECT CASE
        WHEN ([tenant_id] < %s OR ([tenant_id] = %s AND ([order_month] < %s OR ([order_month] = %s AND [order_id] <= %s)))) THEN 0
        WHEN ([tenant_id] < %s OR ([tenant_id] = %s AND ([order_month] < %s OR ([order_month] = %s AND [order_id] <= %s)))) THEN 1
        ELSE 2 END AS part,
        HASHBYTES('MD5', CONVERT(VARCHAR(MAX), (CAST(ISNULL(N'=' + REPLACE([tenant_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') AS NVARCHAR(MAX)) + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF(DAY, CAST('1970-01-01' AS DATE), [order_month])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([order_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([customer_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([status] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(41), [total]), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([currency] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [placed_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [approved_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [shipped_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [delivered_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [cancelled_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [created_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([created_by] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [updated_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([updated_by] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [deleted_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([deleted_by] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~')) COLLATE Latin1_General_100_BIN2_UTF8)) AS hashed
    FROM reporting_g1.orders
    WHERE _deleted = 0
        AND [tenant_id] IN (%s, %s)
        AND (([order_month] >= %s AND [order_month] < %s) OR [order_month] IS NULL)
        AND CASE WHEN [order_month] < %s AND [tenant_id] NOT IN (%s) THEN 1 ELSE 0 END = 0
        AND ([tenant_id] > %s OR ([tenant_id] = %s AND ([order_month] > %s OR ([order_month] = %s AND [order_id] > %s))))
        AND ([tenant_id] < %s OR ([tenant_id] = %s AND ([order_month] < %s OR ([order_month] = %s AND [order_id] <= %s))))
) AS e
GROUP BY e.part

-- reporting: bounds
SELECT e.k0, e.k1, e.k2
FROM (
    SELECT [tenant_id] AS k0, [order_month] AS k1, [order_id] AS k2, ROW_NUMBER() OVER (ORDER BY [tenant_id], [order_month], [order_id]) AS place
    FROM reporting_g1.orders
    WHERE _deleted = 0
        AND [tenant_id] IN (%s, %s)
        AND (([order_month] >= %s AND [order_month] < %s) OR [order_month] IS NULL)
        AND CASE WHEN [order_month] < %s AND [tenant_id] NOT IN (%s) THEN 1 ELSE 0 END = 0
) AS e
WHERE e.place %% 100 = 0
ORDER BY e.place

-- reporting: hashes
SELECT [tenant_id], [order_month], [order_id],
    HASHBYTES('MD5', CONVERT(VARCHAR(MAX), (CAST(ISNULL(N'=' + REPLACE([tenant_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') AS NVARCHAR(MAX)) + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF(DAY, CAST('1970-01-01' AS DATE), [order_month])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([order_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([customer_id] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([status] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(41), [total]), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([currency] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [placed_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [approved_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [shipped_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [delivered_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [cancelled_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [created_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([created_by] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [updated_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([updated_by] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~') + NCHAR(31)
        + ISNULL(N'=' + CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), [deleted_at])), N'~') + NCHAR(31)
        + ISNULL(N'=' + REPLACE([deleted_by] COLLATE Latin1_General_100_BIN2, NCHAR(31), NCHAR(31) + NCHAR(31)), N'~')) COLLATE Latin1_General_100_BIN2_UTF8)) AS hashed
FROM reporting_g1.orders
    WHERE _deleted = 0
        AND [tenant_id] IN (%s, %s)
        AND (([order_month] >= %s AND [order_month] < %s) OR [order_month] IS NULL)
        AND CASE WHEN [order_month] < %s AND [tenant_id] NOT IN (%s) THEN 1 ELSE 0 END = 0

-- reporting: rows
SELECT [tenant_id], [order_month], [order_id], [customer_id], [status], [total], [currency], [placed_at], [approved_at], [shipped_at], [delivered_at], [cancelled_at], [created_at], [created_by], [updated_at], [updated_by], [deleted_at], [deleted_by]
FROM reporting_g1.orders
    WHERE _deleted = 0
        AND (([tenant_id] = %s AND [order_month] = %s AND [order_id] = %s) OR ([tenant_id] = %s AND [order_month] = %s AND [order_id] = %s))
