-- Create what no migration can: databases, and the roles that own them. The image runs it once, when the volume is new.
-- psql reads the passwords from the environment. OWNERS in stack/postgres.py is the same.

\set ON_ERROR_STOP on
\getenv migrator_password OLTP_MIGRATOR_PASSWORD
\getenv registry_password REGISTRY_PASSWORD

CREATE ROLE migrator LOGIN CREATEROLE REPLICATION PASSWORD :'migrator_password';
CREATE DATABASE shop OWNER migrator;

CREATE ROLE registry LOGIN PASSWORD :'registry_password';
CREATE DATABASE registry OWNER registry;
