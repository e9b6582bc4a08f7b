"""From spans to sightings: skeletons, calls, attribution, and what must never happen."""

from __future__ import annotations

import math
from typing import Any

import pytest
from genai_corpus import normaliser
from span_making import chat, sighting, span

from otel_finops.base.limits import SHAPES_MAX
from otel_finops.base.protocols import Credential
from otel_finops.base.span import SpanLink
from otel_finops.genai.attribution_keys import AttributionSettings
from otel_finops.genai.dialect_loading import load_dialects
from otel_finops.genai.normalise import Normaliser
from otel_finops.genai.sighting import AGENT, CALL, OTHER, TOOL, WORKFLOW

PLAIN = {"usage__input_tokens": 100, "usage__output_tokens": 10}


def test_a_span_without_genai_is_a_skeleton() -> None:
    link = SpanLink(bytes.fromhex("11" * 16), bytes.fromhex("22" * 8))
    seen = sighting({"tenant.id": "acme", "user.id": "u-7"}, name="POST /chat", kind=2, links=(link,), dropped_attributes=3)
    assert (seen.kind, seen.genai, seen.dialect, seen.usage, seen.missing_reason) == (OTHER, False, None, {}, None)
    assert (seen.trace_id, seen.span_id, seen.parent_span_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", None)
    assert seen.links == (("11" * 16, "22" * 8),)
    assert seen.attribution == {"tenant": "acme", "user": "u-7"}
    assert seen.dropped_attributes == 3


def test_names_that_applications_copy_onto_every_span_make_no_genai_span() -> None:
    seen = sighting({"gen_ai.agent.name": "helper", "gen_ai.conversation.id": "c-1"}, name="GET", kind=3)
    assert not seen.genai
    assert seen.attribution == {"agent": "helper", "session": "c-1"}


def test_a_chat_is_a_call_with_disjoint_usage() -> None:
    seen = sighting(chat(response__model="gpt-4o-2024-08-06", usage__input_tokens="3517", usage__output_tokens=419.0) | {
        "gen_ai.usage.cache_read.input_tokens": 2304, "gen_ai.response.id": "chatcmpl-1"
    })  # fmt: skip
    assert (seen.kind, seen.genai, seen.dialect, seen.operation, seen.provider) == (CALL, True, "semconv", "chat", "openai")
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}
    assert (seen.usage_source, seen.usage_rule, seen.missing_reason) == ("reported", "semconv.inclusive", None)
    assert seen.price_models == ("gpt-4o-2024-08-06", "gpt-4o")
    assert seen.response_id == "chatcmpl-1"


@pytest.mark.parametrize("bad", [True, -1, 1.5, math.nan, math.inf, 10**12, (7,), {"a": 1}, "many"])
def test_a_bad_count_charges_nothing_and_says_so(bad: Any) -> None:
    seen = sighting(chat(usage__input_tokens=100, usage__output_tokens=bad))
    assert (seen.kind, seen.usage, seen.usage_source, seen.missing_reason) == (CALL, {}, "missing", "bad_usage")


def test_a_bad_total_is_only_a_lost_hint() -> None:
    assert sighting(chat(**PLAIN, usage__total_tokens=math.nan)).usage == {"input_uncached": 100, "output": 10}


def test_zero_counts_are_no_usage() -> None:
    assert sighting(chat(usage__input_tokens=0, usage__output_tokens=0, request__stream=True)).missing_reason == "no_usage_stream"


def test_an_id_of_digits_is_none() -> None:
    assert sighting(chat(response__id="1795291771")).response_id is None


def test_the_providers_error_answer_has_an_error_and_no_reason() -> None:
    seen = sighting(chat() | {"error.type": "openai.RateLimitError"}, is_error=True)
    assert (seen.kind, seen.usage, seen.error_type, seen.missing_reason) == (CALL, {}, "openai.RateLimitError", None)


def test_errors_with_usage_keep_it() -> None:
    assert sighting(chat(**PLAIN) | {"error.type": "x.ParseError"}, is_error=True).usage == {"input_uncached": 100, "output": 10}


def test_the_tier_served_wins_and_list_price_tiers_are_none() -> None:
    asked = {"openai.request.service_tier": "priority"}
    assert sighting(chat(**PLAIN) | asked).service_tier == "priority"
    assert sighting(chat(**PLAIN) | asked | {"openai.response.service_tier": "default"}).service_tier is None
    assert sighting(chat(**PLAIN) | {"openai.response.service_tier": "Flex"}).service_tier == "flex"


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("invoke_agent", AGENT),
        ("invoke_workflow", WORKFLOW),
        ("execute_tool", TOOL),
        ("agent_step", OTHER),
        ("retrieval", OTHER),
        ("chat", CALL),
    ],
)
def test_the_operation_says_what_a_span_is_even_with_usage(operation: str, kind: str) -> None:
    seen = sighting(chat(operation__name=operation, **PLAIN))
    assert (seen.kind, seen.usage) == (kind, {"input_uncached": 100, "output": 10})


