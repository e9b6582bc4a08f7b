"""Files of providers' bills in the shapes in which they come, and what is wrong with others."""

from __future__ import annotations

import gzip
import io
import json
import re
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from otel_finops.base.errors import BadInput, TooLarge
from otel_finops.base.times import NS_PER_DAY, parse_ns
from otel_finops.insight.bills import line as lines_module
from otel_finops.insight.bills.line import Bill
from otel_finops.insight.bills.reading import Given, read_bill

DAY = parse_ns("2026-11-20")
START = DAY // 10**9
USD = 10**12


def read(data: Any, **given: Any) -> Bill:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return read_bill(Given(raw, "bill", **given))


def said(bill: Bill) -> dict[tuple[str, str], tuple[int | None, int | None, int | None]]:
    """Amount, quantity and requests by model and unit."""
    return {(one.model, one.unit): (one.amount, one.quantity, one.requests) for one in bill.lines}


def page(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    bucket = {"object": "bucket", "start_time": START, "end_time": START + 86_400, "results": list(results)}
    return {"object": "page", "data": [bucket], "has_more": False, "next_page": None, **more}


def cost(item: str | None, value: Any, **more: Any) -> dict[str, Any]:
    return {"object": "organization.costs.result", "amount": {"value": value, "currency": "usd"}, "line_item": item, **more}


def test_costs_of_openai_by_line_item() -> None:
    bill = read(page(
        cost("gpt-4o-2024-08-06, input", 0.0625), cost("gpt-4o-2024-08-06, cached input", 0.01), cost("gpt-4o-2024-08-06, output", 1),
        cost("priority | gpt-5.5-2026-04-23, output, long context", "0.5", quantity=100), cost("gpt-audio-2025-08-28 audio, input", 0.25),
        cost("gpt-5.5-2026-04-23, cache writes", 0.125), cost("web search tool calls", 0.02), cost("Vector storage", 0.001),
    ))  # fmt: skip
    assert (bill.provider, bill.aspect, bill.currency, bill.from_ns, bill.to_ns) == ("openai", "cost", "USD", DAY, DAY + NS_PER_DAY)
    assert said(bill) == {
        ("gpt-4o-2024-08-06", "input_uncached"): (USD // 16, None, None),
        ("gpt-4o-2024-08-06", "cache_read"): (USD // 100, None, None),
        ("gpt-4o-2024-08-06", "output"): (USD, None, None),
        ("gpt-5.5-2026-04-23", "output"): (USD // 2, 100, None),
        ("gpt-5.5-2026-04-23", "cache_write_5m"): (USD // 8, None, None),
        ("gpt-audio-2025-08-28", "audio_in"): (USD // 4, None, None),
        ("", "web_searches"): (USD // 50, None, None),
        ("", ""): (USD // 1_000, None, None),
    }


def test_usage_of_openai_has_cached_tokens_within_the_input() -> None:
    result = {
        "object": "organization.usage.completions.result", "model": "gpt-4o-2024-08-06", "input_tokens": 1_000, "input_cached_tokens": 800,
        "output_tokens": 50, "input_audio_tokens": 7, "output_audio_tokens": 0, "num_model_requests": 5, "project_id": None,
    }  # fmt: skip
    bill = read([page(result, has_more=True), page(result)])
    assert (bill.aspect, bill.amount) == ("usage.completions", 0)
    assert said(bill) == {
        ("gpt-4o-2024-08-06", "input_uncached"): (None, 400, 10),
        ("gpt-4o-2024-08-06", "cache_read"): (None, 1_600, None),
        ("gpt-4o-2024-08-06", "output"): (None, 100, None),
        ("gpt-4o-2024-08-06", "audio_in"): (None, 14, None),
    }
    with pytest.raises(BadInput, match="usage of completions and embeddings in one file"):
        read(page(result, {**result, "object": "organization.usage.embeddings.result"}))
    with pytest.raises(BadInput, match="nothing says of which usage"):
        read(page(), format="openai_usage")


def reports(*results: dict[str, Any]) -> dict[str, Any]:
    bucket = {"starting_at": "2026-11-20T00:00:00Z", "ending_at": "2026-11-21T00:00:00Z", "results": list(results)}
    return {"data": [bucket], "has_more": False, "next_page": None}


def test_the_cost_report_of_anthropic_is_in_cents() -> None:
    tokens = {"currency": "USD", "cost_type": "tokens", "model": "claude-sonnet-4-5-20250929", "service_tier": "standard"}
    bill = read(reports(
        {**tokens, "amount": "123.78912", "token_type": "uncached_input_tokens"},
        {**tokens, "amount": "50", "token_type": "cache_creation.ephemeral_1h_input_tokens"},
        {"currency": "USD", "amount": "2.5", "cost_type": "web_search", "model": None, "token_type": None},
    ))  # fmt: skip
    assert (bill.provider, bill.aspect) == ("anthropic", "cost")
    assert said(bill) == {
        ("claude-sonnet-4-5-20250929", "input_uncached"): (1_237_891_200_000, None, None),
        ("claude-sonnet-4-5-20250929", "cache_write_1h"): (USD // 2, None, None),
        ("", "web_searches"): (USD // 40, None, None),
    }


def test_the_usage_report_of_anthropic() -> None:
    bill = read(reports({
        "model": "claude-sonnet-4-5-20250929", "uncached_input_tokens": 1_500, "cache_read_input_tokens": 200, "output_tokens": 500,
        "cache_creation": {"ephemeral_1h_input_tokens": 1_000, "ephemeral_5m_input_tokens": 0},
        "server_tool_use": {"web_search_requests": 3},
    }))  # fmt: skip
    assert bill.aspect == "usage.messages"
    assert {unit: quantity for (_, unit), (_, quantity, _) in said(bill).items()} == {
        "input_uncached": 1_500, "cache_read": 200, "output": 500, "cache_write_1h": 1_000, "web_searches": 3,
    }  # fmt: skip


def test_activity_of_openrouter_as_json_and_as_csv() -> None:
    row = {
        "date": "2026-11-20", "model": "openai/gpt-4.1", "model_permaslug": "openai/gpt-4.1-2025-04-14", "endpoint_id": "e",
        "provider_name": "OpenAI", "usage": 0.015, "byok_usage_inference": 0.0, "requests": 5, "prompt_tokens": 50,
        "completion_tokens": 125, "reasoning_tokens": 25,
    }  # fmt: skip
    table = ",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n"
    model = "openai/gpt-4.1-2025-04-14"
    for bill in (read({"data": [row]}), read(table.encode())):
        assert (bill.provider, bill.format, bill.aspect) == ("openrouter", "openrouter_activity", "cost")
        assert said(bill) == {
            (model, ""): (15 * USD // 1_000, None, 5),
            (model, "prompt"): (None, 50, None),
            (model, "completion"): (None, 125, None),
        }


def focus_row(**more: Any) -> dict[str, Any]:
    return {
        "ChargePeriodStart": "2026-11-20T03:00:00Z", "ChargePeriodEnd": "2026-11-20T04:00:00Z", "BilledCost": "0.60", "ListCost": "1",
        "BillingCurrency": "USD", "ChargeCategory": "Usage", "ProviderName": "AWS", "ServiceName": "Amazon Bedrock",
        "ConsumedQuantity": "2", "ConsumedUnit": "1M Tokens", "SkuMeter": "", "ChargeDescription": "",
        "SkuPriceDetails": '{"ModelId": "anthropic.claude-sonnet-4-5", "TokenDirection": "Input", "TokenCacheAction": "Read"}', **more,
    }  # fmt: skip


FOCUS = [
    focus_row(),
    focus_row(ServiceName="Amazon EC2", SkuPriceDetails=""),
    focus_row(SkuPriceDetails="no json", SkuMeter="Claude-output-tokens", ConsumedUnit="1000 tokens"),
    focus_row(ChargeCategory="Tax", BilledCost="0.1"),
]


def focus_csv(rows: list[dict[str, Any]]) -> bytes:
    cells = [[str(value).replace('"', '""') for value in row.values()] for row in rows]
    return "\n".join([",".join(rows[0]), *(",".join(f'"{cell}"' for cell in row) for row in cells)]).encode()


def focus_parquet(rows: list[dict[str, Any]]) -> bytes:
    typed = [
        {
            **row, "BilledCost": Decimal(row["BilledCost"]), "ChargePeriodStart": parse_ns(row["ChargePeriodStart"]),
            "ChargePeriodEnd": parse_ns(row["ChargePeriodEnd"]),
        }
        for row in rows
    ]  # fmt: skip
    table = pa.Table.from_pylist(typed)
    for name in ("ChargePeriodStart", "ChargePeriodEnd"):
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.timestamp("ns", tz="UTC")))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize("data", [focus_csv(FOCUS), gzip.compress(focus_csv(FOCUS)), focus_parquet(FOCUS)], ids=["csv", "gzip", "parquet"])
def test_a_cloud_s_file_in_focus(data: bytes) -> None:
    bill = read(data)
    assert (bill.provider, bill.format, bill.skipped, bill.from_ns, bill.to_ns) == ("bedrock", "focus", 1, DAY, DAY + NS_PER_DAY)
    assert said(bill) == {
        ("anthropic.claude-sonnet-4-5", "cache_read"): (6 * USD // 10, 2_000_000, None),
        ("", "completion"): (6 * USD // 10, 2_000, None),
        ("", ""): (USD // 10, None, None),
    }
    assert [one.amount for one in bill.lines if one.category == "other"] == [USD // 10]


def test_focus_of_several_providers_and_other_costs() -> None:
    mixed = focus_csv([focus_row(), focus_row(ProviderName="Microsoft", ServiceName="Azure OpenAI Service", x="gpt-4o")])
    with pytest.raises(BadInput, match=r"rows of azure, bedrock; say `provider`"):
        read(focus_csv([focus_row(), focus_row(ProviderName="Microsoft", ServiceName="Azure OpenAI Service")]))
    with pytest.raises(BadInput, match="line 3: 14 values under 13 columns"):
        read(mixed)
    both = focus_csv([focus_row(), focus_row(ProviderName="Microsoft", ServiceName="Azure OpenAI Service")])
    assert read(both, provider="azure", amount_column="ListCost", model_column="SkuMeter").amount == USD
    with pytest.raises(BadInput, match="no row of openai of a service that is known to sell models"):
        read(both, provider="openai")


def test_any_table_by_its_headers_or_by_a_mapping() -> None:
    plain = read(b"Day,Model,Requests,Input tokens,Output tokens,Cost\n2026-11-20,gpt-4o,2,2000,200,0.0070\n")
    assert said(plain) == {
        ("gpt-4o", ""): (7 * USD // 1_000, None, 2),
        ("gpt-4o", "prompt"): (None, 2_000, None),
        ("gpt-4o", "completion"): (None, 200, None),
    }
    assert (plain.provider, plain.currency, plain.places) == (None, "USD", 4)
    mapped = read(
        b"Leistung;Monat;Betrag;W\xc3\xa4hrung;Art\ngpt-4o;2026-10;1.234,56;EUR;\n;2026-10;19,00;EUR;Tax\n",
        mapping={"model": "Leistung", "date": "Monat", "amount": "Betrag", "currency": "Währung", "category": "Art"}, decimal_comma=True,
    )  # fmt: skip
    assert [(one.model, one.category, one.amount) for one in mapped.lines] == [
        ("", "other", 19 * USD), ("gpt-4o", "usage", 123_456 * USD // 100),
    ]  # fmt: skip
    assert (mapped.currency, mapped.from_ns, mapped.to_ns) == ("EUR", parse_ns("2026-10-01"), parse_ns("2026-11-01"))
    units = read(b"date,model,unit,quantity,amount\n2026-11-20,gpt-4o,output,500,0.005\n")
    assert said(units) == {("gpt-4o", "output"): (5 * USD // 1_000, 500, None)}
    assert read(b"date,model,calls\n2026-11-20,gpt-4o,5\n").aspect == "usage.calls"


@pytest.mark.parametrize(
    ("data", "given", "reason"),
    [
        (b"", {}, "the first line must name the columns"),
        (b"a,b\n1,2\n", {}, r"no column says the date, or none an amount or a count; say which by `mapping`.*its columns are a, b"),
        (b"date,cost\n20.11.2026,1\n", {}, "bill, line 2: '20.11.2026' is no date; write 2026-11-21"),
        (b"date,cost\n2026-11-20,1,5\n", {}, "bill, line 2: 3 values under 2 columns"),
        (b'date,cost\n2026-11-20,"1,000"\n', {}, "'1,000' is no number; write it with a decimal point"),
        (b"date,cost\n2026-11-20,1.5\n", {"decimal_comma": True, "mapping": {"amount": "cost"}}, "'1.5' is no number with a decimal comma"),
        (b"date,cost,currency\n2026-11-20,1,USD\n2026-11-20,1,EUR\n", {}, "amounts in USD and in EUR"),
        (b"date,cost,currency\n2026-11-20,1,dollars\n", {}, "'DOLLARS' is no ISO 4217 currency code"),
        (b"date,cost\n2026-11-20,\xff\n", {}, "is no UTF-8"),
        (b"date,cost,unit,quantity\n2026-11-20,1,apples,5\n", {}, "unit 'apples' is none of"),
        (b"date,cost\n2026-11-20,1\n", {"mapping": {"amount": "Total"}}, "bill has no column 'Total'; it has date, cost"),
        (b"date,cost\n2026-11-20,1\n", {"mapping": {"price": "cost"}}, "mapping: 'price' is none of"),
        (b"date,cost\n2026-11-20,1\n", {"format": "openai_costs"}, "is a table, and no file of openai_costs"),
        (b"date,requests,cost\n2026-11-20,-5,1\n", {}, "a count lies between 0 and"),
        (b"PAR1 and nothing else", {}, "is no Parquet file that can be read"),
        (b"\x1f\x8bnothing", {}, "begins like gzip and cannot be inflated"),
        (b'{"data": [', {}, "bill, line 1: no JSON"),
        (b'{"data": {}}', {}, "a page is an object with the list `data`"),
        (b'{"data": [1]}', {}, "something that is no object"),
        (b'{"data": []}', {}, "pages of no format that is known, or without a single result"),
        (b'{"data": [{"results": 7}]}', {}, "`results` of a bucket is no list"),
        (json.dumps(page(cost("a, input", 1), has_more=True)).encode(), {}, "the last page is missing"),
        (json.dumps(page(cost("a, input", "dear"))).encode(), {}, "'dear' is no number"),
        (json.dumps(page(cost("a, input", True))).encode(), {}, "'True' is no number"),
        (json.dumps(page({**cost("a, input", 1), "amount": 5})).encode(), {}, "a result of costs has no amount"),
        (b'{"data": [{"results": [], "start_time": "now"}]}', {"format": "openai_costs"}, "start_time is no time in seconds"),
        (b'{"data": [{"results": [], "starting_at": "now"}]}', {"format": "anthropic_cost"}, "starting_at is no RFC 3339 instant"),
        (b'{"data": [{"x": NaN}]}', {}, "a number in it is none"),
        (b"[" * 100_000, {}, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(data: bytes, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        read(data, **given)


def test_a_bill_with_too_many_lines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BILL_LINES_MAX", 2)
    rows = "".join(f"2026-11-20,model-{number},1\n" for number in range(3))
    with pytest.raises(TooLarge, match="import it in parts"):
        read(f"date,model,cost\n{rows}".encode())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"date,model,amount\n" + b"," * 2**21, "x, line 2: longer than 1048576 characters"),
        (b"a" + b"," * 2**21, "x, line 1: longer than 1048576 characters"),
        (",".join(f"c{no}" for no in range(1_001)).encode(), "x: more than 1000 columns"),
        (b'[{"data": [' + b"1," * 101 + b"1]}]", "x: too many objects, texts or values"),
    ],
)
def test_a_small_gzipped_file_takes_no_large_memory(data: bytes, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.insight.bills.reading.BILL_COMMAS_MAX", 100)
    with pytest.raises(TooLarge, match=re.escape(reason)):
        read_bill(Given(gzip.compress(data), "x"))


def test_pages_one_a_line() -> None:
    lines = b"\n".join(json.dumps(one).encode() for one in (page(cost("a, input", 1), has_more=True), page(cost("a, input", 2))))
    assert read(lines).amount == 3 * USD
