"""What an answer of OpenAI or Anthropic, whole or in events, says that it used: counts, model, id, tier. Objects and dicts alike.

Nothing else is read of an answer, and nothing of its content is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

_COUNTS: Final[Mapping[str, str]] = {
    "prompt_tokens": "input",
    "input_tokens": "input",
    "completion_tokens": "output",
    "output_tokens": "output",
    "cache_read_input_tokens": "cache_read",
    "cache_creation_input_tokens": "cache_write",
}
_INPUT_DETAILS: Final[Mapping[str, str]] = {
    "cached_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
    "audio_tokens": "audio_in",
    "ephemeral_5m_input_tokens": "cache_write_5m",
    "ephemeral_1h_input_tokens": "cache_write_1h",
}
_OUTPUT_DETAILS: Final[Mapping[str, str]] = {"reasoning_tokens": "reasoning", "audio_tokens": "audio_out"}
_DETAILS: Final[Mapping[str, Mapping[str, str]]] = {
    "prompt_tokens_details": _INPUT_DETAILS,
    "input_tokens_details": _INPUT_DETAILS,
    "cache_creation": _INPUT_DETAILS,
    "completion_tokens_details": _OUTPUT_DETAILS,
    "output_tokens_details": _OUTPUT_DETAILS,
}
_BESIDE: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")
"""Anthropic counts cached tokens beside the input; OpenAI inside of it."""


class Usage(NamedTuple):
    """Counts of one call, disjoint as in the ledger: the prompt is `input_uncached + cache_read + cache_write_5m + cache_write_1h`.

    Attributes:
        output: all generated tokens; `reasoning` and `audio_out` are parts of it, `audio_in` is a part of `input_uncached`.
    """

    input_uncached: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0

    @property
    def prompt(self) -> int:
        """The whole prompt, cached tokens included."""
        return self.input_uncached + self.cache_read + self.cache_write_5m + self.cache_write_1h

    def record(self) -> dict[str, int]:
        """The counts by the names that prices are asked with, zeros left out."""
        names = {"input_uncached": "input_tokens_uncached", "output": "output_tokens", "reasoning": "reasoning_tokens"}
        return {names.get(unit, unit): count for unit, count in self._asdict().items() if count}


class Told(NamedTuple):
    """What an answer tells of itself; None for what it does not."""

    usage: Usage | None = None
    model: str | None = None
    response_id: str | None = None
    service_tier: str | None = None


def field(thing: object, name: str) -> Any:
    """An attribute of an object or a key of a mapping; None where there is none, or where asking for it fails."""
    try:
        return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
    except Exception:  # noqa: BLE001 - an application's own object must not fail its call by being looked at
        return None


def text_of(thing: object, name: str) -> str | None:
    """The same, of a text that says something."""
    value = field(thing, name)
    return value if isinstance(value, str) and value else None


def told_by(answer: object) -> Told:
    """What a whole answer tells: a chat completion, response, embedding or message, its dict, or a bare usage object."""
    usage = field(answer, "usage")
    stated = counts_of(answer if usage is None else usage)
    tier = text_of(answer, "service_tier") or text_of(usage, "service_tier")
    return Told(disjoint(stated) if stated else None, text_of(answer, "model"), text_of(answer, "id"), tier)


def counts_of(usage: object) -> dict[str, int]:
    """What a provider's usage object states, by our names; empty where it is none.

    `outside` is there when the input leaves cached tokens out.
    """
    found = _read(usage, _COUNTS)
    for place, names in _DETAILS.items():
        found |= {name: count for name, count in _read(field(usage, place), names).items() if name not in found}
    if found and any(field(usage, sign) is not None for sign in _BESIDE):
        found["outside"] = 1
    return found


def _read(usage: object, names: Mapping[str, str]) -> dict[str, int]:
    given = ((name, field(usage, key)) for key, name in names.items())
    return {name: count for name, count in given if isinstance(count, int) and not isinstance(count, bool) and count >= 0}


def disjoint(stated: Mapping[str, int]) -> Usage:
    """Counts as `counts_of` gives them, made disjoint. What is written to a cache for no stated time is written for five minutes."""
    said = stated.get
    read, hour = said("cache_read", 0), said("cache_write_1h", 0)
    written = max(said("cache_write", 0), said("cache_write_5m", 0) + hour)
    cached = read + written
    whole = said("input", 0)
    uncached = whole if "outside" in stated else max(whole - cached, 0)
    return Usage(uncached, read, written - hour, hour, said("output", 0), said("reasoning", 0), said("audio_in", 0), said("audio_out", 0))
