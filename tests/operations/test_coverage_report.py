"""The coverage report over recorded spans of real libraries, and the advice for each cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_finops.app import open_core
from otel_finops.base.protocols import Credential, ExportRequest
from otel_finops.genai.sighting import RANK_CLIENT, RANK_FRAMEWORK
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.ledger.coverage import Covered, Lack
from otel_finops.operations.advice import ADVICE, advice_on
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.coverage import CoverageQuery
from otel_finops.operations.local import open_room
from otel_finops.operations.registry import invoke
from otel_finops.pricing import engine
from otel_finops.settings import load
from otel_finops.trees.notes import UNPRICED


def report(folder: Path, corpus: Path, *cases: str, principal: Principal = LOCAL, **query: Any) -> dict[str, Any]:
    """The report on a ledger that holds these recorded cases."""
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{folder / 'ledger.db'}"})
    with open_core(settings, "test") as core:
        for case in cases:
            for path in sorted((corpus / case).glob("request-*.binpb")):
                core.pipeline(ExportRequest(path.read_bytes(), "protobuf", Credential()))
        core.settler.settle_all()
    with open_room(settings) as room:
        answer = invoke(OPERATIONS.named("coverage.report"), room.context, principal, CoverageQuery(**query), origin="test")
    OPERATIONS.named("coverage.report").output.model_validate(answer, strict=True)
    return dict(answer)


def test_a_stream_without_usage_is_told_with_what_to_do(tmp_path: Path, corpus: Path) -> None:
    """Two streamed calls, one asked for usage and one did not; both are seen, one has no price."""
    answer = report(tmp_path, corpus, "otel-genai__openai-stream")
    [group] = answer["groups"]
    assert group["scope"] == "opentelemetry.instrumentation.genai.openai"
    assert (group["calls"], group["unpriced_calls"], group["unpriced"], group["unpriced_share"]) == (2, 1, {"no_usage_stream": 1}, 0.5)
    [advice] = group["advice"]
    assert (advice["cause"], advice["calls"]) == ("stream_usage", 1)
    assert "include_usage" in advice["advice"]
    assert (answer["calls"], answer["unpriced_calls"], answer["complete"]) == (2, 1, True)


def test_agents_without_calls_are_told_to_turn_on_the_client(tmp_path: Path, corpus: Path) -> None:
    """Traced by the agents package alone, three calls are not seen at all; with the client package beside it, all three are priced."""
    alone = report(tmp_path, corpus, "otel-genai__openai-agents-handoff")
    [group] = alone["groups"]
    assert (alone["calls"], group["traces_without_calls"], [one["cause"] for one in group["advice"]]) == (0, 1, ["no_calls"])
    (tmp_path / "both").mkdir()
    both = report(tmp_path / "both", corpus, "otel-genai__openai-agents+client-handoff")
    assert (both["calls"], both["unpriced_calls"]) == (3, 0)


def test_twins_are_shown_as_merged(tmp_path: Path, corpus: Path) -> None:
    """Each of three calls is seen twice, by the vendor's SDK and by an instrumentation."""
    answer = report(tmp_path, corpus, "double-openinference+anthropic-native__parallel-twins")
    assert answer["calls"] == 3
    assert sum(group["duplicates"] for group in answer["groups"]) == 3


def test_a_principal_sees_its_own_tenants(tmp_path: Path, corpus: Path) -> None:
    stranger = LOCAL._replace(tenants=("nobody",))
    assert report(tmp_path, corpus, "otel-genai__openai-stream", principal=stranger)["groups"] == []


# --- advice ----------------------------------------------------------------------------------------------------------


def causes(*lacks: Lack) -> dict[str, int]:
    covered = Covered()
    covered.unpriced.update(lacks)
    return {one.cause: one.calls for one in advice_on(covered, 5)}


@pytest.mark.parametrize(
    ("lack", "cause"),
    [
        (Lack("no_usage_stream", False, RANK_CLIENT), "stream_usage"),
        (Lack("no_usage", False, RANK_FRAMEWORK), "client_instrumentation"),
        (Lack("no_usage", False, RANK_CLIENT), "no_counts"),
        (Lack("no_usage", False, None), "no_counts"),
        (Lack("no_usage_timeout", True, RANK_CLIENT), "timeouts"),  # nothing was answered, so nothing was dropped
        (Lack("bad_usage", False, RANK_CLIENT), "bad_counts"),
        (Lack("unknown_model", True, RANK_CLIENT), "map_model"),
        (Lack("no_model", False, RANK_CLIENT), "name_model"),
        (Lack("no_provider", False, RANK_CLIENT), "name_provider"),
        (Lack("missing_rate", False, RANK_CLIENT), "add_rate"),
    ],
)
def test_each_lack_has_its_advice(lack: Lack, cause: str) -> None:
    assert causes(lack) == {cause: 1}


@pytest.mark.parametrize("reason", ["no_usage", "no_usage_stream", "no_model", "no_provider"])
def test_dropped_attributes_explain_what_is_missing(reason: str) -> None:
    """Node keeps the first 128 attributes of a span, so that the counts of long chats are lost while their messages are kept."""
    assert causes(Lack(reason, True, RANK_FRAMEWORK)) == {"attribute_limit": 1}


def test_guesses_and_broken_streams_are_advised_on_too() -> None:
    covered = Covered()
    covered.estimated, covered.partial = 2, 3
    assert [(one.cause, one.calls) for one in advice_on(covered, 5)] == [("incomplete", 3), ("estimates", 2)]


def test_the_models_with_most_calls_are_named() -> None:
    covered = Covered()
    for model, calls in (("a", 1), ("b", 3), ("c", 2)):
        for _ in range(calls):
            covered._lacks(Lack("unknown_model", False, RANK_CLIENT), model)
    [advice] = advice_on(covered, 2)
    assert (advice.calls, advice.models) == (6, ("b", "c"))


def test_every_reason_that_a_price_can_be_missing_for_is_covered() -> None:
    assert {next(iter(causes(Lack(reason, False, None)))) for reason in UNPRICED} <= set(ADVICE)
    assert {engine.UNKNOWN_MODEL, engine.NO_MODEL, engine.NO_PROVIDER, engine.MISSING_RATE} <= set(UNPRICED)
