"""Coverage: what stands, counted by service and by the library that showed it, with what the unpriced calls lack."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ledger_rig import NOON, SECOND, Rig, call, plain

from otel_finops.base.errors import BadInput
from otel_finops.genai.sighting import AGENT, RANK_CLIENT, RANK_FRAMEWORK, TOOL, Sighting
from otel_finops.ledger import coverage as module
from otel_finops.ledger.coverage import CoverageReport, Covered, Lack, coverage
from otel_finops.store.engine import Store


@pytest.fixture
def rig(store: Store) -> Rig:
    return Rig(store)


def seen(rig: Rig, **known: Any) -> CoverageReport:
    asked = {"tenants": None, "from_ns": None, "to_ns": None, "service": None} | known
    with rig.store.read() as transaction:
        return coverage(transaction, **asked)


def of(service: str, **known: Any) -> dict[str, Any]:
    """Facts of a span of this service."""
    return {"defaults": {"service": service}, **known}


def unread(span: int, **known: Any) -> Sighting:
    """A call that its provider answered and whose counts the span does not have."""
    return call(span, trace=span, usage={}, missing_reason="no_usage", **known)


def test_each_service_and_scope_is_counted_apart(rig: Rig) -> None:
    rig.settle(
        call(1, trace=1, dialect="semconv", **of("shop")),
        call(2, trace=2, at_s=60, scope="framework", **of("shop")),
        call(3, trace=3, at_s=120, **of("bot")),
        call(4, trace=4, at_s=180),
    )
    found = seen(rig)
    assert {key: covered.calls for key, covered in found.groups.items()} == {
        ("shop", "client"): 1,
        ("shop", "framework"): 1,
        ("bot", "client"): 1,
        (None, "client"): 1,
    }
    assert found.groups["shop", "client"].dialects == Counter({"semconv": 1})
    assert found.complete


def test_merged_sightings_are_counted_at_their_own_scope(rig: Rig) -> None:
    """A framework's span above the client's: the inner one stands, the outer one is a duplicate."""
    rig.settle(call(1, scope="framework", rank=RANK_FRAMEWORK, **of("shop")), call(2, parent=1, **of("shop")))
    found = seen(rig).groups
    assert (found["shop", "framework"].calls, found["shop", "framework"].merged) == (0, Counter({"duplicate": 1}))
    assert (found["shop", "client"].calls, found["shop", "client"].merged) == (1, Counter())


def test_an_agents_own_total_is_a_wrapper_where_its_calls_are_known(rig: Rig) -> None:
    total = {"usage": {"input_uncached": 1000, "output": 100}, "usage_source": "reported", "input_readings": (1000,)}
    rig.settle(plain(1, kind=AGENT, genai=True, scope="agents", **total), call(2, parent=1))
    assert seen(rig).groups[None, "agents"].merged == Counter({"wrapper": 1})


def total(span: int, tokens: int, **known: Any) -> Sighting:
    """An agent's span that reports this many tokens for all that it did."""
    usage = {"input_uncached": tokens - 10, "output": 10}
    facts: dict[str, Any] = {"usage": usage, "usage_source": "reported", "input_readings": (tokens - 10,)}
    return plain(span, kind=AGENT, genai=True, scope="agents", **facts, **known)


def test_a_total_of_more_tokens_than_the_known_calls_have_is_told(rig: Rig) -> None:
    """A hosted agent that used 5000 tokens beside an embedding of 200 by its tool: only the embedding is charged."""
    embedding = {"usage": {"input_uncached": 200}, "input_readings": (200,), "operation": "embeddings"}
    rig.settle(total(1, 5000, trace=1), plain(2, trace=1, parent=1, genai=True, kind=TOOL), call(3, trace=1, parent=2, **embedding))
    rig.settle(total(4, 1100, trace=2), call(5, trace=2, parent=4))  # a call of 1000 in and 100 out
    found = seen(rig).groups
    assert found[None, "agents"].merged == Counter({"wrapper": 2})
    assert {key: covered.beyond for key, covered in found.items()} == {(None, "agents"): 1, (None, "client"): 0}


def test_agents_in_whose_traces_no_call_is_known(rig: Rig) -> None:
    """The agents package alone tells of runs and not of calls; where a call is known, the run needs no word."""
    runs = {"kind": AGENT, "genai": True, "scope": "agents", **of("shop")}
    rig.settle(
        *(plain(1, trace=1, attribution={"tenant": "acme"}), plain(2, trace=1, parent=1, **runs), plain(3, trace=1, parent=1, **runs)),
        *(plain(4, trace=2, **runs), call(5, trace=2, parent=4, **of("shop"))),
        plain(6, trace=3, genai=True, kind=TOOL, scope="tools"),
        plain(7, trace=4, operation="create_agent", **runs),
    )
    found = seen(rig).groups
    assert {key: covered.silent for key, covered in found.items()} == {("shop", "agents"): 1, ("shop", "client"): 0}
    for tenants, silent in ((["acme"], 1), (["default"], 0)):
        assert sum(covered.silent for covered in seen(rig, tenants=tenants).groups.values()) == silent
    assert not seen(rig, service="bot").groups
    assert not any(covered.silent for covered in seen(rig, from_ns=NOON + SECOND).groups.values())


