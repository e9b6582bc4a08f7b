"""Bills and reconciliation by the API's and the commands' verbs, and what the clock does."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from otel_finops.base.errors import BadInput, Forbidden, NotFound, TooLarge, Unavailable
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.insight import bill_store
from otel_finops.insight.bills import pull as pull_module
from otel_finops.insight.bills.pull import Source, getter, pull
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.subjects import Subjects
from otel_finops.metrics.capture_gauge import CaptureCollector, capture_source
from otel_finops.operations.bills_desk import BillsDesk
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.testing import NOON, FakeClock, RememberedTrail

PRICES = PriceEngine.load()
DAY = 86_400 * 10**9
ANN = Principal("ann", ("acme",), ROLES["admin"])
SOURCES = json.dumps([{"provider": "openai", "key": "sk-admin-secret", "url": "http://127.0.0.1:9"}])
SETTINGS = load(None, {"OTEL_FINOPS_RECONCILIATION__SOURCES": SOURCES})
TABLE = b"date,model,requests,prompt_tokens,completion_tokens,cost\n2026-11-20,gpt-4o-2024-08-06,3,3000,300,0.0105\n"
"""Three calls at 0.0035 USD, of which the ledger has two."""


def call(number: int, tenant: str) -> Sighting:
    """Yesterday, 1,000 tokens in and 100 out of gpt-4o: 0.0035 USD."""
    return Sighting(
        realm=tenant, trace_id=f"{number:032x}", span_id=f"{number:016x}", parent_span_id=None, name="chat", start_ns=NOON - DAY,
        end_ns=NOON - DAY + 1, kind=CALL, genai=True, instance=f"shop {number}", scope="client", operation="chat", provider="openai",
        request_model="gpt-4o", response_model="gpt-4o-2024-08-06", price_models=("gpt-4o-2024-08-06",),
        usage={"input_uncached": 1000, "output": 100}, usage_source="reported", attribution={"tenant": tenant},
    )  # fmt: skip


@pytest.fixture
def trail() -> RememberedTrail:
    return RememberedTrail()


@pytest.fixture
def context(store: Store, trail: RememberedTrail) -> Context:
    clock, subjects = FakeClock(), Subjects()
    with store.write() as transaction:
        rows = [JournalRow(call(1, "acme"), None), JournalRow(call(2, "acme"), None)]
        record(transaction, rows, now_ns=NOON, settle_after_ns=0, subjects=subjects)
    Settler(store, Leases(store, clock, "test"), PRICES, (Rollups(),), clock).settle_all()
    return make_context(SETTINGS, store, subjects, CurrentPrices(store, clock, packaged_snapshot), clock, trail=trail, anywhere=True)


def ask(context: Context, verb: str, principal: Principal = LOCAL, /, **given: Any) -> Json:
    one = OPERATIONS.named(verb)
    answer = invoke(one, context, principal, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer)
    return answer


def imported(context: Context, principal: Principal = LOCAL, content: bytes = TABLE, **given: Any) -> Json:
    return ask(context, "bills.import", principal, content=base64.b64encode(content).decode(), provider="openai", **given)


def test_a_bill_is_imported_once_and_held_against_the_ledger(context: Context, trail: RememberedTrail, tmp_path: Path) -> None:
    path = tmp_path / "november.csv"
    path.write_bytes(TABLE)
    tried = ask(context, "bills.import", **{"from": str(path), "provider": "OpenAI", "dry_run": True})
    assert (tried["bill"]["no"], ask(context, "bills.list")["bills"], trail.made) == (0, [], [])
    first = ask(context, "bills.import", **{"from": str(path), "provider": "OpenAI"})
    assert (first["new"], first["bill"]["name"], first["bill"]["amount"], first["bill"]["origin"]) == (True, "openai", "0.0105", path.name)
    assert imported(context)["new"] is False
    assert [change.what for change in trail.made] == ["bills.import"]
    report = ask(context, "reconcile.report")
    assert (report["billed_usd"], report["booked_usd"], report["gap_usd"], report["capture_rate"]) == (
        "0.0105",
        "0.007",
        "0.0035",
        0.666667,
    )
    assert [(one["cause"], one["usd"]) for one in report["causes"]] == [("sampling", "0.0035")]
    assert [(one["model"], one["capture_rate"]) for one in report["models"]] == [("gpt-4o-2024-08-06", 0.666667)]
    assert [(one["from"][:10], one["gap_usd"]) for one in report["days"]] == [("2026-11-20", "0.0035")]
    assert [(one["requests"], one["calls"]) for one in report["cells"]] == [(3, 2)]
    assert ask(context, "reconcile.report", cells=0)["cells_left_out"] == 1
    removed = ask(context, "bills.remove", no=1)
    assert (removed["bill"]["no"], ask(context, "bills.list")["bills"]) == (1, [])
    with pytest.raises(NotFound, match="There is no bill; import one"):
        ask(context, "reconcile.report")


def test_more_than_the_bill_is_told(context: Context) -> None:
    imported(context, content=TABLE.replace(b"3,3000,300,0.0105", b"1,1000,100,0.0035"))
    report = ask(context, "reconcile.report", name="openai")
    assert (report["ledger_exceeds_bill"], report["capture_rate"]) == (True, 2.0)
    assert [(one["cause"], one["usd"]) for one in report["causes"]] == [("double_count", "-0.0035")]


def test_bills_are_their_tenants(context: Context) -> None:
    with pytest.raises(Forbidden, match="tenant: must be given"):
        imported(context, ANN)
    with pytest.raises(NotFound):
        imported(context, ANN, tenant="globex")
    imported(context, ANN, tenant="acme")
    imported(context, name="all")
    imported(context, name="theirs", tenant="globex")
    assert [one["name"] for one in ask(context, "bills.list", ANN)["bills"]] == ["openai"]
    assert ask(context, "reconcile.report", ANN)["name"] == "openai"
    for name in ("all", "theirs"):
        with pytest.raises(NotFound):
            ask(context, "reconcile.report", ANN, name=name)
    with pytest.raises(NotFound):
        ask(context, "bills.remove", ANN, no=2)
    with pytest.raises(BadInput, match=r"say which bill: all, openai \(tenant acme\), theirs \(tenant globex\)"):
        ask(context, "reconcile.report")
    for name in ("reconcile.run", "bills.pull"):
        with pytest.raises(Forbidden):
            ask(context, name, ANN)
    theirs = ask(context, "reconcile.report", name="theirs", tenant="globex")
    assert [(one["cause"], one["usd"]) for one in theirs["causes"]] == [("not_seen", "0.0105")], "acme's calls are none of globex'"


def test_no_tenant_takes_the_places_of_the_others_bills(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names and three imports for each: acme's third name is refused, a newer import of a name is not, and then it is."""
    monkeypatch.setattr(bill_store, "BILL_NAMES_OF_TENANT_MAX", 2)
    monkeypatch.setattr(bill_store, "BILLS_OF_TENANT_MAX", 3)
    for name in ("a", "b"):
        imported(context, ANN, tenant="acme", name=name)
    with pytest.raises(BadInput, match="bills of 2 names of this tenant already"):
        imported(context, ANN, tenant="acme", name="c")
    imported(context, ANN, TABLE.replace(b"0.0105", b"0.0106"), tenant="acme", name="a")
    with pytest.raises(BadInput, match="3 bills of this tenant already"):
        imported(context, ANN, TABLE.replace(b"0.0105", b"0.0107"), tenant="acme", name="a")
    for tenant in ("globex", None):
        for name in ("a", "b"):
            imported(context, tenant=tenant, name=name)
    imported(context, name="c")


