"""Usage objects in the providers' own shapes, as some instrumentations attach them as JSON.

Only counts, the tier, the speed, the residency and the answer's id are taken out; content is never kept. Dialects name the attributes
in which such objects may stand; nothing here is ever read from a prompt or a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_finops.genai.numbers import BAD_COUNT, read_count
from otel_finops.genai.reported import answered_cost
from otel_finops.genai.texts import clean_name, first_name

_COUNTS: Final = {
    "prompt_tokens": "input", "input_tokens": "input", "inputTokens": "input", "promptTokens": "input", "prompt_token_count": "input",
    "promptTokenCount": "input",
    "completion_tokens": "output", "output_tokens": "output", "outputTokens": "output", "completionTokens": "output",
    "candidates_token_count": "output", "candidatesTokenCount": "output",
    "total_tokens": "total", "totalTokens": "total", "total_token_count": "total", "totalTokenCount": "total",
    "cache_read_input_tokens": "cache_read", "cacheReadInputTokens": "cache_read", "cached_content_token_count": "cache_read",
    "cachedContentTokenCount": "cache_read",
    "cache_creation_input_tokens": "cache_write", "cacheWriteInputTokens": "cache_write",
    "cache_write_input_tokens": "cache_write", "cache_creation_input_tokens_above_1hr": "cache_write_1h",
    "thoughts_token_count": "reasoning", "thoughtsTokenCount": "reasoning",
    "tool_use_prompt_token_count": "tool_use", "toolUsePromptTokenCount": "tool_use",
    "cachedInputTokens": "cache_read", "cachedPromptTokens": "cache_read", "cachedContentTokens": "cache_read",
    "promptCacheHitTokens": "cache_read", "cacheCreationInputTokens": "cache_write", "reasoningTokens": "reasoning",
    "thoughtsTokens": "reasoning",
}  # fmt: skip
_INPUT_DETAILS: Final = {
    "cached_tokens": "cache_read", "cachedTokens": "cache_read", "cache_read": "cache_read",
    "cache_write_tokens": "cache_write", "cache_creation": "cache_write",
    "audio_tokens": "audio_in", "audio": "audio_in", "image_tokens": "image_in", "image": "image_in", "video": "video_in",
    "cache_creation_tokens": "cache_write", "ephemeral_5m_input_tokens": "cache_write_5m", "ephemeral_1h_input_tokens": "cache_write_1h",
    "priority_cache_read": "cache_read", "flex_cache_read": "cache_read",
    "priority_cache_creation": "cache_write", "flex_cache_creation": "cache_write", "web_search_requests": "web_searches",
}  # fmt: skip
_OUTPUT_DETAILS: Final = {
    "reasoning_tokens": "reasoning", "reasoningTokens": "reasoning", "reasoning": "reasoning",
    "audio_tokens": "audio_out", "audio": "audio_out",
    "image_tokens": "image_out", "image": "image_out", "video": "video_out",
    "priority_reasoning": "reasoning", "flex_reasoning": "reasoning",
}  # fmt: skip
_SERVER_TOOLS: Final = {"web_search_requests": "web_searches"}
"""Anthropic's count of what its own tools did, which is billed beside the tokens; LiteLLM puts it among the prompt's details."""
_NESTED: Final = {
    "server_tool_use": _SERVER_TOOLS,
    "prompt_tokens_details": _INPUT_DETAILS, "input_tokens_details": _INPUT_DETAILS, "input_token_details": _INPUT_DETAILS,
    "promptTokensDetails": _INPUT_DETAILS, "inputTokensDetails": _INPUT_DETAILS, "cache_creation": _INPUT_DETAILS,
    "completion_tokens_details": _OUTPUT_DETAILS, "output_tokens_details": _OUTPUT_DETAILS, "output_token_details": _OUTPUT_DETAILS,
    "completionTokensDetails": _OUTPUT_DETAILS, "candidates_tokens_details": _OUTPUT_DETAILS,
    "candidatesTokensDetails": _OUTPUT_DETAILS, "outputTokensDetails": _OUTPUT_DETAILS,
}  # fmt: skip
_LIFETIMES: Final = "cache_creation_token_details"
"""LiteLLM's place for how long cache writes live: inside of the details of the prompt."""
_TIERS: Final = ("priority", "flex")
"""LangChain names a tier by a detail of its name, which holds the tokens that are neither cached nor thoughts."""
_EXCLUSIVE_SIGNS: Final = frozenset({
    "cache_read_input_tokens", "cache_creation_input_tokens", "cacheReadInputTokens", "cacheWriteInputTokens", "cacheCreationInputTokens",
})  # fmt: skip
"""Anthropic and Bedrock count cached tokens beside the input; OpenAI and Google inside of it."""
_INCLUSIVE_SIGNS: Final = frozenset({"prompt_tokens"})
_USAGE_NAMES: Final = ("usage", "usage_metadata", "usageMetadata", "token_usage", "tokenUsage")
_ENVELOPES: Final = ("meta", "llm_output", "llmOutput", "response_metadata", "response")
"""Where frameworks keep the provider's answer, one level down."""
_ID_NAMES: Final = ("id", "response_id", "responseId")
_MODEL_NAMES: Final = ("model", "model_name", "modelVersion", "model_version")
_RUN_IDS: Final = ("run-", "lc_run-")
"""LangChain numbers messages itself where the provider gives no id."""


