"""Exports: the same bytes by API and command line, whose rows they hold, what the files are."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import json
import re
import weakref
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
from cli_world import run, serving
from pyarrow import parquet
from starlette.testclient import TestClient
from surfaces_world import ACME_TRACE, SHARED_TRACE

from otel_finops.base import limits
from otel_finops.base.errors import BadInput
from otel_finops.identity.principals import LOCAL, Principal, Principals
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.extent import STEP_ROWS
from otel_finops.ledger.rows import to_contract
from otel_finops.operations.exports import ENTRY_COLUMNS
from otel_finops.operations.local import Room
from otel_finops.operations.streams import Stream, Streamed
from otel_finops.settings import load
from otel_finops.surfaces.api.app import build_api
from otel_finops.surfaces.exports import parquet as parquet_room
from otel_finops.surfaces.exports.formats import encoded
from otel_finops.testing import FakeClock

EXPORTS = {
    "usage": ("usage/export", ["usage", "export"], {}),
    "usage of a step": ("usage/export", ["usage", "export", "--step", "plan"], {"step": "plan"}),
    "usage since noon": ("usage/export", ["usage", "export", "--from", "2026-11-21T12:00:00Z"], {"from": "2026-11-21T12:00:00Z"}),
    "ledger": ("ledger/export", ["ledger", "export"], {}),
    "ledger with names": ("ledger/export", ["ledger", "export", "--subjects"], {"subjects": "true"}),
    "net": ("ledger/export", ["ledger", "export", "--net"], {"net": "true"}),
    "spend": ("spend/export", ["spend", "export", "--group-by", "tenant,model"], {"group_by": "tenant,model"}),
}
FORMATS = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8; header=present",
    "parquet": "application/vnd.apache.parquet",
}


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands have the room's clock, which stands still."""
    monkeypatch.setattr("otel_finops.operations.local.SystemClock", FakeClock)


def get(api: TestClient, path: str, **query: str) -> Any:
    return api.get(f"/api/v1/{path}", params=query, headers={"Accept-Encoding": "identity"})


def rows(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.content.split(b"\n") if line]


# --- both surfaces -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", EXPORTS)
def test_api_and_command_line_write_the_same_bytes(api: TestClient, database: str, name: str, form: str) -> None:
    path, words, query = EXPORTS[name]
    answer = get(api, path, **query, format=form)
    result = run(*words, "--format", form, database=database)
    assert (answer.status_code, result.exit_code, result.stderr) == (200, 0, "")
    assert answer.headers["content-type"] == FORMATS[form]
    assert answer.content == result.stdout_bytes != b""


def test_the_canonical_form_is_the_same_on_both(api: TestClient, database: str) -> None:
    answer = get(api, "ledger/export", net="true", canonical="true")
    result = run("ledger", "export", "--net", "--canonical", database=database)
    assert answer.content == result.stdout_bytes
    for row in rows(answer):
        assert list(row) == sorted(row)
        assert not {"entry_id", "kind", "reverses", "revision", "recorded_at", "late", "block"} & set(row)
    assert "user-7" in {row["user"] for row in rows(answer)}


@pytest.mark.parametrize("form", FORMATS)
def test_a_remote_service_gives_the_same_bytes(room: Room, database: str, form: str) -> None:
    with serving(build_api(room.context, lambda _: LOCAL)) as url:
        remote = run("usage", "export", "--format", form, url=url)
    assert remote.stdout_bytes == run("usage", "export", "--format", form, database=database).stdout_bytes
    assert remote.exit_code == 0


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_gzip_is_a_file_that_holds_the_same_bytes(api: TestClient, database: str, form: str) -> None:
    packed = get(api, "usage/export", format=form, gzip="true")
    assert packed.headers["content-type"] == "application/gzip"
    assert "content-encoding" not in packed.headers
    assert packed.content == run("usage", "export", "--format", form, "--gzip", database=database).stdout_bytes
    assert gzip.decompress(packed.content) == get(api, "usage/export", format=form).content


