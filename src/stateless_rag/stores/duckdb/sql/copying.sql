-- Statements that copy a workspace's tables. {from} and {to} are schemas, qualified by their databases.

-- name: tables
SELECT table_name, sql FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? ORDER BY table_name

-- name: drop_schema
DROP SCHEMA IF EXISTS {to} CASCADE

-- name: create_schema
CREATE SCHEMA {to}

-- name: create_table
CREATE TABLE {to}."{table}" {columns}

-- name: copy_rows
INSERT INTO {to}."{table}" SELECT * FROM {from}."{table}"

-- name: copy_file
COPY FROM DATABASE {from} TO {to}

-- name: path
SELECT path FROM duckdb_databases() WHERE database_name = ?

-- name: attach_to_read
ATTACH '{path}' AS {alias} (READ_ONLY)

-- name: workspaces
SELECT name, schema, placement, revision, created_at, info FROM {db}.catalog.workspaces
