"""The web console: server-made pages over the operations."""