def test_an_answer_is_compressed_on_the_way_for_who_takes_it(api: TestClient) -> None:
    plain = get(api, "usage/export")
    coded = api.get("/api/v1/usage/export", headers={"Accept-Encoding": "gzip"})
    assert coded.headers["content-encoding"] == "gzip"
    assert coded.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert coded.content == plain.content


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("usage/export", {"format": "csv"}, "otel-finops-usage-20261121T120000Z.csv"),
        ("ledger/export", {"net": "true", "gzip": "true"}, "otel-finops-ledger-net-20261121T120000Z.jsonl.gz"),
        ("spend/export", {"format": "parquet"}, "otel-finops-spend-20261121T120000Z.parquet"),
    ],
)
def test_files_have_names(api: TestClient, path: str, query: dict[str, str], name: str) -> None:
    assert get(api, path, **query).headers["content-disposition"] == f'attachment; filename="{name}"'


# --- what the files are --------------------------------------------------------------------------------------------


def test_json_lines_are_the_contracts_rows(api: TestClient, contracts: Path) -> None:
    schema = json.loads((contracts / "entry.schema.json").read_text())
    found = rows(get(api, "usage/export"))
    for row in found:
        jsonschema.validate(row, schema)
    listed = get(api, "usage").json()["entries"]
    assert sorted(row["entry_id"] for row in found) == sorted(row["entry_id"] for row in listed)


def test_columns_cover_the_contract_in_its_order() -> None:
    contract = to_contract(Entry("charge", "", "", "", "", None, "call", 0))
    outer = list(dict.fromkeys(column.path[0] for column in ENTRY_COLUMNS))
    assert outer == list(contract)
    assert len({column.name for column in ENTRY_COLUMNS}) == len(ENTRY_COLUMNS)


def test_the_page_names_every_column_and_limit() -> None:
    page = (Path(__file__).parents[2] / "docs" / "exports.md").read_text()
    table = page.partition("## Columns of entries")[2]
    assert re.findall(r"^\| `(.+)` \| (\w+) \|$", table, re.MULTILINE) == [(column.name, column.kind) for column in ENTRY_COLUMNS]
    for said in (
        f"at most {limits.PARQUET_GROUP_ROWS_MAX:,} rows or {limits.PARQUET_GROUP_BYTES_MAX // limits.MIB} MiB",
        f"steps of {STEP_ROWS}",
        f"more than {4 * STEP_ROWS:,}",
        f"takes nothing for {limits.EXPORT_STALL_S:.0f} seconds",
        f"writes {limits.EXPORTS_AT_ONCE_MAX} exports at a time",
    ):
        assert said in page.replace("\n", " ")


def test_csv_is_flat_and_opens_by_rfc_4180(api: TestClient) -> None:
    text = get(api, "usage/export", format="csv", trace_id=ACME_TRACE).content.decode("utf-8")
    assert text.endswith("\r\n")
    [first, *_] = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    assert list(first) == [column.name for column in ENTRY_COLUMNS]
    shown = {
        name: first[name]
        for name in ("tenant", "step", "usage.input_uncached", "usage.output", "usage.reasoning", "cost_usd", "late", "tags")
    }
    assert shown == {
        "tenant": "acme", "step": "plan", "usage.input_uncached": "1000", "usage.output": "100", "usage.reasoning": "",
        "cost_usd": "0.0035", "late": "false", "tags": "{}",
    }  # fmt: skip
    assert [line["amount_usd"] for line in json.loads(first["cost_lines"])] == ["0.0025", "0.001"]


def test_parquet_has_exact_types(api: TestClient) -> None:
    table = parquet.read_table(io.BytesIO(get(api, "usage/export", format="parquet", trace_id=ACME_TRACE).content))
    kinds = {
        name: table.schema.field(name).type for name in ("tenant", "cost_usd", "started_at", "usage.output", "duration_ms", "late", "tags")
    }
    assert kinds == {
        "tenant": pa.string(), "cost_usd": pa.decimal128(38, 12), "started_at": pa.timestamp("ns", "UTC"), "usage.output": pa.int64(),
        "duration_ms": pa.float64(), "late": pa.bool_(), "tags": pa.string(),
    }  # fmt: skip
    assert table.column("cost_usd").to_pylist() == [Decimal("0.0035")] * 2
    assert table.column("duration_ms").to_pylist() == [0.5, 0.5]
    began = table.column("started_at")[0].cast(pa.timestamp("us", "UTC")).as_py()
    assert began == datetime(2026, 11, 21, 12, 0, 0, 3_000, tzinfo=UTC)