def test_capture_rates_are_kept_and_shown_as_metrics(context: Context, store: Store) -> None:
    imported(context)
    tried = ask(context, "reconcile.run", dry_run=True)
    assert ([one["capture_rate"] for one in tried["rates"]], ask(context, "reconcile.rates")["rates"]) == ([0.666667], [])
    ask(context, "reconcile.run")
    [kept] = ask(context, "reconcile.rates")["rates"]
    assert (kept["name"], kept["capture_rate"], kept["gap_usd"], kept["from"][:10]) == ("openai", 0.666667, "0.0035", "2026-11-20")
    assert ask(context, "reconcile.rates", ANN)["rates"] == []
    registry = CollectorRegistry()
    registry.register(CaptureCollector(capture_source(store)))
    assert 'finops_capture_rate{bill="openai",provider="openai",tenant=""} 0.666667' in generate_latest(registry).decode()
    ask(context, "bills.remove", no=1)
    ask(context, "reconcile.run")
    assert ask(context, "reconcile.rates")["rates"] == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "give `from`, a file or URL, or `content`"),
        ({"content": "*"}, "content: no base64"),
        ({"content": "\u0661"}, "content: no base64"),
        ({"from": "/no/such/file"}, "file: cannot be read: No such file"),
        ({"from": "http://bills.example/a.csv"}, "https://"),
        ({"content": base64.b64encode(TABLE).decode()}, "provider: the file does not say who bills"),
        ({"content": base64.b64encode(b'{"data": [{"date": "2026-11-20", "model": "a", "usage": 1, "requests": 1}]}').decode(),
          "provider": "openai"}, "the file is a bill of openrouter, not of openai"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_says_why(context: Context, given: dict[str, str], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        ask(context, "bills.import", **given)


# --- asking billing APIs -----------------------------------------------------------------------------------------------


def bucket(day: str, *results: dict[str, Any]) -> dict[str, Any]:
    return {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day[:8]}{int(day[8:]) + 1:02}T00:00:00Z", "results": list(results)}


class Api:
    """An Anthropic admin API with two pages of costs and one of usage; a spy on what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, list[str]], Mapping[str, str]]] = []

    def __call__(self, url: str, headers: Mapping[str, str]) -> bytes:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self.asked.append((parts.path, query, headers))
        if parts.path.endswith("/messages"):
            result = {"model": "claude-sonnet-4-5", "uncached_input_tokens": 1_000, "output_tokens": 100}
            return json.dumps({"data": [bucket("2026-11-20", result)], "has_more": False, "next_page": None}).encode()
        result = {"amount": "0.45", "currency": "USD", "model": "claude-sonnet-4-5", "token_type": "output_tokens", "cost_type": "tokens"}
        page = {"data": [bucket("2026-11-19", result)], "has_more": True, "next_page": "two"}
        last = {"data": [bucket("2026-11-20", result)], "has_more": False, "next_page": None}
        return json.dumps(last if "page" in query else page).encode()


def test_reports_are_fetched_page_by_page() -> None:
    api = Api()
    found = list(pull(Source("anthropic", "https://api.example", "key"), NOON - NOON % DAY - 2 * DAY, NOON - NOON % DAY, api))
    assert [(one.format, one.origin) for one in found] == [
        ("anthropic_cost", "https://api.example/v1/organizations/cost_report"),
        ("anthropic_usage", "https://api.example/v1/organizations/usage_report/messages"),
    ]
    assert [query.get("page") for _, query, _ in api.asked] == [None, ["two"], None]
    _, query, headers = api.asked[0]
    assert (query["starting_at"], query["ending_at"], query["group_by[]"]) == (
        ["2026-11-19T00:00:00Z"], ["2026-11-21T00:00:00Z"], ["description"],
    )  # fmt: skip
    assert headers == {"x-api-key": "key", "anthropic-version": "2023-06-01"}


def test_pages_without_end_are_not_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_module, "BILL_FILE_BYTES_MAX", 1_000)
    asked: list[str] = []

    def get(url: str, headers: Mapping[str, str]) -> bytes:
        asked.append(url)
        return json.dumps({"data": [], "has_more": True, "next_page": "n", "filler": "x" * 300}).encode()

    with pytest.raises(TooLarge, match="pages of more than 1000 bytes"):
        list(pull(Source("anthropic", "https://api.anthropic.com", "k"), 0, 86_400 * 10**9, get))
    assert len(asked) == 3


def desk(store: Store, settings: Settings, get: Any) -> BillsDesk:
    clock = FakeClock()
    prices = CurrentPrices(store, clock, packaged_snapshot)
    return BillsDesk(store, clock, prices.fresh, settings.reconciliation, files=False, get=get)


def test_the_clock_fetches_and_compares(store: Store) -> None:
    """0.45 cents a day are 0.009 USD in two days; 1,000 tokens in, 100 out of yesterday; the ledger has none of it."""
    sources = json.dumps([{"provider": "anthropic", "key": "k", "tenant": "acme", "name": "claude"}])
    bills = desk(store, load(None, {"OTEL_FINOPS_RECONCILIATION__SOURCES": sources}), Api())
    assert bills.by_the_clock() == "2 new bills, 1 held against the ledger"
    assert bills.by_the_clock() == "0 new bills, 1 held against the ledger"
    [rate] = bills.rates(("acme",))
    assert (rate.name, rate.billed_pico, rate.booked_pico, rate.rate, dict(rate.causes)) == (
        "claude", 9 * 10**9, 0, 0.0, {"not_seen": 9 * 10**9},
    )  # fmt: skip


def test_one_source_that_is_away_keeps_nothing_else_from_being_done(store: Store) -> None:
    def away(url: str, headers: Mapping[str, str]) -> bytes:
        raise Unavailable("https://api.example answered 503")

    bills = desk(store, SETTINGS, away)
    with pytest.raises(BadInput, match=r"0 new bills, 0 held against the ledger; openai: .* answered 503"):
        bills.by_the_clock()
    with pytest.raises(BadInput, match="name: there is no source 'azure' in the settings"):
        bills.pull("azure", who="ann")
    assert [(one.name, one.fault) for one in bills.pull("openai", who="ann", dry_run=True)] == [("openai", None)]


class _Answers(BaseHTTPRequestHandler):
    """Answers by the path: `/STATUS`, or a page."""

    def do_GET(self) -> None:
        status = int(self.path[1:4]) if self.path[1:4].isdigit() else 200
        self.send_response(status)
        if status == 302:
            self.send_header("location", "/secret")
        body = json.dumps({"key": self.headers["authorization"], "path": self.path}).encode()
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form: str, *args: Any) -> None:
        """Keep the output clean."""


@contextmanager
def listening() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_key_goes_to_its_api_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as place:
        get = getter(5.0)
        assert json.loads(get(f"{place}/page", {"authorization": "Bearer key"})) == {"key": "Bearer key", "path": "/page"}
        for path, reason in (("302", "answered 302"), ("401", r"refuses the key \(401\)"), ("404", "answered 404")):
            with pytest.raises(BadInput, match=reason):
                get(f"{place}/{path}?secret=1", {"authorization": "Bearer key"})
        for path in ("429", "503"):
            with pytest.raises(Unavailable, match=f"answered {path}"):
                get(f"{place}/{path}", {"authorization": "Bearer key"})
        monkeypatch.setattr(pull_module, "BILL_PAGE_BYTES_MAX", 10)
        with pytest.raises(BadInput, match="a page of more than 10 bytes"):
            get(f"{place}/page", {})
    with pytest.raises(Unavailable, match="cannot be asked"):
        get(f"{place}/page", {})


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        ([{"provider": "openai", "key": "k", "url": "http://bills.example"}], "http will do on this machine alone"),
        ([{"provider": "openai", "key": "k", "url": "bills.example"}], "not a billing API"),
        ([{"provider": "openai", "key": "k\n"}], "printable ASCII"),
        ([{"provider": "nobody", "key": "k"}], "must be 'openai', 'anthropic' or 'openrouter'"),
        ([{"provider": "openai", "key": "k"}, {"provider": "openai", "key": "l"}], "another `name`"),
    ],
)
def test_settings_that_cannot_be(sources: list[dict[str, str]], reason: str) -> None:
    with pytest.raises(Exception, match=reason) as fault:
        load(None, {"OTEL_FINOPS_RECONCILIATION__SOURCES": json.dumps(sources)})
    assert "k\n" not in str(fault.value).replace("key\n", "")


def test_keys_are_never_shown(context: Context) -> None:
    assert "sk-admin-secret" not in json.dumps(ask(context, "settings.show"))
    assert "sk-admin-secret" not in repr(SETTINGS)
