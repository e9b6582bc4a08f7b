"""The whole recorded corpus in one ledger, however it arrives; and every case in two parts, the first settled before the second comes.

The recording's provider gave many cases the same answers under the same ids, so that in one ledger calls merge across cases too. That is
more evidence than one application ever gives, and the harder test.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import pytest
from genai_corpus import NOW_NS, Case, cases, normaliser
from rig_ledgers import LOGS, Ledgers, canonical, differences, normalised

from otel_finops.base.protocols import Encoding
from otel_finops.base.span import LogRecord, Span
from otel_finops.ledger.shards import SHARDS
from otel_finops.otlp.decode import decode_logs

SEEDS = tuple(range(8))
LONG_SEEDS = tuple(range(8, 200))
SPLITS = 2
"""Split points of each case in the short form; the long form takes all."""


Item: TypeAlias = Span | LogRecord


@lru_cache(maxsize=1)
def recorded(corpus: Path) -> dict[str, list[Item]]:
    """Every case's spans, in the order of its requests, and behind them the log records that show calls."""
    wanted = normaliser().wanted
    return {case.name: [*case.spans(wanted), *records(case)] for case in cases(corpus, "")}


def records(case: Case) -> Iterator[Item]:
    for path in sorted(case.folder.glob("logs-*")):
        encoding: Encoding = "json" if path.suffix == ".json" else "protobuf"
        yield from decode_logs(path.read_bytes(), encoding, LOGS.wanted, LOGS.events, NOW_NS).records


def everything(corpus: Path) -> list[Item]:
    return [item for items in recorded(corpus).values() for item in items]


def as_recorded(ledgers: Ledgers, parts: Iterable[list[Item]]) -> list[str]:
    """The ledger of these parts, each settled before the next comes."""
    with ledgers.new() as rig:
        for part in parts:
            rig.settle(*normalised(part))
        return canonical(rig)


@pytest.fixture
def whole(ledgers: Ledgers, corpus: Path) -> list[str]:
    """The ledger of everything at once."""
    return as_recorded(ledgers, [everything(corpus)])


def shuffled(ledgers: Ledgers, spans: list[Item], seed: int) -> list[str]:
    """Some spans twice or three times, in any order, in deliveries of any size, some of which are settled before the next."""
    chance = random.Random(seed)
    spans = spans + chance.choices(spans, k=chance.randrange(len(spans) // 2))
    chance.shuffle(spans)
    cuts = sorted(chance.choices(range(len(spans)), k=chance.randrange(1, 40)))
    with ledgers.new() as rig:
        for first, last in zip([0, *cuts], [*cuts, len(spans)], strict=True):
            rig.send(*normalised(spans[first:last]))
            if chance.random() < 0.3:
                rig.settle()
            elif chance.random() < 0.5:
                rig.clock.advance(chance.uniform(0, 10))
                for shard in range(SHARDS):
                    rig.settler.settle_due(shard)
        rig.settle()
        return canonical(rig)


def check(ledgers: Ledgers, corpus: Path, whole: list[str], seeds: Iterable[int]) -> None:
    for seed in seeds:
        assert differences(shuffled(ledgers, everything(corpus), seed), whole) == [], f"seed {seed}"


def test_the_corpus_in_any_order_ends_in_the_same_ledger(ledgers: Ledgers, corpus: Path, whole: list[str]) -> None:
    check(ledgers, corpus, whole, SEEDS)


@pytest.mark.long
def test_the_corpus_in_two_hundred_orders_ends_in_the_same_ledger(ledgers: Ledgers, corpus: Path, whole: list[str]) -> None:
    check(ledgers, corpus, whole, LONG_SEEDS)


# --- late parts ------------------------------------------------------------------------------------------------------


def split_faults(ledgers: Ledgers, name: str, spans: list[Item], points: Iterable[int]) -> list[str]:
    """Where a case that comes in two parts ends in another ledger than the whole; both parts come first once."""
    wanted, faults = as_recorded(ledgers, [spans]), []
    for point in points:
        for way, parts in (("", [spans[:point], spans[point:]]), (" backwards", [spans[point:], spans[:point]])):
            if found := differences(as_recorded(ledgers, parts), wanted):
                faults.append(f"{name} cut at {point} of {len(spans)}{way}: {found[0]}")
    return faults


def test_every_case_in_two_parts_ends_in_the_same_ledger(ledgers: Ledgers, corpus: Path) -> None:
    chance, faults = random.Random(1), []
    for name, spans in recorded(corpus).items():
        points = range(1, len(spans))
        faults += split_faults(ledgers, name, spans, chance.sample(points, min(SPLITS, len(points))))
    assert faults == []


@pytest.mark.long
def test_every_case_cut_everywhere_ends_in_the_same_ledger(ledgers: Ledgers, corpus: Path) -> None:
    faults = [fault for name, spans in recorded(corpus).items() for fault in split_faults(ledgers, name, spans, range(1, len(spans)))]
    assert faults == []
