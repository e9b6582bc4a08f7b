"""Haystack's own tracer: a component's output holds everything."""

from __future__ import annotations

import json
from typing import Any

from span_making import sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, TOOL, Sighting

OPENAI = {"prompt_tokens": 3517, "completion_tokens": 419, "total_tokens": 3936, "prompt_tokens_details": {"cached_tokens": 2304}}


def component(kind: str, output: dict[str, Any] | None = None) -> Sighting:
    attributes = {"haystack.component.name": "llm", "haystack.component.type": kind}
    if output is not None:
        attributes["haystack.component.output"] = json.dumps(output)
    return sighting(attributes, scope="my_application", name="haystack.component.run", kind=1)


def reply(model: str, **usage: Any) -> dict[str, Any]:
    return {"replies": [{"role": "assistant", "meta": {"model": model, "finish_reason": "stop", "usage": usage}, "content": []}]}


def test_a_chat_generators_first_reply_has_the_usage_of_the_call() -> None:
    twice = {"replies": reply("gpt-4o-2024-08-06", **OPENAI)["replies"] * 2}
    seen = component("OpenAIChatGenerator", twice)
    assert (seen.kind, seen.dialect, seen.operation, seen.provider) == (CALL, "haystack", "chat", "openai")
    assert (seen.response_model, seen.attribution) == ("gpt-4o-2024-08-06", {"step": "llm"})
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}


def test_text_generators_and_embedders_keep_it_beside_the_answer() -> None:
    text = component(
        "OpenAIGenerator", {"replies": ["fine"], "meta": [{"model": "gpt-4o", "usage": {"prompt_tokens": 7, "completion_tokens": 9}}]}
    )
    assert text.usage == {"input_uncached": 7, "output": 9}
    meta = {"model": "text-embedding-3-small", "usage": {"prompt_tokens": 239, "total_tokens": 239}}
    for kind, output in (("OpenAITextEmbedder", {"embedding": [0.1]}), ("OpenAIDocumentEmbedder", {"documents": []})):
        seen = component(kind, output | {"meta": meta})
        assert (seen.operation, seen.request_model, seen.usage) == ("embeddings", "text-embedding-3-small", {"input_uncached": 239})


def test_anthropics_prompt_includes_the_cache() -> None:
    """87 beside 3072 for five minutes and 4111 for an hour: 7270."""
    usage = {
        "prompt_tokens": 7270, "completion_tokens": 223, "cache_creation_input_tokens": 7183, "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 3072, "ephemeral_1h_input_tokens": 4111}, "service_tier": "standard",
    }  # fmt: skip
    seen = component("AnthropicChatGenerator", reply("claude-sonnet-4-5-20250929", **usage))
    assert seen.usage == {"input_uncached": 87, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223}


def test_bedrocks_prompt_leaves_it_out_which_the_total_shows() -> None:
    """4000 + 100 read + 50 written + 70 out = 4220: the cached ones are the smaller part, so only the total can tell."""
    usage = {
        "prompt_tokens": 4000, "completion_tokens": 70, "total_tokens": 4220, "cache_read_input_tokens": 100,
        "cache_write_input_tokens": 50,
    }  # fmt: skip
    seen = component("AmazonBedrockChatGenerator", reply("us.amazon.nova-pro-v1:0", **usage))
    assert (seen.provider, seen.request_model, seen.usage_rule) == ("bedrock", "us.amazon.nova-pro-v1:0", "haystack.exclusive_by_total")
    assert seen.usage == {"input_uncached": 4000, "cache_read": 100, "cache_write_5m": 50, "output": 70}


def test_googles_thoughts_are_beside_the_completion() -> None:
    usage = {"prompt_tokens": 4177, "completion_tokens": 382, "total_tokens": 4720, "thoughts_token_count": 161}
    seen = component("GoogleGenAIChatGenerator", reply("gemini-2.5-pro", **usage))
    assert (seen.provider, seen.usage["output"]) == ("gemini", 543)


def test_an_agents_steps_are_calls_and_its_component_names_it() -> None:
    step = {"haystack.agent.step.llm.output": json.dumps(reply("gpt-4o", **OPENAI))}
    seen = sighting(step, scope="app", name="haystack.agent.step.llm", kind=1)
    assert (seen.kind, seen.usage["output"]) == (CALL, 419)
    agent = component("Agent", {"messages": reply("gpt-4o", **OPENAI)["replies"]})
    assert (agent.kind, agent.usage, agent.attribution) == (AGENT, {}, {"agent": "llm"})
    assert sighting({"haystack.agent.max_steps": 9}, scope="app", name="haystack.agent.run").kind == AGENT
    tool = sighting({"haystack.tool.name": "get_weather"}, scope="app", name="haystack.agent.step.tool")
    assert (tool.kind, tool.attribution) == (TOOL, {"tool": "get_weather"})


def test_without_content_tracing_a_generator_is_a_call_of_which_nothing_is_known() -> None:
    seen = component("OpenAIChatGenerator")
    assert (seen.kind, seen.provider, seen.usage, seen.missing_reason) == (CALL, "openai", {}, "no_usage")
    assert component("PromptBuilder").kind == OTHER
    assert component("FallbackChatGenerator").kind == OTHER


def test_a_cut_output_keeps_what_stands_before_the_cut() -> None:
    output = json.dumps(reply("gpt-4o", **OPENAI))[:-20]
    seen = sighting(
        {"haystack.component.type": "OpenAIChatGenerator", "haystack.component.output": output}, scope="app", name="haystack.component.run"
    )
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}
