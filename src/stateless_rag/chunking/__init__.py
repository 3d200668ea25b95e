"""How a text is cut: where it may be cut, and the strategies that choose among these places."""
