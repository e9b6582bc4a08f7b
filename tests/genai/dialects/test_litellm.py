"""LiteLLM's own spans: its generations, the alias and what was called behind it, cached answers, failures, and the proxy's other spans."""

from __future__ import annotations

from typing import Any

import pytest
from span_making import sighting

from otel_finops.genai.sighting import CALL, OTHER, RANK_GATEWAY, Sighting

CLAUDE_USAGE = (
    "{'completion_tokens': 223, 'prompt_tokens': 7270, 'total_tokens': 7493, 'completion_tokens_details': {'reasoning_tokens': 0},"
    " 'prompt_tokens_details': {'audio_tokens': None, 'cache_write_tokens': 7183, 'cached_tokens': 0, 'text_tokens': 87,"
    " 'cache_creation_tokens': 7183, 'cache_creation_token_details': {'ephemeral_5m_input_tokens': 3072,"
    " 'ephemeral_1h_input_tokens': 4111}}, 'cache_creation_input_tokens': 7183, 'cache_read_input_tokens': 0, 'inference_geo': None,"
    " 'speed': None, 'service_tier': 'standard'}"
)
GPT_USAGE = (
    "{'completion_tokens': 419, 'prompt_tokens': 3517, 'total_tokens': 3936, 'completion_tokens_details': {'reasoning_tokens': 0},"
    " 'prompt_tokens_details': {'audio_tokens': 0, 'cached_tokens': 2304}}"
)


def litellm(attributes: dict[str, Any], **more: Any) -> Sighting:
    return sighting(attributes, scope="litellm", **more)


def request(**changed: Any) -> dict[str, Any]:
    """A chat as the callback writes it by default; names with `__` for dots."""
    base = {
        "metadata.usage_object": GPT_USAGE, "hidden_params": '{"model_id": null, "cache_key": null, "api_base": "http://10.0.0.9/v1"}',
        "litellm.provider.model": "openai/gpt-4o", "gen_ai.cost.total_cost": 0.0101025, "gen_ai.request.model": "gpt-4o",
        "llm.request.type": "acompletion", "gen_ai.system": "openai", "llm.is_streaming": "False", "gen_ai.response.id": "chatcmpl-0000",
        "litellm.call_id": "9c54635a-b064", "gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.usage.total_tokens": 3936,
        "gen_ai.usage.output_tokens": 419, "gen_ai.usage.input_tokens": 3517, "gen_ai.operation.name": "acompletion",
        "gen_ai.response.finish_reasons": '["stop"]',
    }  # fmt: skip
    return base | {name.replace("__", "."): value for name, value in changed.items()}


def test_the_cache_split_stands_in_a_python_literal() -> None:
    seen = litellm(request())
    assert (seen.kind, seen.dialect, seen.rank, seen.operation, seen.provider) == (CALL, "litellm", RANK_GATEWAY, "chat", "openai")
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}
    assert (seen.usage_rule, seen.streaming, seen.response_id) == ("litellm.inclusive", False, "chatcmpl-0000")
    assert (seen.reported_pico, seen.reported_source) == (10_102_500_000, "gen_ai.cost.total_cost")


def test_cache_lifetimes_stand_inside_of_the_prompts_details() -> None:
    seen = litellm(request(
        metadata__usage_object=CLAUDE_USAGE, gen_ai__usage__input_tokens=7270, gen_ai__usage__output_tokens=223,
        gen_ai__usage__total_tokens=7493, gen_ai__system="anthropic", litellm__provider__model="anthropic/claude-sonnet-4-5",
        gen_ai__request__model="claude-sonnet-4-5", gen_ai__response__model="claude-sonnet-4-5-20250929",
        gen_ai__openai__response__service_tier="standard",
    ))  # fmt: skip
    assert seen.usage == {"input_uncached": 87, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223}
    assert (seen.provider, seen.service_tier) == ("anthropic", None)
    assert seen.price_models == ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5")


def test_embeddings_name_no_provider_but_the_route_that_was_called_does_and_their_id_is_made_up() -> None:
    seen = litellm(request(
        gen_ai__system="", llm__request__type="aembedding", gen_ai__operation__name="aembedding",
        litellm__provider__model="openai/text-embedding-3-small", gen_ai__request__model="text-embedding-3-small",
        gen_ai__response__model="embed", litellm__model_group="embed", gen_ai__response__id="9c54635a-b064",
        metadata__usage_object="{'completion_tokens': 0, 'prompt_tokens': 233, 'total_tokens': 233, 'prompt_tokens_details': None}",
        gen_ai__usage__input_tokens=233, gen_ai__usage__output_tokens=0, gen_ai__usage__total_tokens=233,
    ))  # fmt: skip
    assert (seen.provider, seen.operation, seen.usage) == ("openai", "embeddings", {"input_uncached": 233})
    assert (seen.response_id, seen.response_model) == (None, None)
    assert seen.price_models == ("text-embedding-3-small",)


def test_an_answer_that_repeats_the_alias_names_no_model() -> None:
    seen = litellm(request(gen_ai__response__model="small", litellm__model_group="small", litellm__provider__model="openai/gpt-4o"))
    assert (seen.request_model, seen.response_model, seen.price_models) == ("gpt-4o", None, ("gpt-4o",))


def test_where_the_customer_names_the_model_the_alias_says_more() -> None:
    seen = litellm(request(
        gen_ai__system="azure", litellm__provider__model="azure/my-prod-deployment", gen_ai__request__model="my-prod-deployment",
        gen_ai__response__model="gpt-4o", litellm__model_group="gpt-4o",
    ))  # fmt: skip
    assert (seen.provider, seen.price_models) == ("azure", ("gpt-4o", "my-prod-deployment"))


