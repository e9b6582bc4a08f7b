"""OpenLLMetry: the conventions' keys, old and new, with traceloop's around them."""

from __future__ import annotations

from typing import Any

from span_making import chat, sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, TOOL, WORKFLOW

PROPERTIES = "traceloop.association.properties."


def entity(kind: str, name: str, **attributes: Any) -> dict[str, Any]:
    return {"traceloop.span.kind": kind, "traceloop.entity.name": name, **attributes}


def test_old_keys_are_read() -> None:
    seen = sighting({
        "gen_ai.system": "Anthropic", "llm.request.type": "completion", "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.usage.prompt_tokens": 7270, "gen_ai.usage.completion_tokens": 223, "llm.usage.total_tokens": 7493,
        "gen_ai.usage.cache_creation_input_tokens": 7183,
    })  # fmt: skip
    assert (seen.kind, seen.dialect, seen.provider, seen.operation) == (CALL, "openllmetry", "anthropic", "text_completion")
    assert seen.usage == {"input_uncached": 87, "cache_write_5m": 7183, "output": 223}


def test_counts_as_floats_are_read() -> None:
    seen = sighting(
        {"gen_ai.system": "Cohere", "llm.request.type": "chat", "gen_ai.usage.prompt_tokens": 12.0, "gen_ai.usage.completion_tokens": 3.0}
    )
    assert (seen.provider, seen.usage) == ("cohere", {"input_uncached": 12, "output": 3})


def test_its_bedrock_scope_leaves_cached_tokens_out_and_its_other_scopes_do_not() -> None:
    counts = {"gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": 5, "gen_ai.usage.cache_read.input_tokens": 100}
    bedrock = sighting(chat(provider__name="aws.bedrock") | counts, scope="opentelemetry.instrumentation.bedrock")
    assert (bedrock.usage["input_uncached"], bedrock.usage_rule) == (900, "openllmetry.exclusive")
    other = sighting(chat(provider__name="anthropic", is_streaming=False) | counts, scope="opentelemetry.instrumentation.anthropic")
    assert other.usage["input_uncached"] == 800


def test_googles_thoughts_are_the_rest_of_the_total() -> None:
    seen = sighting(chat(
        provider__name="gcp.gen_ai", request__model="gemini-2.5-pro", usage__input_tokens=3355, usage__output_tokens=221,
        usage__total_tokens=4088, is_streaming=False,
    ))  # fmt: skip
    assert seen.usage == {"input_uncached": 3355, "output": 733}


def test_spans_with_a_kind_are_no_calls() -> None:
    assert sighting(entity("task", "model")).kind == OTHER
    assert sighting(entity("agent", "helper")).kind == AGENT
    assert sighting(entity("tool", "get_weather")).kind == TOOL
    assert sighting(entity("workflow", "flow")).kind == WORKFLOW
    assert sighting(entity("task", "model") | {"gen_ai.usage.input_tokens": 7}).kind == OTHER


def test_an_entity_is_named_by_its_kind() -> None:
    assert sighting(entity("task", "model")).attribution == {"step": "model"}
    assert sighting(entity("agent", "helper")).attribution == {"agent": "helper"}
    assert sighting(entity("tool", "get_weather")).attribution == {"tool": "get_weather"}


def test_a_workflows_name_is_no_agent() -> None:
    chain = entity(
        "workflow", "RunnableSequence", **{"gen_ai.agent.name": "RunnableSequence", "traceloop.workflow.name": "RunnableSequence"}
    )
    assert sighting(chain).attribution == {"workflow": "RunnableSequence"}
    graph = chain | {f"{PROPERTIES}lc_agent_name": "supervisor"}
    assert sighting(graph).attribution == {"workflow": "RunnableSequence", "agent": "supervisor"}


def test_association_properties_name_agent_step_user_session_and_tenant() -> None:
    said = {
        "lc_agent_name": "researcher",
        "langgraph_node": "model",
        "user_id": "u-7",
        "session_id": "s-9",
        "thread_id": "t-1",
        "tenant": "acme",
    }
    seen = sighting(chat() | {f"{PROPERTIES}{key}": value for key, value in said.items()})
    assert seen.attribution == {"agent": "researcher", "step": "model", "user": "u-7", "session": "s-9", "tenant": "acme"}


def test_a_crew_is_a_workflow() -> None:
    seen = sighting({"gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "crewai", "crewai.crew.name": "blog"})
    assert (seen.kind, seen.provider, seen.attribution) == (WORKFLOW, None, {"workflow": "blog"})


def test_a_frameworks_name_gives_way_to_the_model_providers() -> None:
    assert (
        sighting(chat(provider__name="langchain") | {f"{PROPERTIES}ls_provider": "anthropic", "llm.request.type": "chat"}).provider
        == "anthropic"
    )


def test_in_javascript_anthropics_cached_tokens_are_left_out_of_the_input() -> None:
    """60 read from the cache would fit into the 97; the spans bear no key of OpenLLMetry's own outside of its workflows."""
    attributes = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.usage.input_tokens": 97, "gen_ai.usage.output_tokens": 347, "gen_ai.usage.cache_read.input_tokens": 60,
    }  # fmt: skip
    seen = sighting(attributes, scope="@traceloop/instrumentation-anthropic")
    assert (seen.dialect, seen.usage) == ("openllmetry", {"input_uncached": 97, "cache_read": 60, "output": 347})
