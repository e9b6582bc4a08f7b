"""OpenInference: attributes first, the provider's answer for the gaps."""

from __future__ import annotations

import json
from typing import Any

from span_making import sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL


def llm(**attributes: Any) -> dict[str, Any]:
    return {"openinference.span.kind": "LLM", "llm.provider": "openai"} | attributes


COUNTS = {"llm.token_count.prompt": 3517, "llm.token_count.completion": 419}


def test_the_answer_fills_tier_id_and_cache() -> None:
    answer = {
        "id": "chatcmpl-1",
        "service_tier": "priority",
        "usage": {"prompt_tokens": 3517, "completion_tokens": 419, "prompt_tokens_details": {"cached_tokens": 2304}},
    }
    seen = sighting(llm(**COUNTS, **{"llm.model_name": "gpt-4o-2024-08-06", "output.value": json.dumps(answer)}))
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}
    assert (seen.service_tier, seen.response_id, seen.usage_rule) == ("priority", "chatcmpl-1", "openinference.inclusive")


def test_attributes_win_over_the_answer() -> None:
    answer = {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}}
    attributes = llm(**COUNTS, **{"llm.token_count.prompt_details.cache_read": 2304, "output.value": json.dumps(answer)})
    assert sighting(attributes).usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}


def test_an_anthropic_answer_alone_is_read_as_exclusive() -> None:
    """1-hour writes, too: 87 beside 3072 and 4111."""
    usage = {"input_tokens": 87, "output_tokens": 223, "cache_creation_input_tokens": 7183, "cache_read_input_tokens": 0}
    usage["cache_creation"] = {"ephemeral_5m_input_tokens": 3072, "ephemeral_1h_input_tokens": 4111}  # type: ignore[assignment]
    seen = sighting(llm(**{"output.value": json.dumps({"usage": usage})}))
    assert seen.usage == {"input_uncached": 87, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223}


def test_an_answer_kept_as_the_representation_of_an_object_fills_gaps_too() -> None:
    raw = "ChatCompletion(id='chatcmpl-1', usage=CompletionUsage(prompt_tokens=3517, prompt_tokens_details=Details(cached_tokens=2304)))"
    answer = {"role": "assistant", "raw": raw, "token_usage": {"input_tokens": 3517, "output_tokens": 419}}
    seen = sighting(llm(**COUNTS, **{"output.value": json.dumps(answer)}))
    assert (seen.usage, seen.response_id) == ({"input_uncached": 1213, "cache_read": 2304, "output": 419}, "chatcmpl-1")


def test_only_calls_are_asked_for_their_answer() -> None:
    answer = json.dumps({"usage": {"prompt_tokens": 7, "completion_tokens": 9}})
    for kind in ("CHAIN", "AGENT", "TOOL", "RETRIEVER"):
        assert sighting({"openinference.span.kind": kind, "output.value": answer}).usage == {}


def test_an_answer_cut_behind_its_usage_is_still_good() -> None:
    cut = '{"usage": {"prompt_tokens": 7, "completion_tokens": 9}, "choices": [{"text": "and th'
    assert sighting(llm(**{"output.value": cut})).usage == {"input_uncached": 7, "output": 9}


def test_usage_spelled_out_in_a_message_is_not_believed() -> None:
    said = json.dumps({"choices": [{"message": {"content": '{"usage": {"prompt_tokens": 999999}}'}}]})
    assert sighting(llm(**{"output.value": said})).usage == {}


