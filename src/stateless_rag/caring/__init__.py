"""Keeping a workspace in order: checking it, repairing it, and erasing what must not be found any more."""
