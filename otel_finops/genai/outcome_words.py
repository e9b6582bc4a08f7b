"""What a span says of how the work that it stands for came out: success or failure, in words that the settings name.

That a call was answered is no outcome: a ticket may be left open by calls of which none failed. So nothing is guessed from errors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, TypeAlias

from otel_finops.base.span import Attributes
from otel_finops.genai.sighting import SaidOutcome
from otel_finops.genai.texts import clean_name, first_name
from otel_finops.settings.outcomes import Outcomes, folded

UNNAMED: Final = "task"
"""The kind of an outcome that nobody named."""

Reader: TypeAlias = Callable[[Attributes], SaidOutcome | None]


def keys_of(settings: Outcomes) -> frozenset[str]:
    """Every attribute that is read."""
    return frozenset((*settings.keys, *settings.name_keys))


def outcome_reader(settings: Outcomes, keys: Collection[str]) -> Reader | None:
    """What reads spans with these keys; None where they say nothing of outcomes."""
    present = tuple(key for key in settings.keys if key in keys)
    if not present:
        return None
    names = tuple(key for key in settings.name_keys if key in keys)
    words = {folded(word): False for word in settings.failure} | {folded(word): True for word in settings.success}

    def read(attributes: Attributes) -> SaidOutcome | None:
        said = (words.get(word) for key in present if (word := _word(attributes[key])) is not None)
        success = next((one for one in said if one is not None), None)
        return None if success is None else SaidOutcome(success, first_name(attributes[key] for key in names) or UNNAMED)

    return read


def _word(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    name = clean_name(value)
    return None if name is None else folded(name)
