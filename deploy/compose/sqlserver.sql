-- Create what no migration can: the database, and the login that owns it and may create the other logins.
-- sqlcmd reads the password from the environment. Repeating it is harmless.

IF DB_ID(N'reporting') IS NULL
    CREATE DATABASE [reporting];
GO
IF NOT EXISTS (SELECT 1 FROM sys.server_principals WHERE name = N'reporting_migrator')
    CREATE LOGIN [reporting_migrator] WITH PASSWORD = N'$(REPORTING_MIGRATOR_PASSWORD)';
GO
GRANT ALTER ANY LOGIN TO [reporting_migrator];
GO
ALTER AUTHORIZATION ON DATABASE::[reporting] TO [reporting_migrator];
GO