def test_the_first_convention_wins_and_they_are_never_added() -> None:
    both = llm(**COUNTS, **{"gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 9, "gen_ai.usage.cache_read.input_tokens": 5})
    assert sighting(both).usage == {"input_uncached": 3517, "output": 419}
    only_other = llm(**{"gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 8})
    assert sighting(only_other).usage == {"input_uncached": 9, "output": 8}


def test_kinds() -> None:
    assert sighting({"openinference.span.kind": "AGENT"}, name="helper.run").kind == AGENT
    assert sighting({"openinference.span.kind": "TOOL"}, name="get_weather").attribution == {"tool": "get_weather"}
    assert sighting({"openinference.span.kind": "TOOL"}).kind == TOOL
    assert sighting({"openinference.span.kind": "CHAIN"}).kind == OTHER
    assert sighting({"openinference.span.kind": "EMBEDDING", "embedding.model_name": "text-embedding-3-small"}).operation == "embeddings"


def test_llm_spans_that_call_nothing_are_no_calls() -> None:
    assert sighting({"openinference.span.kind": "LLM", "metadata": "{}"}, name="new_token").kind == OTHER
    assert sighting(llm(**{"llm.model_name": "gpt-4o"}), name="OpenAI._prepare_chat_with_tools").kind == OTHER
    assert sighting(llm(**{"llm.model_name": "gpt-4o"}), name="OpenAI.astream_chat").kind == CALL


def test_a_graph_node_is_an_agent_on_agent_spans_and_a_step_elsewhere() -> None:
    assert sighting({"openinference.span.kind": "AGENT", "graph.node.id": "Triage"}).attribution == {"agent": "Triage"}
    assert sighting({"openinference.span.kind": "AGENT"}, name="helper.run").attribution == {"agent": "helper"}
    assert sighting(llm(**{"graph.node.id": "plan"})).attribution == {"step": "plan"}


def test_metadata_names_agent_step_user_and_session() -> None:
    metadata = json.dumps({"lc_agent_name": "researcher", "langgraph_node": "model", "user_id": "u-7", "session_id": "s-9"})
    said = {"agent": "researcher", "step": "model", "user": "u-7", "session": "s-9"}
    assert sighting(llm(metadata=metadata)).attribution == said


def test_parameters_name_the_model_asked_for_and_the_endpoint() -> None:
    parameters = json.dumps({"model": "my-deployment", "stream": True, "base_url": "https://x.openai.azure.com/", "service_tier": "flex"})
    seen = sighting(llm(**{"llm.model_name": "gpt-4o-2024-08-06", "llm.invocation_parameters": parameters}))
    assert (seen.request_model, seen.response_model, seen.provider) == ("my-deployment", "gpt-4o-2024-08-06", "azure")
    assert (seen.streaming, seen.service_tier) == (True, "flex")


def test_on_bedrock_the_model_is_the_one_asked_for() -> None:
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    seen = sighting(llm(**COUNTS, **{"llm.provider": "aws", "llm.model_name": model}), scope="openinference.instrumentation.bedrock")
    assert (seen.provider, seen.request_model, seen.response_model) == ("bedrock", model, None)


def test_frameworks_rank_behind_clients() -> None:
    assert sighting(llm(), scope="@arizeai/openinference-instrumentation-langchain").rank == RANK_FRAMEWORK


def result(message: dict[str, Any], **more: Any) -> str:
    """LangChain's result with one message, as its JavaScript package writes it."""
    entry = {
        "text": "fine",
        "message": {"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", "AIMessage"], "kwargs": message},
    }
    return json.dumps({"generations": [[entry]], "llmOutput": {"tokenUsage": {"promptTokens": 5018, "completionTokens": 347}}} | more)


USAGE = {"input_tokens": 5018, "output_tokens": 347, "input_token_details": {"cache_read": 2111, "cache_creation": 2810}}
LIFETIMES = {
    "cache_creation_input_tokens": 2810,
    "cache_read_input_tokens": 2111,
    "cache_creation": {"ephemeral_5m_input_tokens": 1801, "ephemeral_1h_input_tokens": 1009},
}
SUMS = {
    "llm.token_count.prompt": 5018,
    "llm.token_count.completion": 347,
    "llm.token_count.prompt_details.cache_read": 2111,
    "llm.model_name": "claude-sonnet-4-5",
    "llm.invocation_parameters": '{"model": "claude-sonnet-4-5"}',
}
WHOLE = {"input_uncached": 97, "cache_read": 2111, "cache_write_5m": 1801, "cache_write_1h": 1009, "output": 347}


def test_langchains_message_in_javascript_has_cache_writes_model_and_id() -> None:
    """5018 - 2111 - 2810 = 97."""
    metadata = {"usage": {**LIFETIMES, "input_tokens": 97, "output_tokens": 347}, "model": "claude-sonnet-4-5-20250929"}
    answer = result({"id": "msg_4", "usage_metadata": USAGE, "response_metadata": metadata})
    seen = sighting(llm(**SUMS, **{"output.value": answer}))
    assert (seen.usage, seen.response_id, seen.response_model) == (WHOLE, "msg_4", "claude-sonnet-4-5-20250929")


def test_langchain_in_javascript_counts_the_first_token_of_anthropics_streams_twice() -> None:
    """Its first event states 1 token of output, its last all 347; what is left of the first has no output."""
    streamed = {**USAGE, "output_tokens": 348}
    message = {"id": "msg_4", "usage_metadata": streamed, "response_metadata": {"usage": LIFETIMES}}
    assert sighting(llm(**SUMS | {"llm.token_count.completion": 348}, **{"output.value": result(message)})).usage == WHOLE


def test_langchains_own_numbers_for_messages_are_no_answer_ids() -> None:
    assert sighting(llm(**SUMS, **{"output.value": result({"id": "run-019", "usage_metadata": USAGE})})).response_id is None


def test_several_messages_in_one_result_are_not_read() -> None:
    two = [[{"message": {"kwargs": {"usage_metadata": USAGE}}}], [{"message": {"kwargs": {"usage_metadata": USAGE}}}]]
    assert sighting(llm(**{"output.value": json.dumps({"generations": two})})).usage == {}


def test_an_input_equal_to_anthropics_own_leaves_the_cached_tokens_out() -> None:
    """60 read from the cache would fit into the 97."""
    usage = {"input_tokens": 97, "output_tokens": 347, "cache_read_input_tokens": 60}
    sums = {"llm.token_count.prompt": 97, "llm.token_count.completion": 347}
    assert sighting(llm(**sums, **{"output.value": json.dumps({"usage": usage})})).usage["input_uncached"] == 97


def test_a_node_of_a_graph_is_known_by_its_name() -> None:
    node = {"openinference.span.kind": "CHAIN", "metadata": json.dumps({"langgraph_node": "agent"})}
    assert sighting(node, name="agent").operation == "graph_node"
    assert sighting(node, name="RunnableSequence").operation is None
