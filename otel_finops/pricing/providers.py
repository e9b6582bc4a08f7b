"""Who bills: the spellings of a provider's name, and the families of price rows in which its models are looked up.

A family is the name under which the ledger shows a provider (`openai`, `azure`, `bedrock`, ...). Spellings come from the
OpenTelemetry registry of `gen_ai.provider.name`, its older `gen_ai.system` values, and the names SDKs and gateways use.
"""

from __future__ import annotations

from typing import Final

_SPELLINGS: Final[dict[str, tuple[str, ...]]] = {
    "ai21": ("ai21", "ai21_labs"),
    "amazon_nova": ("amazon_nova", "amazon-nova"),
    "anthropic": ("anthropic", "claude"),
    "azure": ("azure.ai.openai", "az.ai.openai", "azure", "azure_openai", "azureopenai", "azure.openai"),
    "azure_ai": ("azure.ai.inference", "az.ai.inference", "azure_ai", "azure_ai_inference", "azure.ai"),
    "bedrock": ("aws.bedrock", "aws_bedrock", "bedrock", "amazon_bedrock", "amazon-bedrock", "aws", "bedrock_converse", "bedrock.converse"),
    "cloudflare": ("cloudflare", "workers-ai", "workers_ai"),
    "cohere": ("cohere", "cohere_chat", "cohere.ai"),
    "dashscope": ("dashscope", "alibaba_cloud", "alibaba", "aliyun"),
    "databricks": ("databricks",),
    "deepseek": ("deepseek", "deepseek_ai", "deepseek-ai"),
    "elevenlabs": ("elevenlabs", "eleven_labs"),
    "fireworks_ai": ("fireworks_ai", "fireworks", "fireworks.ai"),
    "gemini": ("gcp.gemini", "gemini", "google_ai_studio", "google.generative-ai", "google_generative_ai", "google_genai"),
    "github_copilot": ("github_copilot", "copilot"),
    "groq": ("groq",),
    "lambda_ai": ("lambda_ai", "lambda"),
    "meta": ("meta",),
    "minimax": ("minimax", "minimax_ai"),
    "mistral": ("mistral_ai", "mistral", "mistralai"),
    "moonshot": ("moonshot_ai", "moonshot", "moonshotai"),
    "ollama": ("ollama",),
    "openai": ("openai", "open_ai", "openai.chat", "openai.responses"),
    "openrouter": ("openrouter", "open_router"),
    "perplexity": ("perplexity", "perplexity_ai", "pplx"),
    "replicate": ("replicate",),
    "sagemaker": ("sagemaker", "aws.sagemaker"),
    "together_ai": ("together_ai", "together", "togetherai", "together.ai"),
    "vercel_ai_gateway": ("vercel_ai_gateway", "vercel", "vercel.ai.gateway", "ai_gateway"),
    "vertex_ai": ("gcp.vertex_ai", "vertex_ai", "vertexai", "google_vertexai", "google.vertex", "google_vertex", "gcp.vertex"),
    "voyage": ("voyage", "voyageai", "voyage_ai"),
    "watsonx": ("ibm.watsonx.ai", "watsonx", "ibm", "watsonx_ai", "ibm_watsonx"),
    "xai": ("x_ai", "xai", "x-ai", "grok"),
    "zai": ("zai", "z_ai", "z-ai", "z.ai"),
}

_FAMILY_OF: Final[dict[str, str]] = {spelling: family for family, spellings in _SPELLINGS.items() for spelling in spellings}

_SEVERAL: Final[dict[str, tuple[str, ...]]] = {
    "azure": ("azure", "azure_ai"),
    "azure_ai": ("azure_ai", "azure"),
    "google": ("gemini", "vertex_ai"),
    "gcp": ("gemini", "vertex_ai"),
    "gcp.gen_ai": ("gemini", "vertex_ai"),
    "meta": ("meta", "meta_llama"),
}
"""Names that cover several families of rows, in the order in which these are asked."""

NAMING_GATEWAYS: Final = frozenset({"litellm", "litellm_proxy", "portkey", "helicone"})
"""Gateways whose model names carry the provider that bills (`azure/gpt-4o`), as if no provider had been named."""
VENDOR_GATEWAYS: Final = frozenset({"openrouter"})
"""Gateways that pass on the vendor's price for `vendor/model`; the vendor's row stands in, flagged as inferred."""
PASSED_ON_VENDORS: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "gemini",
    "xai": "xai",
    "cohere": "cohere",
    "perplexity": "perplexity",
}
"""Vendors (canonical names) whose models such a gateway buys at one price, and the family that has it.
Open weights are sold by many hosts at many prices, so that their vendor's own price says nothing."""

_ROW_FAMILIES: Final[dict[str, str]] = {
    "azure_text": "azure",
    "bedrock_converse": "bedrock",
    "bedrock_mantle": "bedrock",
    "cohere_chat": "cohere",
    "fireworks_ai-embedding-models": "fireworks_ai",
    "text-completion-codestral": "codestral",
    "text-completion-inception": "inception",
    "text-completion-openai": "openai",
}

_KEY_PREFIXES: Final[dict[str, tuple[str, ...]]] = {
    "amazon_nova": ("amazon-nova/",),
    "bedrock": ("bedrock/", "bedrock/converse/", "bedrock/invoke/"),
    "fireworks_ai": ("fireworks_ai/", "fireworks_ai/accounts/fireworks/models/"),
}
"""How the keys of a family's rows begin, where that is not the family's name."""

_LATER_PREFIXES: Final[dict[str, tuple[str, ...]]] = {"bedrock": ("bedrock_mantle/",)}
"""Prefixes asked after the bare name: another endpoint of the same provider."""


def row_family(provider: str) -> str:
    """The family of a price row, from the provider that the price list names."""
    if provider.startswith("vertex_ai"):
        return "vertex_ai"
    return _ROW_FAMILIES.get(provider, provider)


def canonical(provider: str) -> str:
    """The provider's name in lower case, its spelling resolved where it is known (`gcp.vertex_ai` -> `vertex_ai`)."""
    name = provider.strip().lower()
    if name in _SEVERAL and name not in _FAMILY_OF:
        return name
    return _FAMILY_OF.get(name) or _FAMILY_OF.get(name.replace("-", "_").replace(" ", "_")) or name


def families_of(provider: str) -> tuple[str, ...]:
    """The families of rows to ask for a provider given in any spelling, in order; a name nobody knows is its own family."""
    family = row_family(canonical(provider))
    if family in _SEVERAL:
        return _SEVERAL[family]
    return (family, family.replace("-", "_")) if "-" in family else (family,)


def is_known(provider: str) -> bool:
    """True when the spelling is one of the table's, so that a model name's first part can be taken for a provider."""
    return provider in _FAMILY_OF or provider in _SEVERAL


def key_prefixes(family: str) -> tuple[str, ...]:
    """How keys of the family's rows begin; asked before the bare name."""
    return _KEY_PREFIXES.get(family) or (f"{family}/",)


def later_key_prefixes(family: str) -> tuple[str, ...]:
    """Beginnings that are asked after the bare name."""
    return _LATER_PREFIXES.get(family, ())


def own_names(family: str, key: str) -> tuple[str, ...]:
    """The names of a row within its family: its key (lower case), and the key without what the family's keys begin with."""
    return (key, *(key.removeprefix(prefix) for prefix in key_prefixes(family) if key.startswith(prefix)))
