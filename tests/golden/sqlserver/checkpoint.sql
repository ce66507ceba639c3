-- make checkpoint
INSERT INTO [reporting_g1].[checkpoint] ([topic], [partition], [topic_id], [next_offset], [fence], [updated_at])
SELECT ?, ?, ?, ?, 0, SYSUTCDATETIME()
WHERE NOT EXISTS (
    SELECT 1 FROM [reporting_g1].[checkpoint] WITH (UPDLOCK, SERIALIZABLE)
    WHERE [topic] = ? AND [partition] = ?
);

-- raise fence
UPDATE [reporting_g1].[checkpoint] SET [fence] = [fence] + 1, [updated_at] = SYSUTCDATETIME()
WHERE [topic] = ? AND [partition] = ?;

-- read checkpoint
SELECT [topic_id], [next_offset], [fence] FROM [reporting_g1].[checkpoint]
WHERE [topic] = ? AND [partition] = ?;

-- move checkpoints
UPDATE c SET [next_offset] = m.[next_offset], [updated_at] = SYSUTCDATETIME()
FROM [reporting_g1].[checkpoint] AS c
JOIN OPENJSON(?) WITH (
    [topic] NVARCHAR(249) '$[0]',
    [partition] INT '$[1]',
    [fence] BIGINT '$[2]',
    [next_offset] BIGINT '$[3]'
) AS m ON c.[topic] = m.[topic] COLLATE Latin1_General_100_BIN2 AND c.[partition] = m.[partition] AND c.[fence] = m.[fence];