@dataclass(slots=True)
class ProviderUsage:
    """What a provider's usage object says.

    Attributes:
        counts: by the names of `usage_reading.COUNT_NAMES`.
        bad: a count was no count.
        exclusive: `input` leaves the cached tokens out.
        reasoning_outside: `output` leaves the reasoning out.
        service_tier, speed, inference_geo, response_id, response_model: as sent, None where not said.
        reported_pico, reported_source: the cost that the provider answered, see `reported.answered_cost`.
        counted_twice: tokens of output that the sender certainly counts twice in its own sum.
    """

    counts: dict[str, int] = field(default_factory=dict)
    bad: bool = False
    exclusive: bool = False
    reasoning_outside: bool = False
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    response_id: str | None = None
    response_model: str | None = None
    reported_pico: int | None = None
    reported_source: str | None = None
    counted_twice: int = 0


def find_provider_usage(document: object) -> ProviderUsage | None:
    """Find and read the usage object in a provider's answer, or in a framework's wrapping of one; None when there is none."""
    if not isinstance(document, Mapping):
        return None
    for envelope in (document, *(document.get(name) for name in _ENVELOPES)):
        if isinstance(envelope, Mapping):
            for name in _USAGE_NAMES:
                usage = envelope.get(name)
                if isinstance(usage, Mapping):
                    return _with_envelope(read_provider_usage(usage), envelope)
    return None


def find_message_usage(document: object) -> ProviderUsage | None:
    """Read the usage that LangChain keeps with the message of its result (`generations`); None for other documents and several messages.

    The message's own `usage_metadata` includes cached tokens whatever the provider does; the provider's object beside it says how long
    cache writes live, and on streams it may say nothing else.
    """
    message = _only_message(document)
    if message is None:
        return None
    usage, metadata = message.get("usage_metadata"), message.get("response_metadata")
    found = read_provider_usage(usage) if isinstance(usage, Mapping) else ProviderUsage()
    if isinstance(metadata, Mapping):
        raw = find_provider_usage(metadata)
        _with_envelope(found, metadata)
        if raw is not None:
            found.service_tier = raw.service_tier
            found.counts = {**raw.counts, **found.counts}
            found.speed, found.inference_geo = raw.speed, raw.inference_geo
            found.reported_pico, found.reported_source = raw.reported_pico, raw.reported_source
            if not isinstance(usage, Mapping):
                found.exclusive, found.reasoning_outside, found.bad = raw.exclusive, raw.reasoning_outside, raw.bad
        found.counted_twice = _start_added(metadata.get("usage"))
    sent = message.get("additional_kwargs")
    if found.response_model is None and isinstance(sent, Mapping):
        found.response_model = clean_name(sent.get("model"))
    own_id = clean_name(message.get("id"))
    if found.response_id is None and own_id is not None and not own_id.startswith(_RUN_IDS):
        found.response_id = own_id
    return found


