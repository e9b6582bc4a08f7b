"""Who bills: one family for the many values that senders write, and for the hosts that they call."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_CACHE: Final = 2_048
_KEY_CHARS_MAX: Final = 256

FRAMEWORKS: Final = frozenset({
    "langchain", "langgraph", "crewai", "strands-agents", "strands", "microsoft.agent_framework", "agent_framework", "gcp.vertex.agent",
    "litellm", "llama_index", "llamaindex", "agno", "autogen", "ag2", "haystack", "semantic_kernel", "semantic-kernel", "dspy",
    "smolagents", "pydantic-ai", "pydantic_ai", "mastra", "genkit", "vercel", "ai", "beeai", "openai_agents", "openai-agents",
    "google_adk", "mcp", "unknown", "none", "null", "other", "_other", "custom", "",
})  # fmt: skip
"""Values that name a framework or nothing: they do not say who bills."""

_BEGINNINGS: Final = (
    ("azure.ai.openai", "azure"), ("azure.ai.inference", "azure_ai"), ("az.ai.inference", "azure_ai"), ("azure_ai", "azure_ai"),
    ("azure-ai", "azure_ai"), ("az.ai.openai", "azure"), ("azure", "azure"), ("az.", "azure"),
    ("openai", "openai"),
    ("anthropic_bedrock", "bedrock"), ("anthropic-bedrock", "bedrock"),
    ("anthropic_vertex", "vertex_ai"), ("anthropic-vertex", "vertex_ai"),
    ("anthropic", "anthropic"),
    ("aws", "bedrock"), ("amazon", "bedrock"), ("bedrock", "bedrock"),
    ("gcp.vertex", "vertex_ai"), ("google_vertex", "vertex_ai"), ("google-vertex", "vertex_ai"), ("google.vertex", "vertex_ai"),
    ("vertex", "vertex_ai"), ("gcp", "gemini"), ("gemini", "gemini"), ("google", "gemini"),
    ("mistral", "mistral"), ("cohere", "cohere"), ("groq", "groq"), ("deepseek", "deepseek"), ("openrouter", "openrouter"),
    ("x_ai", "xai"), ("x-ai", "xai"), ("x.ai", "xai"), ("xai", "xai"), ("grok", "xai"), ("perplexity", "perplexity"),
    ("moonshot", "moonshot"),
    ("ibm", "watsonx"), ("watsonx", "watsonx"), ("together", "together_ai"), ("fireworks", "fireworks_ai"), ("ollama", "ollama"),
    ("vllm", "hosted_vllm"), ("hosted_vllm", "hosted_vllm"), ("cerebras", "cerebras"), ("deepinfra", "deepinfra"),
    ("nvidia", "nvidia_nim"), ("huggingface", "huggingface"), ("voyage", "voyage"), ("replicate", "replicate"),
)  # fmt: skip
"""Lower-case beginnings of provider values, first hit wins."""

_HOST_ENDS: Final = (
    (".openai.azure.com", "azure"), (".cognitiveservices.azure.com", "azure"), (".services.ai.azure.com", "azure_ai"),
    (".inference.ai.azure.com", "azure_ai"), (".models.ai.azure.com", "azure_ai"), (".openai.azure.us", "azure"),
    ("api.openai.com", "openai"), ("api.anthropic.com", "anthropic"), ("generativelanguage.googleapis.com", "gemini"),
    ("aiplatform.googleapis.com", "vertex_ai"), ("api.mistral.ai", "mistral"), ("api.cohere.com", "cohere"), ("api.cohere.ai", "cohere"),
    ("api.groq.com", "groq"), ("api.deepseek.com", "deepseek"), ("openrouter.ai", "openrouter"), ("api.x.ai", "xai"),
    ("api.perplexity.ai", "perplexity"), ("api.moonshot.ai", "moonshot"), ("api.moonshot.cn", "moonshot"),
    ("api.together.xyz", "together_ai"), ("api.together.ai", "together_ai"), ("api.fireworks.ai", "fireworks_ai"),
    ("api.cerebras.ai", "cerebras"), ("deepinfra.com", "deepinfra"), ("integrate.api.nvidia.com", "nvidia_nim"),
    ("router.huggingface.co", "huggingface"), ("api.voyageai.com", "voyage"), ("api.replicate.com", "replicate"),
)  # fmt: skip
_AZURE: Final = frozenset({"azure", "azure_ai"})
_RESELLERS: Final = _AZURE | {"bedrock", "vertex_ai", "openrouter"}


def provider_family(values: tuple[str, ...], host: str | None) -> str | None:
    """The family that bills a call, of what a span says, best value first.

    A known host beats `openai`, which is a wire format that many speak, and values that say nothing (frameworks' names). The host of
    somebody who resells models beats their makers' names too, but does not choose between Azure's two families. A value that nobody
    knows is its own family, in lower case.
    """
    said = None
    for value in values:
        said = _family_of(value[:_KEY_CHARS_MAX])
        if said is not None:
            break
    if host is None:
        return said
    seen = _family_at(host[:_KEY_CHARS_MAX])
    if seen is None or (seen in _AZURE and said in _AZURE):
        return said
    return seen if said in (None, "openai") or seen in _RESELLERS else said


@lru_cache(maxsize=_CACHE)
def _family_of(value: str) -> str | None:
    name = value.strip().lower()
    if name in FRAMEWORKS:
        return None
    for beginning, family in _BEGINNINGS:
        if name.startswith(beginning):
            return family
    return name


@lru_cache(maxsize=_CACHE)
def route_family(model: str) -> str | None:
    """The provider in front of a routed model's name (`anthropic/claude-sonnet-4-5`); None without one that is known."""
    route, slash, _ = model[:_KEY_CHARS_MAX].strip().lower().partition("/")
    if not slash:
        return None
    return next((family for beginning, family in _BEGINNINGS if route.startswith(beginning)), None)


@lru_cache(maxsize=_CACHE)
def _family_at(address: str) -> str | None:
    host = host_of(address)
    if host.startswith("bedrock") and host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return "bedrock"
    for end, family in _HOST_ENDS:
        if host.endswith(end):
            return family
    return None


def host_of(address: str) -> str:
    """The lower-case host of a URL, of `host:port`, or of a bare host."""
    rest = address.strip().lower().partition("://")
    authority = (rest[2] or rest[0]).partition("/")[0].rpartition("@")[2]
    return authority.partition(":")[0]


@lru_cache(maxsize=_CACHE)
def region_at(address: str) -> tuple[str, str] | None:
    """The region that a host's name tells, with its kind: `("europe-west1", "vertex_location")`; None for most hosts."""
    host = host_of(address)
    if host.endswith("-aiplatform.googleapis.com"):
        return host.removesuffix("-aiplatform.googleapis.com"), "vertex_location"
    if host.startswith("bedrock") and ".amazonaws.com" in host:
        return host.split(".")[1], "bedrock_region"
    if host.endswith(".api.openai.com"):
        return host.removesuffix(".api.openai.com"), "data_residency"
    return None


def price_models(family: str | None, request: str | None, response: str | None) -> tuple[str, ...]:
    """Names to look up in the price book, best first.

    The answering model is billed, but on Bedrock and Vertex the one asked for chooses the price: the answer may carry the vendor's
    plain name while the regional price applies. An ARN of an inference profile says nothing unless somebody mapped it, so it stays first.
    """
    pair = (request, response) if family in ("bedrock", "vertex_ai") else (response, request)
    first, second = pair
    if first is None or first == second:
        return () if second is None else (second,)
    return (first,) if second is None else (first, second)
