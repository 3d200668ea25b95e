-- Statements on the catalog of one database file. {db} is the quoted name of the database.

-- name: exists
SELECT count(*) FROM information_schema.tables
WHERE table_catalog = ? AND table_schema = 'catalog' AND table_name = 'workspaces'

-- name: create
CREATE SCHEMA IF NOT EXISTS {db}.catalog;
CREATE TABLE IF NOT EXISTS {db}.catalog.format (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS {db}.catalog.workspaces (
    name VARCHAR NOT NULL,
    schema VARCHAR NOT NULL,
    placement VARCHAR NOT NULL,
    revision BIGINT NOT NULL,
    created_at DOUBLE NOT NULL,
    info VARCHAR NOT NULL
);

-- name: version
SELECT max(version) FROM {db}.catalog.format

-- name: set_version
INSERT INTO {db}.catalog.format VALUES (?)

-- name: names
SELECT name FROM {db}.catalog.workspaces

-- name: workspace
SELECT name, schema, placement, revision, created_at, info FROM {db}.catalog.workspaces WHERE schema = ?

-- name: add_workspace
INSERT INTO {db}.catalog.workspaces VALUES (?, ?, ?, 0, ?, ?)

-- name: remove_workspace
DELETE FROM {db}.catalog.workspaces WHERE schema = ?

-- name: revision
SELECT revision FROM {db}.catalog.workspaces WHERE schema = ?

-- name: set_revision
UPDATE {db}.catalog.workspaces SET revision = ? WHERE schema = ?

-- name: set_info
UPDATE {db}.catalog.workspaces SET info = ? WHERE schema = ?
