"""What a call used, as disjoint counts: the prompt is `input_uncached + cache_read + cache_write_*`.

`output` is all generated tokens; `reasoning`, `audio_out`, `image_out`, `video_out` are parts *of* it, and `audio_in`,
`image_in`, `video_in` are parts of `input_uncached`. Zero counts are left out, so an empty mapping is "nothing known".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

Usage: TypeAlias = dict[str, int]
"""Counts by unit, each positive and at most `limits.UNITS_PER_CALL_MAX`."""

PROMPT_UNITS: Final = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h")
WRITE_UNITS: Final = PROMPT_UNITS[2:]
INPUT_PARTS: Final = ("audio_in", "image_in", "video_in")
OUTPUT_PARTS: Final = ("reasoning", "audio_out", "image_out", "video_out")
TOKEN_UNITS: Final = (*PROMPT_UNITS, "output", *OUTPUT_PARTS[:1], "audio_in", "audio_out", "image_in", "image_out", "video_in", "video_out")
"""All token counts of the contract, in its order."""
OTHER_UNITS: Final = (
    "queries", "images", "pixels", "seconds", "characters", "pages", "annotated_pages", "web_searches", "requests", "sessions",
)  # fmt: skip
"""Billed units that are no tokens."""


def prompt_tokens(usage: Mapping[str, int]) -> int:
    """The whole prompt, cached tokens included; it selects the long-context tier."""
    total = 0
    for unit in PROMPT_UNITS:
        total += usage.get(unit, 0)
    return total


def total_tokens(usage: Mapping[str, int]) -> int:
    """Prompt plus output; parts are not added again. Written out, as every entry passes here several times."""
    count = usage.get
    return (
        count("input_uncached", 0)
        + count("cache_read", 0)
        + count("cache_write_5m", 0)
        + count("cache_write_1h", 0)
        + count("cache_write_12h", 0)
        + count("output", 0)
    )


assert total_tokens(dict.fromkeys((*PROMPT_UNITS, "output"), 1)) == len(PROMPT_UNITS) + 1
