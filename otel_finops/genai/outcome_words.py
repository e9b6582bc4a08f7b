"""What a span says of how the work that it stands for came out: success or failure, in words that the settings name.

That a call was answered is no outcome: a ticket may be left open by calls of which none failed. So nothing is guessed from errors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, TypeAlias

from otel_finops.base.span import Attributes
from otel_finops.genai.sighting import SaidOutcome
from otel_finops.genai.texts import clean_name, first_name

OUTCOME_KEYS: Final = ("finops.outcome",)
NAME_KEYS: Final = ("finops.outcome.name",)
SUCCESS_WORDS: Final = ("success", "succeeded", "successful", "ok", "pass", "passed", "true", "yes", "completed", "resolved")
FAILURE_WORDS: Final = ("failure", "failed", "fail", "error", "false", "no", "unresolved", "abandoned", "rejected", "cancelled")
UNNAMED: Final = "task"
"""The kind of an outcome that nobody named."""

Reader: TypeAlias = Callable[[Attributes], SaidOutcome | None]


@dataclass(frozen=True)
class OutcomeSettings:
    """Which attributes say how something came out, and by which words.

    Attributes:
        keys: attributes with the outcome, best first.
        names: attributes that name the kind of outcome (`ticket_resolved`), best first.
        success, failure: words, compared in lower case with `_` for blanks and hyphens; what is neither says nothing.
    """

    keys: tuple[str, ...] = OUTCOME_KEYS
    names: tuple[str, ...] = NAME_KEYS
    success: tuple[str, ...] = SUCCESS_WORDS
    failure: tuple[str, ...] = FAILURE_WORDS

    def wanted(self) -> frozenset[str]:
        """Every attribute that is read."""
        return frozenset((*self.keys, *self.names))

    def reader(self, keys: Collection[str]) -> Reader | None:
        """What reads spans with these keys; None where they say nothing of outcomes."""
        present = tuple(key for key in self.keys if key in keys)
        if not present:
            return None
        names = tuple(key for key in self.names if key in keys)
        words = {folded(word): False for word in self.failure} | {folded(word): True for word in self.success}

        def read(attributes: Attributes) -> SaidOutcome | None:
            said = (words.get(word) for key in present if (word := _word(attributes[key])) is not None)
            success = next((one for one in said if one is not None), None)
            return None if success is None else SaidOutcome(success, first_name(attributes[key] for key in names) or UNNAMED)

        return read


def folded(word: str) -> str:
    """A word as words are compared."""
    return word.strip().lower().replace(" ", "_").replace("-", "_")


def _word(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    name = clean_name(value)
    return None if name is None else folded(name)
