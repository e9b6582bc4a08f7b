"""Receiving OTLP: listeners, admission, decoding into spans, and the one table of what senders are answered."""
