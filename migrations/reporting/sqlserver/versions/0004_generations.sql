-- Generations side by side. First what all of them share, made by the first one; the migrator, who alone makes
-- generations and turns the readers' views, is the only one who writes it.

IF NOT EXISTS (SELECT 1 FROM sys.schemas WHERE name = N'headrace')
    EXEC (N'CREATE SCHEMA [headrace]');
GO

-- building: being filled, not shown; live: the readers' views show it; previous: was live, and is still being fed;
-- dropped: gone, or being removed. A number is used once.
IF NOT EXISTS (SELECT 1 FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = N'headrace' AND TABLE_NAME = N'generation')
CREATE TABLE [headrace].[generation] (
    [generation] INT NOT NULL,
    [state] NVARCHAR(16) NOT NULL,
    [epoch] INT NOT NULL, -- reads nothing that was captured before this epoch
    [began_at] DATETIME2(6) NOT NULL CONSTRAINT [generation_began_at] DEFAULT SYSUTCDATETIME(),
    [changed_at] DATETIME2(6) NOT NULL CONSTRAINT [generation_changed_at] DEFAULT SYSUTCDATETIME(),
    CONSTRAINT [generation_pkey] PRIMARY KEY ([generation]),
    CONSTRAINT [generation_state] CHECK ([state] IN (N'building', N'live', N'previous', N'dropped'))
);
GO

-- Each history of the source (docs/decisions/0012-epochs.md): which cluster, and which of its timelines. One that has
-- ended, as the source was found to have restarted, says so: nothing is captured until the next one is raised.
IF NOT EXISTS (SELECT 1 FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = N'headrace' AND TABLE_NAME = N'epoch')
CREATE TABLE [headrace].[epoch] (
    [epoch] INT NOT NULL,
    [reason] NVARCHAR(512) NOT NULL,
    [raised_by] NVARCHAR(128) NOT NULL,
    [raised_at] DATETIME2(6) NOT NULL CONSTRAINT [epoch_raised_at] DEFAULT SYSUTCDATETIME(),
    [system_identifier] BIGINT NOT NULL,
    [timeline] INT NOT NULL,
    [ended_at] DATETIME2(6) NULL,
    [ended_because] NVARCHAR(512) NULL,
    CONSTRAINT [epoch_pkey] PRIMARY KEY ([epoch])
);
GO

-- What `headrace verify --repair` has taken out of a generation: who, when, and the row as it was (JSON).
IF NOT EXISTS (SELECT 1 FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = N'headrace' AND TABLE_NAME = N'repair')
CREATE TABLE [headrace].[repair] (
    [repaired_at] DATETIME2(6) NOT NULL,
    [repaired_by] NVARCHAR(128) NOT NULL,
    [generation] INT NOT NULL,
    [table_name] NVARCHAR(63) NOT NULL,
    [row_key] NVARCHAR(MAX) NOT NULL,
    [old_row] NVARCHAR(MAX) NOT NULL
);
GO
GRANT SELECT ON SCHEMA::[headrace] TO [reporting_writer];
GO
GRANT INSERT ON [headrace].[repair] TO [reporting_writer];
GO
GRANT SELECT ON SCHEMA::[headrace] TO [reporting_reader];
GO
GRANT SELECT ON SCHEMA::[headrace] TO [reporting_retention];
GO
-- What `headrace run watch` finds out: a failover that lost nothing, or the end of a history.
GRANT UPDATE ON [headrace].[epoch] ([timeline], [ended_at], [ended_because]) TO [reporting_writer];
GO

-- Then this generation: per table the moment, by the source's clock, up to which it is complete, by the last barrier
-- passed, and up to which it has been proven equal to the source. Written by the workers that find out; readers see it as
-- report.freshness (docs/freshness.md).
CREATE TABLE [reporting_gN].[freshness] (
    [table_name] NVARCHAR(63) COLLATE Latin1_General_100_BIN2 NOT NULL,
    [complete_through] DATETIME2(6) NULL,
    [passed_at] DATETIME2(6) NULL,
    [verified_through] DATETIME2(6) NULL,
    [verified_at] DATETIME2(6) NULL,
    CONSTRAINT [freshness_pkey] PRIMARY KEY ([table_name])
);
GO
