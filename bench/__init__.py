"""The harness that runs stateless-rag and the baseline side by side. See docs/benchmarks.md."""
