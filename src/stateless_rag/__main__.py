"""`python -m stateless_rag` is the command `stateless-rag`."""

from __future__ import annotations

from stateless_rag.cli import main

if __name__ == "__main__":
    main()
