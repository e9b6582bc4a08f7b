"""What a model's name comes down to before it is looked up."""

from __future__ import annotations

from typing import Final

PLACEHOLDERS: Final = frozenset({"", "none", "null", "n/a", "na", "unknown", "undefined", "default", "nan", "?", "-"})
"""What senders write when they know no model."""


def clean(model: str) -> str:
    """The name without white space around it, in lower case."""
    return model.strip().lower()
