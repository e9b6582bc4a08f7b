"""What a span is by itself: a call, or one of the things above, beside and below calls."""

from __future__ import annotations

from typing import Final

from otel_finops.genai.sighting import AGENT, CALL, OTHER, TOOL, WORKFLOW

GRAPH_NODE: Final = "graph_node"
"""Operation of a span that is a node of a graph library's graph: the span right above it is the graph, whose name is the agent's."""

_KINDS: Final = {
    GRAPH_NODE: OTHER,
    "invoke_agent": AGENT, "create_agent": AGENT, "agent_run": AGENT,
    "invoke_workflow": WORKFLOW,
    "execute_tool": TOOL,
    "agent_step": OTHER, "execute_task": OTHER, "execute_event_loop_cycle": OTHER, "handoff": OTHER, "plan": OTHER, "retrieval": OTHER,
    "fetch_response": OTHER, "search_memory": OTHER, "create_memory": OTHER, "update_memory": OTHER, "upsert_memory": OTHER,
    "delete_memory": OTHER, "create_memory_store": OTHER, "delete_memory_store": OTHER, "chain": OTHER,
    "chat": CALL, "text_completion": CALL, "generate_content": CALL, "embeddings": CALL, "completion": CALL, "embedding": CALL,
    "apply_guardrail": OTHER, "run_guardrail": OTHER, "guardrail": OTHER,
    "rerank": CALL, "image_generation": CALL, "speech": CALL, "transcription": CALL, "responses": CALL, "llm_call": CALL,
}  # fmt: skip
_CLIENT: Final = 3


def kind_of(operation: str | None, span_kind: int, has_usage: bool, has_model: bool, has_tool: bool) -> str:
    """The kind by the operation's name; without a known one, by what else the span says.

    A span with usage is a call unless its operation says otherwise. Without usage, a span that names a model is one when it leaves the
    process (OTLP kind CLIENT) or names no operation at all.
    """
    kind = _KINDS.get(operation) if operation is not None else None
    if kind is not None:
        return kind
    if has_usage:
        return CALL
    if has_tool and not has_model:
        return TOOL
    return CALL if has_model and (operation is None or span_kind == _CLIENT) else OTHER
