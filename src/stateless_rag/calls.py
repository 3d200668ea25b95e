"""Calls of providers as the stages make them: journaled, limited, timed, retried and metered.

A stage never touches `context.llm` or `context.embedder` itself. The order of the layers is

    journal → deadline → limits → time-out of one call → provider, again while the error may pass

so that an answer that was paid for once takes no slot, and the wait for a slot counts towards the deadline of
the operation but not towards the time-out of the call.
"""

from __future__ import annotations
