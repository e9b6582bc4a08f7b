"""Make the packaged price snapshot out of LiteLLM wheels: the price fields of every row, and nothing else.

    pip download --no-deps litellm==1.109.1 -d wheels/
    python tools/vendor_prices.py --wheel wheels/litellm-1.109.1-*.whl --sha256 8f8060d8... --date 2026-11-21 --older wheels/older/*.whl

The wheel is opened as an archive and its price file read as data: nothing of it is installed or imported. Rows that older
wheels have and the newest has not are kept apart as retired rows, each from the last of the given wheels that has it.
The same wheels give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

_PRICE_FILE: Final = "litellm/model_prices_and_context_window_backup.json"
_NOT_MODELS: Final = frozenset({"sample_spec", "fallback_generalizations"})
_DESCRIPTIVE: Final = frozenset({"litellm_provider", "mode", "deprecation_date", "web_search_billing_unit", "search_free_requests"})
_STRUCTURED: Final = frozenset({"tiered_pricing", "off_peak_pricing", "search_context_cost_per_query", "guardrail_cost_per_unit"})
_SIGNIFICANT_DIGITS: Final = 15
"""Binary floats of the source carry noise behind the fifteenth digit (5.0000000000000004e-08)."""

Row = dict[str, Any]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_price(field: str) -> bool:
    """Prices and factors; Databricks units are no dollars."""
    return ("cost" in field or "multiplier" in field) and "dbu" not in field


def _clean(value: Any) -> Any:
    """The value with every number cut to its significant digits; whole numbers become integers."""
    if isinstance(value, Mapping):
        return {name: _clean(item) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, float):
        cut = float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
        return int(cut) if cut.is_integer() else cut
    return value


def _slim(row: Row) -> Row:
    kept = {field: value for field, value in row.items() if field in _DESCRIPTIVE or field in _STRUCTURED}
    kept |= {field: value for field, value in row.items() if _is_price(field) and _is_number(value)}
    factors = {name: value for name, value in (row.get("provider_specific_entry") or {}).items() if _is_number(value) and "_" not in name}
    if factors:
        kept["provider_specific_entry"] = factors
    return dict(_clean(kept))


def _version(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def _release_order(wheel: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", _version(wheel)))


def _read(wheel: Path) -> tuple[bytes, dict[str, Row]]:
    with zipfile.ZipFile(wheel) as archive:
        raw = archive.read(_PRICE_FILE)
    return raw, {key: row for key, row in json.loads(raw).items() if key not in _NOT_MODELS}


def _licence(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith("/LICENSE") and "dist-info" in entry)
        return archive.read(name)


def _retired(live: Mapping[str, Row], older: Iterable[Path]) -> dict[str, Row]:
    """Rows that are gone today, under the name they had, as they stood in the last wheel that has them."""
    live_names = {key.lower() for key in live}
    found: dict[str, Row] = {}
    for wheel in sorted(older, key=_release_order):
        for key, row in _read(wheel)[1].items():
            if key.lower() not in live_names and "litellm_provider" in row:
                found[key] = {**_slim(row), "last_seen": _version(wheel)}
    return found


def build(wheel: Path, older: Iterable[Path], expected_sha256: str | None, taken_on: str) -> bytes:
    """The snapshot as canonical JSON.

    Raises:
        SystemExit: the wheel's price file is not the expected one.
    """
    raw, models = _read(wheel)
    digest = hashlib.sha256(raw).hexdigest()
    if expected_sha256 and digest != expected_sha256:
        raise SystemExit(f"{wheel.name}: the price file's sha256 is {digest}, expected {expected_sha256}")
    rows = {key: _slim(row) for key, row in sorted(models.items())}
    retired = dict(sorted(_retired(models, older).items()))
    meta = {
        "source": "litellm",
        "source_version": _version(wheel),
        "source_sha256": digest,
        "date": taken_on,
        "unit": "USD for one",
        "licence": "MIT",
        "rows": len(rows),
        "retired_rows": len(retired),
    }
    document = {"meta": meta, "rows": rows, "retired": retired}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def main(arguments: list[str]) -> int:
    """Write the snapshot and its licence notice into the folder given by `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--older", type=Path, nargs="*", default=[])
    parser.add_argument("--sha256")
    parser.add_argument("--date", required=True, help="the day on which the snapshot is taken, YYYY-MM-DD")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "otel_finops" / "pricing" / "data")
    options = parser.parse_args(arguments)
    snapshot = build(options.wheel, options.older, options.sha256, options.date)
    (options.out / "litellm.json.gz").write_bytes(gzip.compress(snapshot, compresslevel=9, mtime=0))
    (options.out / "LICENSE.litellm").write_bytes(_licence(options.wheel))
    sys.stdout.write(f"{len(snapshot)} bytes, sha256 {hashlib.sha256(snapshot).hexdigest()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
