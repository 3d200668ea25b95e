-- What must not be found in a workspace. {w} is its schema; each statement gives a row of one column for each fault.

-- name: duplicate_documents
SELECT id FROM {w}.documents GROUP BY id HAVING count(*) > 1

-- name: duplicate_chunks
SELECT id FROM {w}.chunks GROUP BY id HAVING count(*) > 1

-- name: duplicate_mentions
SELECT any_value(source_key || coalesce(' — ' || target_key, '')) FROM (SELECT * EXCLUDE (id) FROM {w}.mentions) said
GROUP BY said HAVING count(*) > 1

-- name: duplicate_entities
SELECT any_value(key) FROM {w}.entities GROUP BY id HAVING count(*) > 1

-- name: duplicate_relations
SELECT any_value(source_key || ' — ' || target_key) FROM {w}.relations GROUP BY id HAVING count(*) > 1

-- name: duplicate_vectors
SELECT digest FROM {w}.vectors GROUP BY digest HAVING count(*) > 1

-- name: duplicate_pending
SELECT any_value(document_id) FROM {w}.pending GROUP BY sequence HAVING count(*) > 1

-- name: orphan_chunks
SELECT DISTINCT document_id FROM {w}.chunks ANTI JOIN {w}.documents d ON d.id = document_id

-- name: orphan_mentions
SELECT source_key || coalesce(' — ' || target_key, '') FROM {w}.mentions ANTI JOIN {w}.chunks c ON c.id = chunk

-- name: foreign_mentions
SELECT m.source_key || coalesce(' — ' || m.target_key, '') FROM {w}.mentions m JOIN {w}.chunks c ON c.id = m.chunk
WHERE c.generation <> m.generation

-- name: duplicate_disabled
SELECT id FROM {w}.disabled GROUP BY id HAVING count(*) > 1

-- name: disabled_too
SELECT DISTINCT id FROM {w}.disabled SEMI JOIN {w}.documents d USING (id)

-- name: duplicate_coming
SELECT digest FROM {w}.coming GROUP BY digest HAVING count(*) > 1

-- name: bad_coming
SELECT digest FROM {w}.coming WHERE NOT isfinite(array_inner_product(vector, vector))

-- name: long_coming
SELECT digest FROM {w}.coming WHERE abs(array_inner_product(vector, vector) - 1) > 0.001
AND array_inner_product(vector, vector) <> 0

-- name: foreign_coming
SELECT digest FROM {w}.coming

-- name: orphan_given
SELECT sequence FROM {w}.given ANTI JOIN {w}.pending p USING (sequence)

-- name: missing_chunk_vectors
SELECT r.id FROM {w}.chunks r ANTI JOIN {w}.vectors v ON v.digest = r.vector

-- name: missing_entity_vectors
SELECT r.key FROM {w}.entities r ANTI JOIN {w}.vectors v ON v.digest = r.vector

-- name: missing_relation_vectors
SELECT r.source_key || ' — ' || r.target_key FROM {w}.relations r ANTI JOIN {w}.vectors v ON v.digest = r.vector

-- name: bad_vectors
SELECT digest FROM {w}.vectors WHERE NOT isfinite(array_inner_product(vector, vector))

-- name: long_vectors
SELECT digest FROM {w}.vectors WHERE abs(array_inner_product(vector, vector) - 1) > 0.001
AND array_inner_product(vector, vector) <> 0

-- name: batches_at_odds
SELECT name FROM {w}.batches WHERE NOT json_valid(holds) OR json_type(holds) <> 'OBJECT'
OR stage NOT IN ('prepared', 'submitted', 'collected', 'done') OR (stage = 'submitted' AND provider IS NULL)
OR (stage IN ('collected', 'done') AND holds <> '{}') UNION ALL
SELECT name FROM {w}.batches GROUP BY name HAVING count(*) > 1

-- name: future_rows
SELECT id FROM {w}.chunks WHERE embedded > {revision}
UNION ALL SELECT id FROM {w}.entities WHERE embedded > {revision}
UNION ALL SELECT id FROM {w}.relations WHERE embedded > {revision}

-- name: replies_at_odds
SELECT digest FROM {w}.journal WHERE digest <> '' AND reply IS NOT NULL GROUP BY digest HAVING count(DISTINCT reply) > 1

-- name: pending_texts
SELECT document_id, text FROM {w}.pending ANTI JOIN {w}.given g USING (sequence)

