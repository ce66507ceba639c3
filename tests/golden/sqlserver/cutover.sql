-- take replay lock
SET NOCOUNT ON;
DECLARE @taken INT;
EXEC @taken = sp_getapplock @Resource = N'headrace replay', @LockMode = N'Exclusive', @LockOwner = N'Session',
    @LockTimeout = 0;
SELECT CASE WHEN @taken >= 0 THEN 1 ELSE 0 END;

-- limit lock wait
SET LOCK_TIMEOUT 100;

-- block landing
SELECT COUNT(*) FROM [reporting_g1].[checkpoint] WITH (TABLOCKX, HOLDLOCK);

-- list views
SELECT v.[name], m.[definition] FROM sys.views AS v
JOIN sys.schemas AS s ON s.[schema_id] = v.[schema_id]
JOIN sys.sql_modules AS m ON m.[object_id] = v.[object_id]
WHERE s.[name] = N'report';