def test_the_host_that_was_called_stands_among_the_hidden_parameters() -> None:
    seen = litellm(request(hidden_params='{"cache_key": null, "api_base": "https://api.deepseek.com/v1"}'))
    assert seen.provider == "deepseek"


def test_the_conventions_opt_in_and_the_older_names_are_read_too() -> None:
    opted = request(gen_ai__provider__name="openai", gen_ai__operation__name="chat")
    del opted["gen_ai.system"]
    assert litellm(opted).usage == litellm(request()).usage
    old = {
        "gen_ai.request.model": "gpt-4o", "llm.request.type": "completion", "gen_ai.system": "openai", "llm.is_streaming": "True",
        "gen_ai.usage.prompt_tokens": 3517, "gen_ai.usage.completion_tokens": 419, "llm.usage.total_tokens": 3936,
        "metadata.user_api_key_hash": "88dc",
    }  # fmt: skip
    seen = litellm(old)
    assert (seen.kind, seen.operation, seen.usage, seen.streaming) == (CALL, "chat", {"input_uncached": 3517, "output": 419}, True)


def second_generation(**changed: Any) -> dict[str, Any]:
    """A chat as `LITELLM_OTEL_V2` writes it."""
    base = {
        "litellm.api_key.hash": "88dc", "litellm.metadata.user_api_key_end_user_id": "user-7", "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "backup", "gen_ai.response.model": "backup",
        "gen_ai.response.id": "chatcmpl-f9e2", "gen_ai.usage.input_tokens": 411, "gen_ai.usage.output_tokens": 54,
        "gen_ai.usage.cache_creation.input_tokens": 304, "gen_ai.usage.cache_read.input_tokens": 20, "litellm.call_id": "6c04",
        "litellm.call_type": "acompletion", "litellm.provider.model": "anthropic/claude-sonnet-4-5", "litellm.cost.total": 0.002676,
        "gen_ai.system": "anthropic", "gen_ai.usage.prompt_tokens": 411, "gen_ai.usage.completion_tokens": 54,
    }  # fmt: skip
    return base | {name.replace("__", "."): value for name, value in changed.items()}


def test_the_second_generation_names_the_alias_and_what_was_called_apart() -> None:
    seen = litellm(second_generation())
    assert seen.usage == {"input_uncached": 87, "cache_read": 20, "cache_write_5m": 304, "output": 54}
    assert (seen.request_model, seen.response_model, seen.price_models) == ("claude-sonnet-4-5", None, ("claude-sonnet-4-5",))
    assert (seen.reported_pico, seen.reported_source) == (2_676_000_000, "litellm.cost.total")
    assert seen.attribution["user"] == "user-7"


@pytest.mark.parametrize("name", ["route small", "cache.get llm_response", "fastapi.dependencies"])
def test_spans_that_only_bear_the_requests_identity_are_no_calls(name: str) -> None:
    attributes = {"litellm.api_key.hash": "88dc", "gen_ai.request.model": "small", "litellm.metadata.user_api_key_user_id": "u"}
    assert sighting(attributes, scope="fastapi", name=name, kind=1).kind == OTHER


def test_the_child_that_repeats_a_call_as_text_is_no_sighting_of_it() -> None:
    raw = litellm({"llm.openai.usage": GPT_USAGE, "llm.openai.model": "gpt-4o", "metadata.user_api_key_team_id": "t"}, kind=1)
    assert (raw.genai, raw.usage) == (False, {})


@pytest.mark.parametrize(
    "mark",
    [
        {"hidden_params": '{"model_id": null, "cache_key": "209a256b2bac"}'},
        {"hidden_params": '{"cache_hit": true}'},
        {"metadata.cache_hit": "True"},
        {"litellm.cache_hit": True},
        {"gen_ai.response.id": "60e8d44a-da73_cache_hit1795308494.92"},
    ],
)
def test_marks_of_an_answer_from_the_gateways_cache(mark: dict[str, Any]) -> None:
    assert litellm(request() | mark).from_cache is True
    assert litellm(request()).from_cache is False


def test_an_id_made_up_for_a_cached_answer_is_none() -> None:
    assert litellm(request(gen_ai__response__id="60e8d44a-da73_cache_hit1795308494.92")).response_id is None


def failed(error: str, status: int) -> Sighting:
    attributes = request(
        metadata__usage_object="{}", gen_ai__response__id="9c54635a-b064", error__type=error, http__response__status_code=status
    )
    for name in ("gen_ai.usage.total_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.input_tokens", "gen_ai.response.model"):
        del attributes[name]
    return litellm(attributes, is_error=True)


def test_a_failed_attempt_has_a_made_up_id_and_costs_nothing() -> None:
    seen = failed("RateLimitError", 429)
    assert (seen.kind, seen.response_id, seen.usage, seen.missing_reason) == (CALL, None, {}, None)
    assert seen.error_type == "RateLimitError"


def test_the_status_of_a_time_out_is_made_up_and_the_provider_may_bill() -> None:
    assert failed("Timeout", 408).missing_reason == "no_usage_timeout"


def test_who_a_key_belongs_to() -> None:
    seen = litellm(request(
        metadata__user_api_key_end_user_id="user-7", metadata__user_api_key_user_id="owner", metadata__user_api_key_team_id="t-1",
        metadata__user_api_key_team_alias="search",
    ))  # fmt: skip
    assert seen.attribution == {"user": "user-7", "cost_center": "search"}
    assert litellm(request(metadata__user_api_key_user_id="owner")).attribution == {"user": "owner"}
    assert litellm(request(metadata__user_api_key_user_id="default_user_id")).attribution == {}
