"""Workspaces as files: GraphML, JSON Lines, CSV, Parquet, Markdown; and JSON Lines back into a workspace."""

from __future__ import annotations
