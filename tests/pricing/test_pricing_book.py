"""The packaged snapshot, and files that must not become a book."""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
import json
from pathlib import Path
from typing import Any

import pytest

from otel_finops.base.errors import StartRefused
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import PriceableCall

LIST_SHA256 = "e72b09bac8b2fd525657a8b13ec7845dc66c46fbcb94a66552e136ab0eef4634"
LIST_SOURCE_SHA256 = "8f8060d8ce7a40c91b995c74d6a27657543d49e3c1c53430dabd556f244392c6"
DATED_SHA256 = "0b70698a2521103a768f28dcbe561abf6ffb0221b4127e7d6fbe292627b9b01a"
DATED_SOURCE_SHA256 = "5f4d8e175a91cf23cac17da33a4daa60a6a6c49525109c97e93db220d5197206"


def packaged(name: str) -> bytes:
    return importlib.resources.files("otel_finops.pricing").joinpath("data", name).read_bytes()


@pytest.mark.parametrize(
    ("name", "sha256", "source_sha256", "licence"),
    [
        ("litellm.json.gz", LIST_SHA256, LIST_SOURCE_SHA256, "LICENSE.litellm"),
        ("genai_prices.json.gz", DATED_SHA256, DATED_SOURCE_SHA256, "LICENSE.genai-prices"),
    ],
)
def test_the_snapshot_is_the_one_that_was_reviewed(name: str, sha256: str, source_sha256: str, licence: str) -> None:
    raw = gzip.decompress(packaged(name))
    assert hashlib.sha256(raw).hexdigest() == sha256
    assert json.loads(raw)["meta"]["source_sha256"] == source_sha256
    assert b"MIT License" in packaged(licence)


def test_the_status_says_what_the_book_is(engine: PriceEngine) -> None:
    status = engine.status()
    assert (status.source, status.source_version, status.date) == ("litellm", "1.109.1", "2026-11-21")
    assert (status.rows, status.retired_rows) == (4551, 635)
    both = gzip.decompress(packaged("litellm.json.gz")) + gzip.decompress(packaged("genai_prices.json.gz"))
    assert status.version == engine.version == hashlib.sha256(both).hexdigest()[:16]


def test_the_snapshot_holds_no_databricks_units_and_no_float_noise() -> None:
    document = json.loads(gzip.decompress(packaged("litellm.json.gz")))
    rows = [*document["rows"].values(), *document["retired"].values()]
    assert not [name for row in rows for name in row if "dbu" in name]
    assert not {"sample_spec", "fallback_generalizations"} & document["rows"].keys()
    prices = [value for row in rows for name, value in row.items() if "cost" in name and isinstance(value, float)]
    assert all(float(f"{value:.15g}") == value for value in prices)


def write(folder: Path, rows: Any) -> Path:
    path = folder / "prices.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return path


def test_a_plain_price_list_is_read_too(tmp_path: Path) -> None:
    row = {"litellm_provider": "acme", "mode": "chat", "input_cost_per_token": 3.0000000000000004e-07}
    engine = PriceEngine.load(write(tmp_path, {"sample_spec": {"mode": "x"}, "acme/one": row}))
    assert engine.quote(PriceableCall("acme", ("one",), {"input_uncached": 10}, 0)).cost_pico == 3_000_000


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("{", "line 1: no JSON"),
        ([], "no price list"),
        ({"a": {"mode": "chat"}, "b": {"litellm_provider": "x"}}, "line 1: row 'a': no litellm_provider"),
        ({"a": {"litellm_provider": "x", "input_cost_per_token": -1}}, "row 'a': input_cost_per_token is negative"),
        ({"a": {"litellm_provider": "x", "input_cost_per_token": "cheap"}}, "row 'a': input_cost_per_token is no number"),
        ({"a": {"litellm_provider": "x", "input_cost_per_token": True}}, "row 'a': input_cost_per_token is no number"),
        ('{"a": {"litellm_provider": "x", "input_cost_per_token": NaN}}', "line 1: NaN is no number"),
        ({"a": {"litellm_provider": "x", "input_cost_per_furlong": 1}}, "row 'a': input_cost_per_furlong is a unit that this version"),
        ('{"a": {"litellm_provider": "x"},\n"a": {"litellm_provider": "x"}}', "line 2: 'a' stands twice"),
        ({"a": {"litellm_provider": "x"}, "A": {"litellm_provider": "x"}}, "row 'A': stands twice"),
        ({"a": {"litellm_provider": "x", "tiered_pricing": [{"range": "wide", "input_cost_per_token": 1}]}}, "row 'a': "),
        ({"a": {"litellm_provider": "x", "off_peak_pricing": {"hours_utc": "late"}}}, "row 'a': "),
    ],
)
def test_a_file_that_is_no_price_list_is_refused_with_row_and_reason(tmp_path: Path, rows: Any, reason: str) -> None:
    with pytest.raises(StartRefused, match="price file .*" + reason.replace("'", ".")):
        PriceEngine.load(write(tmp_path, rows))


def test_a_missing_file_and_a_bomb_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartRefused, match="cannot be read"):
        PriceEngine.load(tmp_path / "none.json")
    monkeypatch.setattr("otel_finops.base.limits.PRICE_FILE_BYTES_MAX", 1000)
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(b" " * 100_000))
    with pytest.raises(StartRefused, match="larger than 1000 bytes"):
        PriceEngine.load(bomb)