-- name: orphans
SELECT DISTINCT document_id FROM {w}.chunks ANTI JOIN {w}.documents d ON d.id = document_id

-- name: missing_vectors
SELECT DISTINCT vector FROM (
    SELECT vector FROM {w}.chunks UNION ALL SELECT vector FROM {w}.entities UNION ALL SELECT vector FROM {w}.relations
) named ANTI JOIN {w}.vectors v ON v.digest = named.vector

-- name: unused_vectors
SELECT digest FROM {w}.vectors ANTI JOIN (
    SELECT vector FROM {w}.chunks UNION ALL SELECT vector FROM {w}.entities UNION ALL SELECT vector FROM {w}.relations
) named ON named.vector = digest

-- name: ids_with_vectors
SELECT DISTINCT r.id FROM {w}.{table} r SEMI JOIN {w}.vectors v ON v.digest = r.vector

-- name: examples
SELECT count(*), list(example::VARCHAR)[:5] FROM ({found}) found(example)

-- name: counts
SELECT (SELECT count(*) FROM {w}.documents), (SELECT count(*) FROM {w}.chunks), (SELECT count(*) FROM {w}.mentions),
       (SELECT count(*) FROM {w}.entities), (SELECT count(*) FROM {w}.relations), (SELECT count(*) FROM {w}.curations),
       (SELECT count(*) FROM {w}.pending), (SELECT count(*) FROM {w}.journal)

-- name: count_vectors
SELECT count(*) FROM {w}.vectors

-- name: vector_types
SELECT table_name, data_type FROM information_schema.columns
WHERE table_catalog = ? AND table_schema = ? AND table_name IN ('vectors', 'coming') AND column_name = 'vector'

-- name: document_ids
SELECT DISTINCT id FROM {w}.documents ORDER BY id

-- name: documents
SELECT id, metadata, text, digest, chunks, source FROM {w}.documents WHERE id IN (SELECT unnest(?::VARCHAR[]))

-- name: aliases
SELECT key, target FROM {w}.aliases

-- name: replies
SELECT DISTINCT reply FROM {w}.journal WHERE purpose = 'summarize' AND reply IS NOT NULL

-- What mends it, in this order.

-- name: mend_aliases
DELETE FROM {w}.aliases

-- name: mend_mended_documents
UPDATE {w}.documents SET text = i.text, chunks = i.chunks, metadata = i.metadata FROM incoming i WHERE documents.id = i.id

-- name: mend_place_mentions
UPDATE {w}.mentions SET id = i.id FROM incoming i
WHERE mentions.source_key = i.source_key AND mentions.target_key IS NOT DISTINCT FROM i.target_key

-- name: mend_duplicate_documents
DELETE FROM {w}.documents WHERE rowid NOT IN (SELECT arg_max(rowid, updated_at) FROM {w}.documents GROUP BY id)

-- name: mend_duplicate_chunks
DELETE FROM {w}.chunks WHERE rowid NOT IN (SELECT min(rowid) FROM {w}.chunks GROUP BY id)

-- name: mend_duplicate_mentions
DELETE FROM {w}.mentions WHERE rowid NOT IN (
    SELECT min(place) FROM (
        SELECT rowid AS place, struct_pack(*COLUMNS(* EXCLUDE (id))) AS said FROM {w}.mentions
    ) GROUP BY said
)

-- name: mend_duplicate_entities
DELETE FROM {w}.entities WHERE rowid NOT IN (SELECT min(rowid) FROM {w}.entities GROUP BY id)

-- name: mend_duplicate_relations
DELETE FROM {w}.relations WHERE rowid NOT IN (SELECT min(rowid) FROM {w}.relations GROUP BY id)

-- name: mend_duplicate_vectors
DELETE FROM {w}.vectors WHERE digest IN (
    SELECT digest FROM {w}.vectors GROUP BY digest HAVING count(DISTINCT vector) > 1
);
DELETE FROM {w}.vectors WHERE rowid NOT IN (SELECT min(rowid) FROM {w}.vectors GROUP BY digest)

-- name: mend_duplicate_pending
DELETE FROM {w}.pending WHERE rowid NOT IN (SELECT max(rowid) FROM {w}.pending GROUP BY sequence)

-- name: mend_orphan_chunks
DELETE FROM {w}.chunks WHERE document_id NOT IN (SELECT id FROM {w}.documents)

-- name: mend_orphan_mentions
DELETE FROM {w}.mentions WHERE chunk NOT IN (SELECT id FROM {w}.chunks)