def test_usage_without_an_operation_is_a_call() -> None:
    assert sighting({"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 5}, kind=1).kind == CALL


def test_a_reported_cost_is_kept_beside_and_zero_is_ignored() -> None:
    seen = sighting(chat(**PLAIN, usage__cost=0) | {"operation.cost": 0.039792})
    assert (seen.reported_pico, seen.reported_source) == (39_792_000_000, "operation.cost")
    assert sighting(chat(**PLAIN, usage__cost=0)).reported_pico is None


def test_a_region_is_read_off_an_arn() -> None:
    arn = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc"
    seen = sighting(chat(provider__name="aws.bedrock", request__model=arn, **PLAIN) | {"cloud.region": "us-east-1"})
    assert (seen.provider, seen.region, seen.region_kind, seen.price_models) == ("bedrock", "eu-central-1", "bedrock_region", (arn,))


def test_the_span_speaks_for_itself_and_the_resource_is_weaker() -> None:
    resource = {"service.name": "shop", "deployment.environment.name": "prod", "team": "growth", "tenant.id": "house", "session.id": "s-1"}
    seen = sighting({"tenant.id": "acme", "finops.purpose": "support", "finops.step": "triage"}, resource=resource)
    assert seen.attribution == {"tenant": "acme", "purpose": "support", "step": "triage"}
    assert seen.defaults == {"service": "shop", "environment": "prod", "cost_center": "growth", "tenant": "house", "session": "s-1"}


def test_prefixed_baggage_beats_the_resource_and_not_the_span() -> None:
    seen = sighting({"baggage.tenant.id": "acme", "baggage.user.id": "u-7"}, resource={"tenant.id": "house"})
    assert seen.attribution == {}
    assert seen.defaults == {"tenant": "acme", "user": "u-7"}


def test_a_credential_of_one_tenant_forces_it_everywhere() -> None:
    own = Credential(realm="acme", tenants=("acme",))
    seen = sighting({"tenant.id": "globex"}, credential=own, resource={"tenant": "initech"})
    assert (seen.realm, seen.attribution["tenant"], seen.defaults["tenant"]) == ("acme", "acme", "acme")


def test_a_span_cannot_name_a_tenant_that_its_credential_does_not_cover() -> None:
    several = Credential(tenants=("acme", "globex"))
    assert sighting({"tenant.id": "globex"}, credential=several).attribution["tenant"] == "globex"
    assert sighting({"tenant.id": "initech"}, credential=several).attribution["tenant"] == "default"
    assert sighting({}, credential=several).defaults["tenant"] == "default"


def test_the_same_resource_under_another_credential_is_read_again() -> None:
    normalise, one = normaliser(), span({}, resource={"tenant": "acme"})
    assert normalise(one, Credential()).defaults["tenant"] == "acme"
    assert normalise(one, Credential(realm="globex", tenants=("globex",))).defaults["tenant"] == "globex"


def test_agents_are_named_by_span_names_at_last() -> None:
    assert sighting({"gen_ai.operation.name": "invoke_agent"}, name="invoke_agent Refund Expert").attribution == {"agent": "Refund Expert"}
    assert sighting({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.id": "a-1"}, name="x").attribution == {"agent": "a-1"}


def test_keys_can_be_remapped_and_tags_allowed() -> None:
    settings = AttributionSettings(keys={"tenant": ("org",), "service": ("app.name",)}, tags=("release", "squad"))
    normalise = Normaliser(load_dialects(), settings)
    made = span({"org": "acme", "tenant.id": "globex", "release": "1.2", "secret": "x"}, resource={"app.name": "till", "squad": "red"})
    assert {"org", "app.name", "release", "squad"} <= normalise.wanted.exact
    seen = normalise(made, Credential())
    assert seen.attribution["tenant"] == "acme"
    assert seen.defaults["service"] == "till"
    assert seen.tags == {"release": "1.2", "squad": "red"}


def test_content_is_not_wanted() -> None:
    wanted = normaliser().wanted
    assert wanted.prefixes == ()
    for key in ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.prompt", "input.value", "llm.input_messages.0.message.content"):
        assert key not in wanted.exact


def test_more_shapes_than_remembered_are_still_read_rightly() -> None:
    normalise = Normaliser(load_dialects())
    for number in range(SHAPES_MAX + 10):
        assert normalise(span(chat(**PLAIN), scope=f"scope-{number}"), Credential()).usage == {"input_uncached": 100, "output": 10}
    assert len(normalise._shapes) <= SHAPES_MAX


def test_long_names_are_cut() -> None:
    seen = sighting(chat(request__model="m" * 5000), name="n" * 5000, scope="s" * 5000)
    assert max(len(seen.name), len(seen.scope), len(seen.request_model or "")) == 256


def test_a_model_span_that_lost_its_counts_to_an_attribute_limit_is_a_call_without_usage() -> None:
    """Node keeps the first 128 attributes of a span: a long chat's messages push the counts out."""
    seen = sighting(chat(), dropped_attributes=37)
    assert (seen.kind, seen.usage_source, seen.missing_reason, seen.dropped_attributes) == ("call", "missing", "no_usage", 37)