def test_what_unpriced_calls_lack(rig: Rig) -> None:
    rig.settle(
        unread(1, scope="framework", rank=RANK_FRAMEWORK),
        unread(2, dropped_attributes=40),
        call(3, trace=3, usage={}),
        call(4, trace=4, request_model="my-deployment", price_models=("my-deployment",)),
        call(5, trace=5, request_model="my-deployment", price_models=("my-deployment",)),
    )
    found = seen(rig).groups
    assert found[None, "framework"].unpriced == Counter({Lack("no_usage", False, RANK_FRAMEWORK): 1})
    client = found[None, "client"]
    unknown = Lack("unknown_model", False, RANK_CLIENT)
    assert client.unpriced == Counter({Lack("no_usage", True, RANK_CLIENT): 1, Lack("no_usage_stream", False, RANK_CLIENT): 1, unknown: 2})
    assert client.models[unknown] == Counter({"my-deployment": 2})
    assert (client.calls, client.without_usage) == (4, 2)


def test_failed_estimated_and_partial_calls(rig: Rig) -> None:
    rig.settle(
        call(1, trace=1, usage={}, error_type="429", missing_reason=None),
        call(2, trace=2, usage_source="estimated"),
        call(3, trace=3, partial=True),
    )
    client = seen(rig).groups[None, "client"]
    assert (client.calls, client.failed, client.without_usage, client.estimated, client.partial) == (3, 1, 0, 1, 1)
    assert not client.unpriced


def test_what_was_mended_is_no_longer_told(rig: Rig) -> None:
    """A later version of the span brings its counts: the correction counts, not the row that it corrects."""
    rig.settle(call(1, usage={}))
    assert seen(rig).groups[None, "client"].unpriced.total() == 1
    rig.settle(call(1, end_ns=NOON + 2 * SECOND))
    client = seen(rig).groups[None, "client"]
    assert (client.calls, client.unpriced.total(), client.without_usage) == (1, 0, 0)


def test_the_tenants_are_an_argument(rig: Rig) -> None:
    """The second call comes to acme only by its parent, which arrives late."""
    rig.settle(call(1, trace=1, attribution={"tenant": "globex"}), call(3, trace=3, parent=2))
    rig.settle(plain(2, trace=3, attribution={"tenant": "acme"}))
    for tenants, calls in ((None, 2), (["*"], 2), (["acme"], 1), (["globex"], 1), (["acme", "globex"], 2), (["default"], 0), ([], 0)):
        assert sum(covered.calls for covered in seen(rig, tenants=tenants).groups.values()) == calls, tenants


def test_time_and_service_select(rig: Rig) -> None:
    rig.settle(call(1, trace=1, at_s=0, **of("shop")), call(2, trace=2, at_s=60, **of("shop")), call(3, trace=3, at_s=60, **of("bot")))
    minute = NOON + 60 * SECOND
    assert set(seen(rig, to_ns=minute).groups) == {("shop", "client")}
    assert set(seen(rig, from_ns=minute).groups) == {("shop", "client"), ("bot", "client")}
    assert set(seen(rig, from_ns=minute, service="bot").groups) == {("bot", "client")}
    with pytest.raises(BadInput, match="before"):
        seen(rig, from_ns=minute, to_ns=NOON)


def test_beyond_the_limit_the_newest_rows_are_looked_at_and_said_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 6):
        rig.settle(call(number, trace=number, at_s=number, scope=f"scope-{number}"))
    monkeypatch.setattr(module, "COVERAGE_ROWS_MAX", 2)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 1)
    found = seen(rig)
    assert {scope for _, scope in found.groups} == {"scope-4", "scope-5"}
    assert not found.complete
    monkeypatch.setattr(module, "COVERAGE_ROWS_MAX", 5)
    assert seen(rig).complete


def test_groups_and_names_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.settle(*(call(n, trace=n, scope=f"scope-{n}") for n in range(1, 4)))
    monkeypatch.setattr(module, "GROUPS_MAX", 2)
    with pytest.raises(BadInput, match="narrow"):
        seen(rig)
    covered = Covered()
    lack = Lack("unknown_model", False, None)
    for number in range(200):
        covered._lacks(lack, f"model-{number}")
    assert (covered.unpriced[lack], len(covered.models[lack])) == (200, 100)


def test_a_row_whose_span_is_gone_has_no_scope(rig: Rig) -> None:
    rig.settle(call(1))
    with rig.store.write() as transaction:
        transaction.execute("DELETE FROM journal")
    assert {key: covered.calls for key, covered in seen(rig).groups.items()} == {(None, None): 1}
