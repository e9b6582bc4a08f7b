"""The benchmark of deciding: its neighbourhoods are what they are said to be, and it prints what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.decide import SHAPES, deciding, open_traces


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_has_the_calls_that_it_says(shape: str) -> None:
    """Whoever saw them besides, forty calls are forty calls."""
    figures = deciding(shape, 40)
    assert (figures["calls"], figures["charged"]) == (40, 40)
    assert figures["spans"] == {"single": 41}.get(shape, 81)
    assert figures["us_per_call"] > 0
    assert 0 < figures["bytes_per_call"] < 20_000


def test_open_traces_are_journalled_and_then_all_settled(tmp_path: Path) -> None:
    """Two calls a trace, each seen twice, and no root."""
    figures = open_traces(50, tmp_path)
    assert (figures["spans"], figures["settled"]) == (200, 50)
    assert figures["peak_rss_mb_settled"] >= figures["peak_rss_mb_journalled"] > 0
