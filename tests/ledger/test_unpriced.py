"""The list of models without a price: calls, tokens, first and last seen, reason; each principal sees the own tenants' calls."""

from __future__ import annotations

import pytest
from ledger_rig import Rig, call

from otel_finops.base.errors import BadInput
from otel_finops.ledger.unpriced import Unpriced, UnpricedQuery, UnpricedTotals, unpriced_models, unpriced_totals
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

SECOND, HOUR = 10**9, 3600


def unknown(span: int, trace: int, model: str, **more: object) -> object:
    """A call of a model that no list has: 1,000 tokens in and 100 out."""
    return call(span, trace, request_model=model, price_models=(model,), **more)


@pytest.fixture
def rig(store: Store) -> Rig:
    """Three calls of house-a (two of acme, hours apart; one of globex), one of house-b, one without any name, one that has a price."""
    rig = Rig(store)
    rig.settle(
        unknown(1, 1, "house-a", attribution={"tenant": "acme"}),
        unknown(2, 2, "house-a", at_s=5 * HOUR + 7, attribution={"tenant": "acme"}),
        unknown(3, 3, "house-a", at_s=2 * HOUR, attribution={"tenant": "globex"}),
        unknown(4, 4, "house-b", at_s=HOUR, usage={"input_uncached": 9000, "output": 1}, attribution={"tenant": "globex"}),
        call(5, 5, request_model=None, price_models=(), attribution={"tenant": "acme"}),
        call(6, 6, attribution={"tenant": "acme"}),
    )
    return rig


def ask(rig: Rig, **query: object) -> list[Unpriced]:
    with rig.store.read() as transaction:
        return unpriced_models(transaction, UnpricedQuery(**{"tenants": None, **query}))  # type: ignore[arg-type]


def at(seconds: int) -> int:
    return NOON + seconds * SECOND


def test_each_model_and_reason_is_a_row(rig: Rig) -> None:
    assert ask(rig) == [
        Unpriced("openai", "house-a", "unknown_model", 3, 3300, at(0), at(5 * HOUR + 7)),
        Unpriced("openai", "house-b", "unknown_model", 1, 9001, at(HOUR), at(HOUR)),
        Unpriced("openai", None, "no_model", 1, 1100, at(0), at(0)),
    ]
    with rig.store.read() as transaction:
        assert unpriced_totals(transaction, UnpricedQuery(None)) == UnpricedTotals(3, 5, 13401)


def test_they_are_sorted_filtered_and_paged(rig: Rig) -> None:
    assert [one.model for one in ask(rig, order="tokens")] == ["house-b", "house-a", None]
    assert [one.model for one in ask(rig, order="last_seen")] == ["house-a", "house-b", None]
    assert [one.model for one in ask(rig, limit=1, offset=1)] == ["house-b"]
    assert [one.model for one in ask(rig, model="house-b")] == ["house-b"]
    assert [one.model for one in ask(rig, reason="no_model")] == [None]
    assert ask(rig, provider="anthropic") == []


def test_a_window_holds_whole_hours(rig: Rig) -> None:
    assert [(one.model, one.calls) for one in ask(rig, from_ns=at(HOUR + 60), to_ns=at(3 * HOUR))] == [("house-b", 1), ("house-a", 1)]
    with pytest.raises(BadInput, match="before"):
        ask(rig, from_ns=at(1), to_ns=at(0))


def test_the_tenants_of_the_principal_decide(rig: Rig) -> None:
    assert ask(rig, tenants=("globex",)) == [
        Unpriced("openai", "house-b", "unknown_model", 1, 9001, at(HOUR), at(HOUR)),
        Unpriced("openai", "house-a", "unknown_model", 1, 1100, at(2 * HOUR), at(2 * HOUR)),
    ]
    assert ask(rig, tenants=()) == []
    assert ask(rig, tenants=("nobody",)) == []


def test_what_was_taken_back_is_not_counted(rig: Rig) -> None:
    """A later version of the span names a model that has a price."""
    rig.settle(call(4, 4, at_s=HOUR, end_ns=at(HOUR + 9), attribution={"tenant": "globex"}))
    assert [(one.model, one.calls) for one in ask(rig)] == [("house-a", 3), (None, 1)]