-- name: mend_foreign_mentions
UPDATE {w}.chunks SET generation = g.generation FROM (
    SELECT chunk, any_value(generation) AS generation FROM {w}.mentions GROUP BY chunk
    HAVING count(DISTINCT generation) = 1
) g WHERE g.chunk = chunks.id AND g.generation <> chunks.generation;
DELETE FROM {w}.mentions WHERE rowid IN (
    SELECT m.rowid FROM {w}.mentions m JOIN {w}.chunks c ON c.id = m.chunk WHERE c.generation <> m.generation
)

-- name: mend_duplicate_disabled
DELETE FROM {w}.disabled WHERE rowid NOT IN (SELECT arg_max(rowid, updated_at) FROM {w}.disabled GROUP BY id)

-- name: mend_disabled_too
DELETE FROM {w}.disabled WHERE id IN (SELECT id FROM {w}.documents)

-- name: mend_duplicate_coming
DELETE FROM {w}.coming WHERE digest IN (SELECT digest FROM {w}.coming GROUP BY digest HAVING count(*) > 1)

-- name: mend_bad_coming
DELETE FROM {w}.coming WHERE NOT isfinite(array_inner_product(vector, vector))

-- name: mend_long_coming
DELETE FROM {w}.coming WHERE abs(array_inner_product(vector, vector) - 1) > 0.001
AND array_inner_product(vector, vector) <> 0

-- name: mend_foreign_coming
DROP TABLE {w}.coming

-- name: mend_orphan_given
DELETE FROM {w}.given WHERE sequence NOT IN (SELECT sequence FROM {w}.pending)

-- name: mend_bad_vectors
DELETE FROM {w}.vectors WHERE NOT isfinite(array_inner_product(vector, vector))

-- name: mend_long_vectors
DELETE FROM {w}.vectors WHERE abs(array_inner_product(vector, vector) - 1) > 0.001
AND array_inner_product(vector, vector) <> 0

-- What the provider has is found again by its name, and what is asked for is gathered anew from the documents.
-- name: mend_batches_at_odds
DELETE FROM {w}.batches WHERE rowid NOT IN (SELECT min(rowid) FROM {w}.batches GROUP BY name);
UPDATE {w}.batches SET stage = 'collected' WHERE stage NOT IN ('prepared', 'submitted', 'collected', 'done')
OR NOT json_valid(holds) OR json_type(holds) <> 'OBJECT';
UPDATE {w}.batches SET stage = 'prepared' WHERE stage = 'submitted' AND provider IS NULL;
UPDATE {w}.batches SET holds = '{}' WHERE stage IN ('collected', 'done')

-- name: mend_future_rows
UPDATE {w}.chunks SET embedded = {revision} WHERE embedded > {revision};
UPDATE {w}.entities SET embedded = {revision} WHERE embedded > {revision};
UPDATE {w}.relations SET embedded = {revision} WHERE embedded > {revision}

-- name: mend_replies_at_odds
UPDATE {w}.journal SET reply = NULL, digest = '' WHERE digest IN (
    SELECT digest FROM {w}.journal WHERE digest <> '' AND reply IS NOT NULL
    GROUP BY digest HAVING count(DISTINCT reply) > 1
)

-- name: mend_replies
UPDATE {w}.journal SET reply = NULL, digest = '' WHERE digest IN (SELECT unnest(?::VARCHAR[]))

-- name: forget_documents
UPDATE {w}.journal SET document = NULL WHERE document IS NOT NULL AND document NOT IN (
    SELECT id FROM {w}.documents UNION ALL SELECT document_id FROM {w}.pending UNION ALL SELECT id FROM {w}.disabled
)

-- What an erasure leaves of the journal: what was paid for, and replies that may be asked for again.

-- name: removable_replies
SELECT purpose, count(*) FROM {w}.journal
WHERE reply IS NOT NULL AND digest NOT IN (SELECT unnest(?::VARCHAR[]))
AND (paid_at <= ? OR purpose NOT IN ('extract', 'glean', 'summarize')) GROUP BY purpose ORDER BY purpose

-- name: erase_replies
UPDATE {w}.journal SET reply = NULL, digest = ''
WHERE digest <> '' AND digest NOT IN (SELECT unnest(?::VARCHAR[]))
AND (paid_at <= ? OR purpose NOT IN ('extract', 'glean', 'summarize'))