def test_row_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_room, "PARQUET_GROUP_ROWS_MAX", 4)
    encoder = parquet_room.parquet_of(ENTRY_COLUMNS)
    row = to_contract(Entry("charge", "default", "acme", "1" * 32, "2" * 16, None, "call", 0, cost_pico=-1, duration_ns=1))
    pieces = [encoder.begin(), *(encoder.rows([row] * 2) for _ in range(5)), encoder.end()]
    file = parquet.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)] == [4, 4, 2]
    assert [bool(piece) for piece in pieces[1:6]] == [False, True, False, True, False]
    assert file.read().column("cost_usd").to_pylist() == [Decimal("-0.000000000001")] * 10


@pytest.mark.parametrize("form", FORMATS)
def test_batches_are_freed_without_collecting_cycles(form: Any) -> None:
    """A service collects cycles seldom: a batch that hangs in one is memory that grows with the export."""

    class Row(dict[str, Any]):
        """A row that can be watched."""

    seen: list[weakref.ref[Row]] = []

    def batches() -> Iterator[list[Row]]:
        for _ in range(3):
            batch = [Row(to_contract(Entry("charge", "default", "acme", "1" * 32, "2" * 16, None, "call", 0)))]
            seen.append(weakref.ref(batch[0]))
            yield batch

    gc.collect()
    gc.disable()
    try:
        for _ in encoded(Stream("usage", ENTRY_COLUMNS, batches()), Streamed(format=form)):
            pass
        assert [row() for row in seen] == [None] * 3
    finally:
        gc.enable()


@pytest.mark.parametrize("form", FORMATS)
def test_no_rows_are_a_file_too(api: TestClient, form: str) -> None:
    answer = get(api, "usage/export", format=form, tenant="nobody")
    assert answer.status_code == 200
    if form == "jsonl":
        assert answer.content == b""
    elif form == "csv":
        assert answer.content.decode() == ",".join(column.name for column in ENTRY_COLUMNS) + "\r\n"
    else:
        assert parquet.read_table(io.BytesIO(answer.content)).num_rows == 0


def test_spend_has_a_column_for_each_key(api: TestClient) -> None:
    """Three calls of acme and one of globex at 0.0035 USD and 1,100 tokens each."""
    answer = get(api, "spend/export", group_by="tenant,model", format="csv").content.decode().splitlines()
    assert answer == ["tenant,model,cost_usd,calls,tokens,unpriced_calls", "acme,gpt-4o,0.0105,3,3300,0", "globex,gpt-4o,0.0035,1,1100,0"]


def test_spend_in_another_currency_has_a_column_of_it(api: TestClient) -> None:
    header, line = get(api, "spend/export", currency="EUR", format="csv").content.decode().splitlines()
    assert header == "cost_usd,calls,tokens,unpriced_calls,cost_eur"
    assert line.startswith("0.014,4,4400,0,0.01")


# --- whose rows ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(room: Room) -> TestClient:
    tokens = [
        {"token_sha256": sha256(f"{role}-{tenant}".encode()).hexdigest(), "tenants": [tenant], "role": role}
        for role in ("viewer", "analyst", "approver", "manager", "admin")
        for tenant in ("acme", "globex", "*")
    ]
    auth = load(None, {"OTEL_FINOPS_AUTH__MODE": "token", "OTEL_FINOPS_AUTH__TOKENS": json.dumps(tokens)}).auth
    return TestClient(build_api(room.context, Principals(auth)))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("asked", [{}, {"tenant": "globex"}, {"tenant": "*"}, {"tenant": "acme' OR '1'='1"}])
def test_a_tenant_never_gets_a_byte_of_another(guarded: TestClient, name: str, form: str, asked: dict[str, str]) -> None:
    """What acme's manager gets is free of globex, its realm's spans and its step, whatever he asks for."""
    path, _, query = EXPORTS[name]
    bearer = {"Authorization": "Bearer manager-acme"}
    answer = guarded.get(f"/api/v1/{path}", params={**query, **asked, "format": form}, headers=bearer)
    assert answer.status_code == 200
    content = answer.content
    if form == "parquet":
        content = repr(parquet.read_table(io.BytesIO(content)).to_pylist()).encode()
    for foreign in (b"globex", b"0000000000000006", b"<script>"):
        assert foreign not in content


