"""Logfire's own instrumentations (scopes `logfire.<x>`) and Pydantic AI (scope `pydantic-ai`), from their first releases on.

The OpenAI and Anthropic ones attach the provider's usage object: as JSON in `gen_ai.usage.raw`, before that in `response_data`, and it is
believed over their sums, which left Anthropic's cached tokens out for a while. A streamed answer is two spans: one that ends when the
stream begins and says nothing of the answer, and one that is written, with no length, when the stream was read.
Pydantic AI's runs of agents repeat their calls' usage, formerly under the calls' own keys.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from otel_finops.base.span import Attributes, Span
from otel_finops.genai.dialect import CountTable, Facts, KeyTable, ScopeTraits, TableDialect, joined_counts
from otel_finops.genai.dialects import semconv, semconv_legacy
from otel_finops.genai.provider_usage import find_provider_usage
from otel_finops.genai.raw_usage import take_provider_usage
from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL
from otel_finops.genai.texts import clean_name, read_flag, read_json

_RAW: Final = "gen_ai.usage.raw"
_REQUEST: Final = "request_data"
_ANSWER: Final = "response_data"
_RESPONSE: Final = "response"
_USAGE: Final = "usage"
_SPAN_TYPE: Final = "logfire.span_type"
_DETAILS: Final = "gen_ai.usage.details."

DETAILS: Final[CountTable] = {
    "cache_read": tuple(
        f"{_DETAILS}{name}"
        for name in (
            "cache_read_tokens", "cache_read_input_tokens", "cached_tokens", "cached_content_tokens", "cached_content_token_count",
        )
    ),
    "cache_write": (f"{_DETAILS}cache_write_tokens", f"{_DETAILS}cache_creation_input_tokens"),
    "cache_write_5m": (f"{_DETAILS}ephemeral_5m_input_tokens",),
    "cache_write_1h": (f"{_DETAILS}ephemeral_1h_input_tokens",),
    "reasoning": (f"{_DETAILS}reasoning_tokens", f"{_DETAILS}thoughts_tokens"),
    "audio_in": (f"{_DETAILS}input_audio_tokens", f"{_DETAILS}audio_prompt_tokens"),
    "image_in": (f"{_DETAILS}image_prompt_tokens",),
    "video_in": (f"{_DETAILS}video_prompt_tokens",),
    "audio_out": (f"{_DETAILS}output_audio_tokens", f"{_DETAILS}audio_candidates_tokens"),
    "image_out": (f"{_DETAILS}image_candidates_tokens",),
}  # fmt: skip
"""Pydantic AI's details: the provider's own names, which are all there was before the conventions had names for them."""

_BASE: Final = semconv_legacy.TABLE
TABLE: Final = KeyTable(
    texts=_BASE.texts,
    providers=_BASE.providers,
    counts=(joined_counts(_BASE.counts[0], DETAILS),),
    streaming=_BASE.streaming,
    stream_marks=(*_BASE.stream_marks, "gen_ai.client.operation.time_to_first_chunk"),
    finish=_BASE.finish,
    http_status=_BASE.http_status,
    costs=_BASE.costs,
    others=(_RAW, _REQUEST, _ANSWER, _RESPONSE, _USAGE, _SPAN_TYPE, "agent_name", "name", "response_id", "url", "duration"),
)

_AGENTS: Final = "logfire.openai_agents"
_CLAUDE_AGENTS: Final = "logfire.claude_agent_sdk"
_PYDANTIC: Final = ("pydantic-ai", "pydantic_ai")
_VENDORS: Final = {"logfire.openai": "openai", "logfire.anthropic": "anthropic"}
_SCOPES: Final = {
    _AGENTS: ScopeTraits(rank=RANK_FRAMEWORK),
    _CLAUDE_AGENTS: ScopeTraits(rank=RANK_FRAMEWORK),
    **{scope: ScopeTraits(rank=RANK_FRAMEWORK) for scope in _PYDANTIC},
}


def _recognises(keys: Collection[str], scope: str) -> bool:
    if scope.startswith("logfire."):
        return semconv.has_marks(keys, scope) or _REQUEST in keys
    if scope in _PYDANTIC:
        return semconv.has_marks(keys, scope) or "agent_name" in keys
    return _RAW in keys


def _refine(span: Span, facts: Facts) -> None:
    if span.attributes.get(_SPAN_TYPE) == "pending_span":
        facts.kind = OTHER  # a copy of a span that had only begun
    elif span.scope in _PYDANTIC:
        _refine_pydantic(span, facts)
    elif span.scope == _AGENTS:
        _refine_agents(span, facts)
    elif span.scope == _CLAUDE_AGENTS:
        if facts.operation == "chat":
            facts.kind = OTHER  # its counts are of single messages and too low; the run above has the whole
    else:
        _refine_client(span, facts)


def _refine_pydantic(span: Span, facts: Facts) -> None:
    if facts.operation is None and "agent_name" in span.attributes:
        facts.kind = AGENT
    if f"{_DETAILS}thoughts_tokens" in span.attributes:
        facts.reasoning_outside = _is_before(span.scope_version, 0, 7)


def _is_before(version: str, major: int, minor: int) -> bool:
    """Whether a version is older; False when it is none."""
    found = re.match(r"(\d{1,6})\.(\d{1,6})", version)
    return found is not None and (int(found[1]), int(found[2])) < (major, minor)


_AGENT_SPANS: Final = (
    ("Agent run", AGENT, "agent", None), ("Function", TOOL, "tool", None), ("Responses API", CALL, None, "chat"),
    ("Chat completion with", CALL, None, "chat"), ("Speech → Text", CALL, None, "transcription"),
    ("Text → Speech group", OTHER, None, None), ("Text → Speech", CALL, None, "speech"),
)  # fmt: skip
"""Spans of the OpenAI Agents SDK by the beginning of their name: kind, what the attribute `name` names, operation."""


def _refine_agents(span: Span, facts: Facts) -> None:
    for beginning, kind, named, operation in _AGENT_SPANS:
        if span.name.startswith(beginning):
            facts.kind, facts.operation = kind, facts.operation or operation
            if named is not None:
                facts.attribution = {named: clean_name(span.attributes.get("name"))}
            break
    else:
        facts.kind = OTHER
    if facts.kind == CALL:
        facts.response_id = facts.response_id or clean_name(span.attributes.get("response_id"))
        _take_first(facts, (_answer(span.attributes, _RESPONSE), *_usages(span.attributes)))


_OPERATIONS: Final = (
    ("Chat Completion", "chat"), ("Responses API", "chat"), ("Completion", "text_completion"), ("Embedding Creation", "embeddings"),
    ("Image Generation", "image_generation"), ("Message", "chat"),
)  # fmt: skip
"""By the beginning of the span's name, where no operation is named."""
_PATHS: Final = (
    ("/audio/speech", "speech"), ("/audio/transcriptions", "transcription"), ("/audio/translations", "transcription"),
    ("/images/", "image_generation"),
)  # fmt: skip
"""Of endpoints without a name of their own, those that are billed by the call; others count tokens, moderate, list."""
_STREAMED: Final = frozenset({"chat", "text_completion"})


