"""Haystack's own tracer (`haystack.component.run`, `haystack.agent.step.llm`): usage only in the JSON of a component's output.

The output is there with content tracing alone; without it a generator's span is a call of which nothing is known. Keys tell the
dialect, as applications give the tracer a scope of their own. The type of a component names the provider. Usage objects are the
provider's, in OpenAI's names: Anthropic's integration adds cached tokens to the prompt, Bedrock's leaves them out, which its total shows;
Google's leaves thoughts out of the output. The spans of pipelines and agents repeat their components' outputs and are not read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from otel_finops.base.span import Span
from otel_finops.genai.dialect import Facts, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.provider_usage import find_provider_usage
from otel_finops.genai.raw_usage import take_cost
from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL
from otel_finops.genai.texts import clean_name, first_name, read_json

_NAME: Final = "haystack.component.name"
_TYPE: Final = "haystack.component.type"
_OUTPUT: Final = "haystack.component.output"
_STEP_OUTPUT: Final = "haystack.agent.step.llm.output"
_TOOL: Final = "haystack.tool.name"

TABLE: Final = KeyTable(others=(_NAME, _TYPE, _OUTPUT, _STEP_OUTPUT, _TOOL, "haystack.agent.max_steps"))
_MARKS: Final = TABLE.keys()

_SPANS: Final = {"haystack.agent.run": AGENT, "haystack.agent.step.llm": CALL, "haystack.agent.step.tool": TOOL}
_CALLS: Final = (("Generator", "chat"), ("Embedder", "embeddings"))
"""Ends of the types of components that call a model, with the operation."""
_INNER: Final = ("Fallback", "LLM")
"""Beginnings of the types of components that only hand on to a generator of their own, which has a span itself."""
_VENDORS: Final = (
    ("AzureOpenAI", "azure"), ("OpenAI", "openai"), ("AnthropicVertex", "vertex_ai"), ("AnthropicFoundry", "azure_ai"),
    ("Anthropic", "anthropic"), ("AmazonBedrock", "bedrock"), ("GoogleGenAI", "gemini"), ("GoogleAI", "gemini"), ("VertexAI", "vertex_ai"),
    ("Cohere", "cohere"), ("Mistral", "mistral"), ("Ollama", "ollama"), ("OpenRouter", "openrouter"), ("TogetherAI", "together_ai"),
    ("Nvidia", "nvidia_nim"), ("HuggingFace", "huggingface"), ("Watsonx", "watsonx"), ("Groq", "groq"), ("Voyage", "voyage"),
    ("Perplexity", "perplexity"),
)  # fmt: skip


def _recognises(keys: Collection[str], scope: str) -> bool:
    return not _MARKS.isdisjoint(keys)


def _refine(span: Span, facts: Facts) -> None:
    component = clean_name(span.attributes.get(_TYPE)) or ""
    facts.kind = _SPANS.get(span.name, OTHER)
    if facts.kind == CALL:
        facts.operation = "chat"
    elif facts.kind == TOOL:
        facts.attribution = {"tool": clean_name(span.attributes.get(_TOOL))}
    elif component == "Agent":
        facts.kind, facts.attribution = AGENT, {"agent": clean_name(span.attributes.get(_NAME))}
    elif component:
        facts.operation = next((operation for end, operation in _CALLS if component.endswith(end)), None)
        if facts.operation is not None and not component.startswith(_INNER):
            facts.kind = CALL
            facts.providers = tuple([family for beginning, family in _VENDORS if component.startswith(beginning)][:1])
        facts.attribution = {"step": clean_name(span.attributes.get(_NAME))}
    if facts.kind == CALL:
        _read_output(facts, read_json(span.attributes.get(_OUTPUT) or span.attributes.get(_STEP_OUTPUT)))


def _read_output(facts: Facts, output: object) -> None:
    """Of several replies to one prompt each repeats the usage of the call, so the first one is asked."""
    meta = _meta(output)
    if meta is None:
        return
    model = first_name((meta.get("model"), meta.get("model_name")))
    if "bedrock" in facts.providers or facts.operation == "embeddings":
        facts.request_model = model
    else:
        facts.response_model = model
    facts.response_id = clean_name(meta.get("id"))
    facts.ended(meta.get("finish_reason"))
    facts.streaming = True if "completion_start_time" in meta else None
    found = find_provider_usage(meta)
    if found is None:
        return
    take_cost(facts, found)
    facts.bad, facts.counts = found.bad, found.counts
    facts.exclusive, facts.reasoning_outside = found.exclusive, found.reasoning_outside
    facts.tier_served, facts.speed = found.service_tier, found.speed


def _meta(output: object) -> Mapping[str, object] | None:
    """The metadata of the first answer: with the reply (chat), in a list beside the replies (text), or beside the embedding."""
    if not isinstance(output, Mapping):
        return None
    for holder in (output.get("replies"), output.get("meta"), output.get("images")):
        first = holder[0] if isinstance(holder, list) and holder else holder
        if isinstance(first, Mapping):
            inner = first.get("meta", first.get("_meta", first))
            if isinstance(inner, Mapping):
                return inner
    return None


DIALECT: Final = TableDialect(
    name="haystack", table=TABLE, recognises=_recognises, scopes={"haystack": ScopeTraits(rank=RANK_FRAMEWORK)}, refine=_refine
)
