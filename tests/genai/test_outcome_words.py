"""How spans tell how work came out."""

from __future__ import annotations

import pytest

from otel_finops.base.protocols import Credential
from otel_finops.base.span import Span
from otel_finops.genai.dialect_loading import load_dialects
from otel_finops.genai.normalise import Normaliser
from otel_finops.genai.sighting import SaidOutcome, Sighting
from otel_finops.ledger.codec import content_hash, decode, encode
from otel_finops.settings.outcomes import Outcomes

ANYBODY = Credential()


def sighted(attributes: dict[str, object], settings: Outcomes | None = None) -> Sighting:
    span = Span(b"t" * 16, b"s" * 8, None, "work", 1, 1, 2, False, None, attributes, {}, "app", "")  # type: ignore[arg-type]
    return Normaliser(load_dialects(), outcomes=settings)(span, ANYBODY)


@pytest.mark.parametrize(
    ("value", "success"),
    [
        ("success", True),
        ("Resolved", True),
        (True, True),
        ("FAILED", False),
        (False, False),
        ("un-resolved ", None),
        ("maybe", None),
        (7, None),
    ],
)
def test_words(value: object, success: bool | None) -> None:
    said = sighted({"finops.outcome": value}).outcome
    assert (None if said is None else said.success) is success


def test_the_kind_of_outcome_is_named() -> None:
    assert sighted({"finops.outcome": "ok", "finops.outcome.name": "ticket_resolved"}).outcome == SaidOutcome(True, "ticket_resolved")
    assert sighted({"finops.outcome": "ok"}).outcome == SaidOutcome(True, "task")
    assert sighted({"finops.outcome.name": "ticket_resolved"}).outcome is None


def test_keys_and_words_of_ones_own() -> None:
    settings = Outcomes(keys=("app.result", "finops.outcome"), name_keys=("app.what",), success=("Sold",), failure=("Walked away",))
    assert sighted({"app.result": "sold", "app.what": "order"}, settings).outcome == SaidOutcome(True, "order")
    assert sighted({"app.result": "walked-away"}, settings).outcome == SaidOutcome(False, "task")
    assert sighted({"app.result": "who knows", "finops.outcome": "sold"}, settings).outcome == SaidOutcome(True, "task")


def test_calls_and_agents_tell_it_too() -> None:
    attributes: dict[str, object] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support", "finops.outcome": "failed"}
    found = sighted(attributes)
    assert (found.kind, found.outcome) == ("agent", SaidOutcome(False, "task"))


def test_it_is_kept_with_the_span_and_changes_no_hash() -> None:
    """A span that was journalled before outcomes were read is the same span."""
    told, silent = sighted({"finops.outcome": "ok"}), sighted({})
    assert content_hash(told) == content_hash(silent)
    assert decode(encode(told, None), told.realm, told.trace_id, told.span_id) == told
    assert decode(encode(silent, None), told.realm, told.trace_id, told.span_id) == silent
