-- Statements on one workspace. {w} is its schema, qualified by the database it lies in.

-- No indexes: rows are looked up by joining a list, which reads the column of keys whether there is an index or
-- not, and each checkpoint writes an index of scattered keys as a whole.

-- name: create
CREATE SCHEMA IF NOT EXISTS {w};
CREATE TABLE IF NOT EXISTS {w}.documents (
    id VARCHAR NOT NULL,
    source VARCHAR,
    metadata VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    chunks INTEGER NOT NULL,
    tracking_id VARCHAR,
    updated_at DOUBLE NOT NULL
);
CREATE TABLE IF NOT EXISTS {w}.pending (
    sequence BIGINT NOT NULL,
    document_id VARCHAR NOT NULL,
    source VARCHAR,
    metadata VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    tracking_id VARCHAR NOT NULL,
    attempts INTEGER NOT NULL,
    errors VARCHAR NOT NULL,
    updated_at DOUBLE NOT NULL
);
CREATE TABLE IF NOT EXISTS {w}.chunks (
    id BIGINT NOT NULL,
    document_id VARCHAR NOT NULL,
    ordinal INTEGER NOT NULL,
    start BIGINT NOT NULL,
    stop BIGINT NOT NULL,
    text VARCHAR NOT NULL,
    tokens INTEGER NOT NULL,
    digest VARCHAR NOT NULL,
    generation VARCHAR NOT NULL,
    error VARCHAR,
    vector VARCHAR NOT NULL,
    embedded BIGINT NOT NULL,
    truncated BOOLEAN
);
CREATE TABLE IF NOT EXISTS {w}.mentions (
    id BIGINT,
    chunk BIGINT NOT NULL,
    generation VARCHAR NOT NULL,
    source_key VARCHAR NOT NULL,
    target_key VARCHAR,
    source VARCHAR NOT NULL,
    target VARCHAR,
    label VARCHAR NOT NULL,
    description VARCHAR NOT NULL,
    weight DOUBLE
);
CREATE TABLE IF NOT EXISTS {w}.entities (
    id BIGINT NOT NULL,
    key VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    type VARCHAR NOT NULL,
    description VARCHAR NOT NULL,
    weight INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    state VARCHAR NOT NULL,
    vector VARCHAR NOT NULL,
    embedded BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS {w}.relations (
    id BIGINT NOT NULL,
    left_id BIGINT NOT NULL,
    right_id BIGINT NOT NULL,
    source_key VARCHAR NOT NULL,
    target_key VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    keywords VARCHAR NOT NULL,
    description VARCHAR NOT NULL,
    weight DOUBLE NOT NULL,
    tokens INTEGER NOT NULL,
    state VARCHAR NOT NULL,
    vector VARCHAR NOT NULL,
    embedded BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS {w}.journal (
    digest VARCHAR NOT NULL,
    purpose VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    reply VARCHAR,
    truncated BOOLEAN NOT NULL,
    calls INTEGER NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    paid_at DOUBLE NOT NULL,
    document VARCHAR,
    query VARCHAR,
    texts INTEGER,
    batch VARCHAR
);
CREATE TABLE IF NOT EXISTS {w}.given (sequence BIGINT NOT NULL, value VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS {w}.disabled (
    id VARCHAR NOT NULL,
    source VARCHAR,
    metadata VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    chunks INTEGER NOT NULL,
    tracking_id VARCHAR,
    updated_at DOUBLE NOT NULL,
    content VARCHAR NOT NULL
);
CREATE TABLE IF NOT EXISTS {w}.aliases (key VARCHAR NOT NULL, target VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS {w}.curations (
    number BIGINT NOT NULL,
    made_at DOUBLE NOT NULL,
    kind VARCHAR NOT NULL,
    keys VARCHAR NOT NULL,
    names VARCHAR NOT NULL,
    payload VARCHAR NOT NULL
);

-- name: add_columns
ALTER TABLE {w}.chunks ADD COLUMN IF NOT EXISTS truncated BOOLEAN;
ALTER TABLE {w}.mentions ADD COLUMN IF NOT EXISTS weight DOUBLE;
ALTER TABLE {w}.journal ADD COLUMN IF NOT EXISTS document VARCHAR;
ALTER TABLE {w}.journal ADD COLUMN IF NOT EXISTS query VARCHAR;
ALTER TABLE {w}.journal ADD COLUMN IF NOT EXISTS texts INTEGER;
ALTER TABLE {w}.journal ADD COLUMN IF NOT EXISTS batch VARCHAR;
ALTER TABLE {w}.relations ALTER COLUMN weight TYPE DOUBLE

-- name: create_vectors
CREATE TABLE IF NOT EXISTS {w}.vectors (digest VARCHAR NOT NULL, vector FLOAT[{dimension}] NOT NULL);

-- Requests that a provider has in files; `holds` are those that are not answered.
-- name: create_batches
CREATE TABLE IF NOT EXISTS {w}.batches (
    name VARCHAR NOT NULL,
    provider VARCHAR,
    model VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    requests INTEGER NOT NULL,
    done INTEGER NOT NULL,
    replies INTEGER NOT NULL,
    error VARCHAR,
    made_at DOUBLE NOT NULL,
    holds VARCHAR NOT NULL
)

-- name: batches
SELECT name, provider, model, stage, status, requests, done, replies, error, made_at, holds
FROM {w}.batches ORDER BY made_at, name

-- name: change_batch
UPDATE {w}.batches SET provider = ?, stage = ?, status = ?, done = ?, replies = ?, error = ? WHERE name = ?

-- name: hold_in_batch
UPDATE {w}.batches SET holds = ? WHERE name = ?

-- name: remove_batch
DELETE FROM {w}.batches WHERE name = ?

-- name: batch_answered
SELECT digest, reply IS NOT NULL FROM {w}.journal WHERE batch = ? AND digest <> ''

-- Vectors of another embedder, gathered until they take the place of those there are.
-- name: create_coming
CREATE TABLE IF NOT EXISTS {w}.coming (digest VARCHAR NOT NULL, vector FLOAT[{dimension}] NOT NULL);

-- name: coming_exists
SELECT count(*) FROM information_schema.tables
WHERE table_catalog = ? AND table_schema = ? AND table_name = 'coming'

-- name: drop_coming
DROP TABLE IF EXISTS {w}.coming

-- name: known_coming
SELECT digest FROM {w}.coming WHERE digest IN (SELECT unnest(?::VARCHAR[]))

-- name: coming
SELECT digest, vector FROM {w}.coming WHERE digest IN (SELECT unnest(?::VARCHAR[]))

-- name: name_vectors
UPDATE {w}.{table} AS r SET vector = i.digest, embedded = ? FROM incoming i WHERE r.id = i.id

-- name: count_not_coming
SELECT count(*) FROM (
    SELECT vector FROM {w}.chunks UNION ALL SELECT vector FROM {w}.entities UNION ALL SELECT vector FROM {w}.relations
) r ANTI JOIN {w}.coming c ON c.digest = r.vector

-- name: drop_vectors
DROP TABLE IF EXISTS {w}.vectors

-- name: rename_coming
ALTER TABLE {w}.coming RENAME TO vectors

-- name: probe
SELECT 1 FROM {w}.documents LIMIT 0

-- name: has_tables
SELECT count(*) FROM information_schema.tables WHERE table_catalog = ? AND table_schema = ?

-- name: drop
DROP SCHEMA IF EXISTS {w} CASCADE

-- name: counts
SELECT (SELECT count(*) FROM {w}.documents), (SELECT count(*) FROM {w}.chunks),
       (SELECT count(*) FROM {w}.entities), (SELECT count(*) FROM {w}.relations)

-- name: has_keys
SELECT EXISTS (FROM {w}.chunks) OR EXISTS (FROM {w}.mentions) OR EXISTS (FROM {w}.curations)
    OR EXISTS (FROM {w}.aliases) OR EXISTS (FROM {w}.disabled)

-- name: generations
SELECT generation, count(*) FROM {w}.chunks GROUP BY generation ORDER BY generation

-- name: blocks
SELECT count(DISTINCT block_id) FROM pragma_storage_info('{table}') WHERE block_id >= 0

-- name: size
SELECT coalesce((SELECT sum(strlen(text)) FROM {w}.documents), 0)
     + coalesce((SELECT sum(strlen(text)) FROM {w}.pending), 0)
     + coalesce((SELECT sum(strlen(text) + strlen(content)) FROM {w}.disabled), 0)
     + coalesce((SELECT sum(strlen(text)) FROM {w}.chunks), 0)
     + coalesce((SELECT sum(strlen(description) + strlen(source_key) + 48) FROM {w}.mentions), 0)
     + coalesce((SELECT sum(strlen(description) + strlen(state) + 48) FROM {w}.entities), 0)
     + coalesce((SELECT sum(strlen(description) + strlen(state) + 64) FROM {w}.relations), 0)
     + coalesce((SELECT sum(strlen(reply)) FROM {w}.journal), 0)

-- name: embedded
SELECT id, embedded FROM {w}.{table}

-- name: rows_with_vectors
SELECT r.id, v.vector FROM {w}.{table} r JOIN {w}.vectors v ON v.digest = r.vector WHERE r.embedded > ?

-- name: vectors_of_rows
SELECT r.id, v.vector FROM {w}.{table} r JOIN {w}.vectors v ON v.digest = r.vector
WHERE r.id IN (SELECT unnest(?::BIGINT[]))

-- name: edges
SELECT id, left_id, right_id FROM {w}.relations

-- name: aliases
SELECT key, target FROM {w}.aliases

-- name: curations
SELECT number, made_at, kind, keys, names, payload FROM {w}.curations ORDER BY number

-- name: count_curations
SELECT count(*) FROM {w}.curations

-- name: remove_aliases
DELETE FROM {w}.aliases WHERE key IN (SELECT unnest(?::VARCHAR[]))

-- name: evidence
SELECT id, chunk FROM {w}.mentions WHERE id IS NOT NULL

-- What the views hold (`held.py`): the texts of a row in one, after the lengths of all but the last.
-- name: entities
SELECT id, concat(length(key), ',', length(name), ',', length(type), ':', key, name, type, description) AS texts,
       weight, tokens
FROM {w}.entities

-- name: entity_rows
SELECT id, key, name, type, description, weight, tokens, state, vector FROM {w}.entities
WHERE id IN (SELECT unnest(?::BIGINT[]))

-- name: relations
SELECT id,
       concat(
           length(source_key), ',', length(target_key), ',', length(source), ',', length(target), ',', length(keywords), ':',
           source_key, target_key, source, target, keywords, description
       ) AS texts,
       weight, tokens
FROM {w}.relations

-- name: relation_rows
SELECT id, source_key, target_key, source, target, keywords, description, weight, tokens, left_id, right_id, state,
       vector
FROM {w}.relations WHERE id IN (SELECT unnest(?::BIGINT[]))

-- name: pieces
SELECT id, document_id, ordinal, start, stop, text, tokens FROM {w}.chunks

-- name: sources
SELECT id, source, metadata FROM {w}.documents

-- name: document
SELECT id, source, metadata, text, digest, chunks, tracking_id, updated_at FROM {w}.documents WHERE id = ?

-- name: document_rows
SELECT id, source, metadata, text, digest, chunks, tracking_id, updated_at FROM {w}.documents
WHERE id IN (SELECT unnest(?::VARCHAR[]))

-- name: count_documents
SELECT count(*) FROM {w}.documents WHERE id IN (SELECT unnest(?::VARCHAR[]))

-- name: document_list
SELECT id, source, metadata, length(text), chunks, tracking_id, updated_at, ordinals, true
FROM {w}.documents LEFT JOIN (
    SELECT document_id, list(ordinal ORDER BY ordinal) AS ordinals FROM {w}.chunks WHERE truncated GROUP BY document_id
) ON document_id = id
UNION ALL SELECT id, source, metadata, length(text), chunks, tracking_id, updated_at, NULL, false FROM {w}.disabled

-- name: document_list_of
WITH wanted AS (SELECT unnest(?::VARCHAR[]) AS wanted_id)
SELECT id, source, metadata, length(text), chunks, tracking_id, updated_at, ordinals, true
FROM {w}.documents LEFT JOIN (
    SELECT document_id, list(ordinal ORDER BY ordinal) AS ordinals FROM {w}.chunks WHERE truncated GROUP BY document_id
) ON document_id = id WHERE id IN (FROM wanted)
UNION ALL SELECT id, source, metadata, length(text), chunks, tracking_id, updated_at, NULL, false
FROM {w}.disabled WHERE id IN (FROM wanted)

-- name: tracked
SELECT id FROM {w}.documents WHERE tracking_id = $1
UNION SELECT id FROM {w}.disabled WHERE tracking_id = $1
UNION SELECT document_id FROM {w}.pending WHERE tracking_id = $1

-- name: disabled
SELECT id FROM {w}.disabled

-- name: disabled_rows
SELECT id, source, metadata, text, digest, chunks, tracking_id, updated_at, content FROM {w}.disabled
WHERE id IN (SELECT unnest(?::VARCHAR[]))

-- name: remove_disabled
DELETE FROM {w}.disabled WHERE id IN (SELECT unnest(?::VARCHAR[]))

-- name: chunk_rows
SELECT id, document_id, ordinal, start, stop, text, tokens, digest, generation, vector, error, truncated
FROM {w}.chunks WHERE document_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY document_id, ordinal

-- name: mentions_in
SELECT chunk, generation, source_key, target_key, source, target, label, description, weight
FROM {w}.mentions WHERE chunk IN (SELECT unnest(?::BIGINT[]))

-- name: mentions_of
SELECT chunk, generation, source_key, target_key, source, target, label, description, weight
FROM {w}.mentions WHERE id IN (SELECT unnest(?::BIGINT[]))

-- Two lists are joined, not one of pairs: only then does the scan skip the texts of other rows.
-- name: mentions_at
SELECT id, chunk, generation, source_key, target_key, source, target, label, description, weight
FROM {w}.mentions WHERE id IN (SELECT unnest(?::BIGINT[])) AND chunk IN (SELECT unnest(?::BIGINT[]))

-- name: weights
SELECT id, chunk, weight FROM {w}.mentions WHERE weight > 0 AND id IN (SELECT unnest(?::BIGINT[]))

-- name: mentions_under
SELECT chunk, generation, source_key, target_key, source, target, label, description, weight
FROM {w}.mentions
WHERE source_key IN (SELECT unnest(?::VARCHAR[])) OR target_key IN (SELECT unnest(?::VARCHAR[]))

-- name: vectors
SELECT digest, vector FROM {w}.vectors WHERE digest IN (SELECT unnest(?::VARCHAR[]))

-- name: known_vectors
SELECT digest FROM {w}.vectors WHERE digest IN (SELECT unnest(?::VARCHAR[]))

-- name: collect_vectors
DELETE FROM {w}.vectors WHERE digest NOT IN (
    SELECT vector FROM {w}.chunks UNION ALL SELECT vector FROM {w}.entities UNION ALL SELECT vector FROM {w}.relations
)

-- name: count_vectors
SELECT count(*) FROM {w}.vectors

-- name: journal
SELECT digest, reply, prompt_tokens, completion_tokens, truncated FROM {w}.journal
WHERE digest IN (SELECT unnest(?::VARCHAR[])) AND reply IS NOT NULL ORDER BY paid_at

-- name: journaled
SELECT digest FROM {w}.journal WHERE reply IS NOT NULL

-- name: count_replies
SELECT count(*) FROM {w}.journal WHERE reply IS NOT NULL AND (? OR purpose IN (SELECT unnest(?::VARCHAR[])))

-- name: sum_up_replies
INSERT INTO {w}.journal
    (digest, purpose, model, truncated, calls, prompt_tokens, completion_tokens, paid_at, document, query, texts, batch)
SELECT '', purpose, model, false, sum(calls), sum(prompt_tokens), sum(completion_tokens), max(paid_at), document, query,
       sum(texts), batch
FROM {w}.journal WHERE reply IS NOT NULL AND (? OR purpose IN (SELECT unnest(?::VARCHAR[])))
GROUP BY purpose, model, document, query, batch, floor(paid_at / 86400)

-- name: drop_replies
DELETE FROM {w}.journal WHERE reply IS NOT NULL AND (? OR purpose IN (SELECT unnest(?::VARCHAR[])))

-- name: ledger
SELECT model, CASE WHEN $1 THEN purpose END, CASE WHEN $2 THEN document END, CASE WHEN $3 THEN query END,
       CASE WHEN $4 THEN strftime(make_timestamp((paid_at * 1000000)::BIGINT), '%Y-%m-%d') END, sum(calls)::BIGINT,
       sum(prompt_tokens)::BIGINT, sum(completion_tokens)::BIGINT, coalesce(sum(texts), 0)::BIGINT, batch
FROM {w}.journal
WHERE ($5::DOUBLE IS NULL OR paid_at >= $5::DOUBLE) AND ($6::DOUBLE IS NULL OR paid_at < $6::DOUBLE)
GROUP BY ALL HAVING sum(calls) > 0 ORDER BY ALL

-- name: paid_by_model
SELECT purpose, model, sum(calls)::BIGINT, sum(prompt_tokens)::BIGINT, sum(completion_tokens)::BIGINT
FROM {w}.journal WHERE model IN (SELECT unnest(?::VARCHAR[])) GROUP BY purpose, model

-- name: newest_replies
SELECT reply, completion_tokens FROM {w}.journal
WHERE reply IS NOT NULL AND calls = 1 AND model = ? ORDER BY paid_at DESC LIMIT ?

-- name: extracted_tokens
SELECT count(*), coalesce(sum(tokens), 0)::BIGINT FROM {w}.chunks WHERE generation = ?

-- name: claimable
SELECT count(*) FROM (SELECT arg_max(attempts, sequence) AS attempts FROM {w}.pending GROUP BY document_id)
WHERE attempts = 0

-- Of a file that was submitted in place of a text only its name; its contents may be large.
-- name: pending
SELECT p.sequence, document_id, source, metadata, text, tracking_id, attempts, errors,
       CASE WHEN starts_with(value, '"file"') THEN split_part(value, chr(10), 1) ELSE value END
FROM {w}.pending p LEFT JOIN {w}.given g ON g.sequence = p.sequence
WHERE p.sequence IN (SELECT unnest(?::BIGINT[])) ORDER BY p.sequence

-- name: file_content
SELECT split_part(value, chr(10), 2) FROM {w}.given
WHERE sequence IN (SELECT unnest(?::BIGINT[])) AND starts_with(value, '"file"')

-- name: pending_errors
SELECT sequence, errors FROM {w}.pending WHERE sequence IN (SELECT unnest(?::BIGINT[]))

-- name: pending_index
SELECT sequence, document_id, tracking_id, attempts > 0 FROM {w}.pending ORDER BY sequence

-- name: pending_list
SELECT sequence, document_id, source, metadata, length(text), tracking_id, attempts, errors, updated_at
FROM {w}.pending ORDER BY sequence

-- name: pending_list_of
SELECT sequence, document_id, source, metadata, length(text), tracking_id, attempts, errors, updated_at
FROM {w}.pending WHERE document_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY sequence

-- name: fail_pending
UPDATE {w}.pending SET attempts = ?, errors = ?, updated_at = ? WHERE sequence = ?

-- name: cancel_pending
UPDATE {w}.pending SET attempts = attempts + 1, errors = ?, updated_at = ?
WHERE sequence IN (SELECT unnest(?::BIGINT[]))

-- name: remove_pending
DELETE FROM {w}.pending WHERE sequence IN (SELECT unnest(?::BIGINT[]))

-- name: remove_given
DELETE FROM {w}.given WHERE sequence IN (SELECT unnest(?::BIGINT[]))

-- name: remove_by_id
DELETE FROM {w}.{table} WHERE id IN (SELECT unnest(?::BIGINT[]))

-- name: remove_documents
DELETE FROM {w}.documents WHERE id IN (SELECT unnest(?::VARCHAR[]))

-- name: remove_mentions
DELETE FROM {w}.mentions WHERE chunk IN (SELECT unnest(?::BIGINT[]))

-- name: remove_mentions_under
DELETE FROM {w}.mentions
WHERE source_key IN (SELECT unnest(?::VARCHAR[])) OR target_key IN (SELECT unnest(?::VARCHAR[]))

-- name: embedded_of
SELECT id, vector, embedded FROM {w}.{table} WHERE id IN (SELECT unnest(?::BIGINT[]))

-- name: dump_documents
SELECT id, source, metadata, text, digest, chunks FROM {w}.documents

-- name: dump_chunks
SELECT id, document_id, ordinal, start, stop, text, tokens, digest, generation, error, vector FROM {w}.chunks

-- name: dump_mentions
SELECT id, chunk, generation, source_key, target_key, source, target, label, description, weight FROM {w}.mentions

-- name: dump_entities
SELECT id, key, name, type, description, weight, state, vector FROM {w}.entities

-- name: dump_relations
SELECT id, left_id, right_id, source_key, target_key, source, target, keywords, description, weight, state, vector
FROM {w}.relations

-- name: dump_aliases
SELECT key, target FROM {w}.aliases

-- name: dump_pending
SELECT document_id, source, metadata, text, attempts, errors FROM {w}.pending

-- name: dump_vectors
SELECT digest, vector FROM {w}.vectors WHERE digest IN (
    SELECT vector FROM {w}.chunks UNION ALL SELECT vector FROM {w}.entities UNION ALL SELECT vector FROM {w}.relations
)