def test_a_trace_of_two_tenants_is_exported_to_each_in_part(guarded: TestClient) -> None:
    found = {
        who: [
            row["span_id"][-1]
            for row in rows(guarded.get(f"/api/v1/usage/export?trace_id={SHARED_TRACE}", headers={"Authorization": f"Bearer {who}"}))
        ]
        for who in ("viewer-acme", "viewer-globex", "viewer-*")
    }
    assert found == {"viewer-acme": ["7"], "viewer-globex": ["6"], "viewer-*": ["7", "6"]}


@pytest.mark.parametrize("role", ["viewer", "analyst", "approver", "manager", "admin"])
@pytest.mark.parametrize(
    "query",
    ["usage/export?subjects=true", "ledger/export?subjects=true", "ledger/export?net=true&canonical=true", "spend/export?group_by=user"],
)
def test_names_of_people_need_a_permission(guarded: TestClient, role: str, query: str) -> None:
    answer = guarded.get(f"/api/v1/{query}", headers={"Authorization": f"Bearer {role}-acme"})
    if role in ("manager", "admin"):
        assert b"user-7" in answer.content
    else:
        assert (answer.status_code, answer.json()["detail"]) == (
            403,
            "a file that shows users and sessions in clear needs the permission manage",
        )


@pytest.mark.parametrize("path", ["usage/export", "ledger/export", "ledger/export?net=true"])
def test_people_are_references_unless_asked(guarded: TestClient, path: str) -> None:
    answer = guarded.get(f"/api/v1/{path}", headers={"Authorization": "Bearer admin-*"})
    assert b"user-7" not in answer.content
    assert len({row["user"] for row in rows(answer)} - {None}) == 1


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query", "says"),
    [
        ("usage/export", {"format": "focus"}, "format: focus is a form of the whole ledger: ask ledger.export or focus.export"),
        ("usage/export", {"format": "xlsx"}, "format: must be 'jsonl', 'csv' or 'parquet'"),
        ("usage/export", {"format": "parquet", "gzip": "true"}, "gzip: goes with jsonl or csv; parquet is compressed by itself"),
        ("ledger/export", {"canonical": "true"}, "canonical: goes with net and with the format jsonl"),
        ("ledger/export", {"canonical": "true", "net": "true", "format": "csv"}, "canonical: goes with net and with the format jsonl"),
        ("usage/export", {"limit": "5"}, "limit: there is no such parameter"),
        ("spend/export", {"group_by": "colour"}, "colour"),
    ],
)
def test_bad_input_is_refused_before_the_file_begins(api: TestClient, path: str, query: dict[str, str], says: str) -> None:
    answer = get(api, path, **query)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert says in answer.json()["detail"]


def test_the_missing_extra_is_named(api: TestClient, monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    monkeypatch.setattr(parquet_room, "pa", None)
    says = "format: parquet needs an extra that is not installed here: pip install 'otel-finops[parquet]'; or ask for csv or jsonl"
    assert get(api, "usage/export", format="parquet").json()["detail"] == says
    result = run("usage", "export", "--format", "parquet", database=database)
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (2, b"", f"otel-finops: {says}\n")


def test_json_and_another_format_contradict_each_other(database: str) -> None:
    result = run("usage", "export", "--json", "--format", "csv", database=database)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--json asks for JSON lines and --format for csv" in result.stderr


def test_a_fault_behind_the_first_row_is_told_on_standard_error(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_args: Any, **_known: Any) -> Any:
        yield [{"entry_id": "1-1-1"}]
        raise BadInput("the rest is gone")

    monkeypatch.setattr("otel_finops.ledger.export.LedgerExport.usage", breaks)
    result = run("usage", "export", database=database)
    assert (result.exit_code, result.stdout) == (2, '{"entry_id":"1-1-1"}\n')
    assert result.stderr == "otel-finops: the output is not whole\notel-finops: the rest is gone\n"


def test_who_may_not_view_gets_no_file(room: Room) -> None:
    api = TestClient(build_api(room.context, lambda _: Principal("nobody", None, frozenset(("ingest",)))))
    assert [get(api, path).status_code for path in ("usage/export", "ledger/export", "spend/export")] == [403] * 3


def test_switched_off_there_is_no_route(room: Room) -> None:
    off = room.context.features.model_copy(update={"exports": False})
    api = TestClient(build_api(replace(room.context, features=off), lambda _: LOCAL))
    assert [get(api, path).status_code for path in ("usage/export", "ledger/export", "spend/export")] == [404] * 3
