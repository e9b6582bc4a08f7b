"""Recorded payloads as spans and sightings, with the truth beside them: the helper of the room's tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from otel_finops.base.protocols import Credential
from otel_finops.base.span import Span, WantedKeys
from otel_finops.genai.dialect_loading import load_dialects
from otel_finops.genai.normalise import Normaliser
from otel_finops.genai.sighting import Sighting
from otel_finops.otlp.decode import decode

NOW_NS = 1_800_000_000_000_000_000
"""Early 2027: after every recording."""
ANYONE = Credential()
PARTS_OF_PROMPT = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h")


class Case(NamedTuple):
    """One recorded case: its name, the calls that reached the provider, and the whole truth."""

    name: str
    folder: Path
    calls: list[dict[str, Any]]
    truth: dict[str, Any]

    @property
    def visible_calls(self) -> list[dict[str, Any]]:
        """Billable calls whose usage can be known from the spans."""
        return [call for call in self.calls if call["billable"] and "usage" not in call["lost"]]

    def spans(self, wanted: WantedKeys) -> Iterator[Span]:
        """All spans in the order of the requests."""
        for path in sorted(self.folder.glob("request-*"), key=lambda path: int(path.stem.split("-")[1])):
            yield from decode(path.read_bytes(), "json" if path.suffix == ".json" else "protobuf", wanted, NOW_NS).spans

    def sightings(self, credential: Credential = ANYONE) -> list[Sighting]:
        """All spans, normalised by the installed dialects."""
        normalise = normaliser()
        return [normalise(span, credential) for span in self.spans(normalise.wanted)]


@lru_cache(maxsize=1)
def normaliser() -> Normaliser:
    """One with the installed dialects and default settings."""
    return Normaliser(load_dialects())


def cases(corpus: Path, *beginnings: str) -> list[Case]:
    """The cases whose names begin so."""
    return [case(corpus, folder.name) for folder in sorted(corpus.iterdir()) if folder.is_dir() and folder.name.startswith(beginnings)]


def case(corpus: Path, name: str) -> Case:
    truth = json.loads((corpus / name / "expected.json").read_text())
    return Case(name, corpus / name, truth["calls"], truth)


def shows(call: dict[str, Any], usage: dict[str, int]) -> bool:
    """The usage is the call's, by the recording's own rules: fields that the spans lost are not compared, output within 2 tokens."""
    want, lost = call["usage"], set(call["lost"])
    output = usage.get("output", 0)
    visible = want["output"] - want.get("reasoning", 0) if "reasoning" in lost else want["output"]
    if min(abs(want["output"] - output), abs(visible - output)) > 2:
        return False
    writes = sum(usage.get(unit, 0) for unit in PARTS_OF_PROMPT[2:])
    prompt = sum(usage.get(unit, 0) for unit in PARTS_OF_PROMPT)
    if {"cache_read", "cache_write"} & lost:
        return bool(want["input_total"] == prompt or want["input_uncached"] == usage.get("input_uncached", 0))
    true_writes = want["cache_write_5m"] + want["cache_write_1h"]
    if (want["input_uncached"], want["cache_read"], true_writes) != (usage.get("input_uncached", 0), usage.get("cache_read", 0), writes):
        return False
    return "cache_write_ttl" in lost or bool(want["cache_write_1h"] == usage.get("cache_write_1h", 0))
