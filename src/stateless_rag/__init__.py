"""A stateless GraphRAG engine: documents in, answers with references out."""