def _refine_client(span: Span, facts: Facts) -> None:
    attributes = span.attributes
    if not facts.providers and span.scope in _VENDORS:
        facts.providers = (_VENDORS[span.scope],)
    _read_request(attributes, facts)
    raw = read_json(attributes.get(_RAW))
    _take_first(facts, ({"usage": raw} if raw is not None else _answer(attributes, _ANSWER),))
    url = clean_name(attributes.get("url"))
    if facts.operation is None:
        facts.operation = next((name for beginning, name in _OPERATIONS if span.name.startswith(beginning)), None)
    if url is not None and not facts.counts:
        facts.operation = next((name for path, name in _PATHS if path in url), None)
        facts.kind = CALL if facts.operation else OTHER
    if facts.operation == "image_generation" and "image_out" not in facts.counts and facts.counts.get("output"):
        facts.counts = {**facts.counts, "image_out": facts.counts["output"]}
    if attributes.get(_SPAN_TYPE) == "log":
        _read_stream(attributes, facts)
    elif span.scope in _VENDORS and facts.operation in _STREAMED and _only_opened(span, facts):
        facts.kind = OTHER
    if facts.providers[:1] == ("anthropic",) and _is_bedrock(facts.request_model):
        facts.providers = ("aws.bedrock",)


def _read_request(attributes: Attributes, facts: Facts) -> None:
    """The model where no attribute says it; what tells of streams and tiers only where the text has such words, as it may hold messages."""
    text = attributes.get(_REQUEST)
    if not isinstance(text, str) or (facts.request_model and "stream" not in text and "service_tier" not in text):
        return
    request = read_json(text)
    if isinstance(request, Mapping):
        facts.request_model = facts.request_model or clean_name(request.get("model"))
        facts.tier_asked = facts.tier_asked or clean_name(request.get("service_tier"))
        if facts.streaming is None:
            facts.streaming = read_flag(request.get("stream"))


def _usages(attributes: Attributes) -> Iterator[object]:
    """Usage objects that stand alone, as answers that hold nothing else."""
    for key in (_RAW, _USAGE):
        yield {"usage": read_json(attributes.get(key))}


def _answer(attributes: Attributes, key: str) -> object:
    """An answer with usage; others are not even parsed, as they are long."""
    text = attributes.get(key)
    return read_json(text) if isinstance(text, str) and '"usage"' in text else None


def _take_first(facts: Facts, answers: Iterable[object]) -> None:
    for answer in answers:
        found = find_provider_usage(answer)
        if found is not None:
            take_provider_usage(facts, found)
            return


def _only_opened(span: Span, facts: Facts) -> bool:
    """A stream was opened, and another span will tell of it: nothing failed, and there is no trace of an answer."""
    if span.is_error or facts.counts or facts.bad or facts.response_id is not None:
        return False
    return facts.streaming is not False and _ANSWER not in span.attributes


_DURATION_MAX_S: Final = 86_400


def _read_stream(attributes: Attributes, facts: Facts) -> None:
    """A record written at the stream's end: it began `duration` seconds before, and its answer's model is the one asked for."""
    facts.streaming, facts.operation = True, facts.operation or "chat"
    seconds = attributes.get("duration")
    if isinstance(seconds, float | int) and 0 < seconds < _DURATION_MAX_S:
        facts.lead_ns = int(seconds * 1_000_000_000)
    if facts.response_model == facts.request_model:
        facts.response_model = None


def _is_bedrock(model: str | None) -> bool:
    """Anthropic's client for Bedrock says it is Anthropic, but names models as Bedrock does."""
    return model is not None and (model.startswith("arn:aws") or "anthropic.claude" in model)


DIALECT: Final = TableDialect(name="logfire", table=TABLE, recognises=_recognises, scopes=_SCOPES, refine=_refine)