def _start_added(usage: object) -> int:
    """LangChain in JavaScript adds the output that Anthropic's first event states to the whole that its last one states: at least 1.

    Such a stream leaves the first event's usage with its cached tokens behind, but without input and output.
    """
    return int(isinstance(usage, Mapping) and not _EXCLUSIVE_SIGNS.isdisjoint(usage) and "output_tokens" not in usage)


def _only_message(document: object) -> Mapping[str, object] | None:
    """The message of a LangChain result that has one: `generations` is a list of lists, of one entry for each prompt and candidate."""
    entry: object = document.get("generations") if isinstance(document, Mapping) else None
    while isinstance(entry, list):
        if len(entry) != 1:
            return None
        entry = entry[0]
    message = entry.get("message") if isinstance(entry, Mapping) else None
    if not isinstance(message, Mapping):
        return None
    kwargs = message.get("kwargs")
    return kwargs if isinstance(kwargs, Mapping) else message


def _with_envelope(found: ProviderUsage, envelope: Mapping[str, object]) -> ProviderUsage:
    found.service_tier = found.service_tier or clean_name(envelope.get("service_tier"))
    found.response_id = first_name([envelope.get(name) for name in _ID_NAMES])
    found.response_model = first_name([envelope.get(name) for name in _MODEL_NAMES])
    if "image_out" not in found.counts and _is_images(envelope) and found.counts.get("output", 0) > 0:
        found.counts["image_out"] = found.counts["output"]
    return found


def _is_images(envelope: Mapping[str, object]) -> bool:
    """An answer of the images endpoint, which does not split its output: all of it is image tokens."""
    data = envelope.get("data")
    return isinstance(data, list) and bool(data) and isinstance(data[0], Mapping) and ("b64_json" in data[0] or "url" in data[0])


def read_provider_usage(usage: Mapping[str, object]) -> ProviderUsage:
    """Read a usage object of OpenAI, Anthropic, Google, Bedrock, Mistral or LangChain."""
    found = ProviderUsage()
    for key, value in usage.items():
        name = _COUNTS.get(key)
        if name is not None:
            _put(found, name, value)
        elif key in _NESTED:
            _put_details(found, _NESTED[key], value)
    found.exclusive = not _EXCLUSIVE_SIGNS.isdisjoint(usage) and _INCLUSIVE_SIGNS.isdisjoint(usage)
    found.reasoning_outside = "thoughts_token_count" in usage or "thoughtsTokenCount" in usage
    found.service_tier = clean_name(usage.get("service_tier")) or found.service_tier
    found.speed = clean_name(usage.get("speed"))
    found.inference_geo = clean_name(usage.get("inference_geo"))
    found.reported_pico, found.reported_source = answered_cost(usage)
    return found


def _put_details(found: ProviderUsage, names: Mapping[str, str], details: object) -> None:
    """Details as a map (`cached_tokens`: 7) or as Google's list of `{modality, token_count}`."""
    if isinstance(details, Mapping):
        for key, value in details.items():
            if key in names:
                _put(found, names[key], value)
            elif key in _TIERS and value is not None:
                found.service_tier = found.service_tier or key
            elif key == _LIFETIMES and isinstance(value, Mapping):
                for lifetime, count in value.items():
                    if lifetime in _INPUT_DETAILS:
                        _put(found, _INPUT_DETAILS[lifetime], count)
    elif isinstance(details, list):
        for entry in details:
            if isinstance(entry, Mapping):
                name = names.get(str(entry.get("modality")).lower())
                if name is not None:
                    _put(found, name, entry.get("token_count", entry.get("tokenCount")))


def _put(found: ProviderUsage, name: str, value: object) -> None:
    count = read_count(value)
    if count == BAD_COUNT:
        found.bad = True
    elif count and name not in found.counts:
        found.counts[name] = count
