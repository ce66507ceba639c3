-- What all generations of this database share, made by the first one. The users' logins belong to the server:
-- `headrace migrate` makes them before this runs, with the passwords from the settings.

IF NOT EXISTS (SELECT 1 FROM sys.database_principals WHERE name = N'reporting_writer')
    CREATE USER [reporting_writer] FOR LOGIN [reporting_writer];
GO
IF NOT EXISTS (SELECT 1 FROM sys.database_principals WHERE name = N'reporting_reader')
    CREATE USER [reporting_reader] FOR LOGIN [reporting_reader];
GO

-- What readers see: views on the live generation, later ones included.
IF NOT EXISTS (SELECT 1 FROM sys.schemas WHERE name = N'report')
    EXEC (N'CREATE SCHEMA [report]');
GO
GRANT SELECT ON SCHEMA::[report] TO [reporting_reader];
GO
