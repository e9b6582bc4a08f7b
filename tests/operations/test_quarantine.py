"""Spans in quarantine by the API's and the commands' verbs: pages, scopes, retries and drops, and what goes on record."""

from __future__ import annotations

from typing import Any

import pytest

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.journal import JournalRow
from otel_finops.ledger.quarantine import Failed, Quarantine
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, FakeClock, RememberedTrail

ACME = Principal("ann", ("acme",), ROLES["manager"])


@pytest.fixture
def trail() -> RememberedTrail:
    return RememberedTrail()


@pytest.fixture
def context(store: Store, trail: RememberedTrail) -> Context:
    """Three spans are held: 1 of acme, 2 of globex, and 3 of the shared realm, of which only the ids are kept."""
    clock, subjects = FakeClock(), Subjects()
    rows = [row(1, "acme"), row(2, "globex"), row(3, "default", reported_pico=2**70)]
    held = [Failed(one, f"TypeError at codec.encode:{number}") for number, one in enumerate(rows, 1)]
    Quarantine(store, clock, subjects, settle_after_s=5).keep(held)
    return make_context(load(None, {}), store, subjects, CurrentPrices(store, clock, packaged_snapshot), clock, trail=trail)


def row(number: int, realm: str, **said: Any) -> JournalRow:
    ids = {"trace_id": f"{number:032x}", "span_id": f"{number:016x}", "parent_span_id": None}
    times = {"start_ns": NOON, "end_ns": NOON + 1_000_000_000}
    values: dict[str, Any] = {"realm": realm, "name": "chat", "kind": CALL, "genai": True, "instance": "shop", "scope": "client"}
    return JournalRow(Sighting(**{**ids, **times, **values, **said}), None)


def ask(context: Context, name: str, who: Principal = LOCAL, **given: Any) -> Json:
    one = OPERATIONS.named(name)
    answer = invoke(one, context, who, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer, strict=True)
    return answer


def shown(number: int, realm: str, *, retryable: bool = True) -> dict[str, Any]:
    return {
        "no": number, "realm": realm, "trace_id": f"{number:032x}", "span_id": f"{number:016x}",
        "reason": f"TypeError at codec.encode:{number}", "held_since": "2026-11-21T12:00:00.000000000Z", "retryable": retryable,
    }  # fmt: skip


def test_they_are_listed_newest_first_a_page_at_a_time(context: Context) -> None:
    first = ask(context, "quarantine.list", limit=2)
    assert first["spans"] == [shown(3, "default", retryable=False), shown(2, "globex")]
    second = ask(context, "quarantine.list", limit=2, cursor=first["next_cursor"])
    assert second == {"spans": [shown(1, "acme")], "next_cursor": None}
    assert ask(context, "quarantine.list", limit=3)["next_cursor"] is None
    with pytest.raises(BadInput, match="cursor"):
        ask(context, "quarantine.list", cursor="nonsense")


def test_tenants_see_their_own_realms(context: Context) -> None:
    assert ask(context, "quarantine.list", ACME)["spans"] == [shown(1, "acme")]
    assert ask(context, "quarantine.list", ACME, realm="globex")["spans"] == []
    assert ask(context, "quarantine.list", realm="globex")["spans"] == [shown(2, "globex")]
    assert ask(context, "quarantine.list", realm="default")["spans"] == [shown(3, "default", retryable=False)]


def test_another_tenants_spans_do_not_exist_and_nothing_goes_on_record(context: Context, trail: RememberedTrail) -> None:
    for verb in ("quarantine.retry", "quarantine.drop"):
        for number in ("2", "3", "99"):
            with pytest.raises(NotFound, match=f"There is no span {number} in quarantine"):
                ask(context, verb, ACME, no=number)
    assert trail.made == []
    assert len(ask(context, "quarantine.list")["spans"]) == 3


def test_a_retry_goes_on_record_with_before_and_after(context: Context, trail: RememberedTrail) -> None:
    answer = ask(context, "quarantine.retry", no="all")
    still = shown(3, "default", retryable=False)
    assert answer == {"journalled": 2, "duplicate": 0, "held": [still], "stopped": None}
    [change] = trail.made
    assert (change.who, change.what, change.origin) == ("local", "quarantine.retry", "test")
    assert change.before == [shown(1, "acme"), shown(2, "globex"), still]
    assert change.after == answer
    assert ask(context, "quarantine.list")["spans"] == [still]


def test_a_drop_goes_on_record_with_before_and_after(context: Context, trail: RememberedTrail) -> None:
    assert ask(context, "quarantine.drop", ACME, no="all") == {"dropped": 1}
    assert ask(context, "quarantine.drop", no="3") == {"dropped": 1}
    assert [(change.who, change.before, change.after) for change in trail.made] == [
        ("ann", [shown(1, "acme")], []),
        ("local", [shown(3, "default", retryable=False)], []),
    ]
    assert ask(context, "quarantine.list")["spans"] == [shown(2, "globex")]


@pytest.mark.parametrize("no", ["", "-1", "1.0", "ALL", "all ", "9" * 19, "\u0661"])
def test_what_is_no_number_is_refused(context: Context, no: str) -> None:
    with pytest.raises(ValueError, match=r"write the number that quarantine\.list shows, or 'all'"):
        ask(context, "quarantine.retry", no=no)
