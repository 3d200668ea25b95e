"""The embedded store: workspaces are DuckDB schemas plus FAISS files."""
