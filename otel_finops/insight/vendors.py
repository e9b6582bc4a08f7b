"""Who sells, what the product is called, and who made the model: names for people and for other tools. No money depends on them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple


class Vendor(NamedTuple):
    """Names of one provider and model.

    Attributes:
        provider: who sells the calls.
        service: the product.
        publisher: who made the model; the provider where nobody knows.
    """

    provider: str
    service: str
    publisher: str


_SOLD_BY: Final = {
    "openai": ("OpenAI", "OpenAI API"),
    "azure": ("Microsoft", "Azure OpenAI Service"),
    "azure_ai": ("Microsoft", "Azure AI Foundry"),
    "anthropic": ("Anthropic", "Claude API"),
    "bedrock": ("AWS", "Amazon Bedrock"),
    "vertex_ai": ("Google Cloud", "Vertex AI"),
    "gemini": ("Google", "Gemini API"),
    "mistral": ("Mistral AI", "Mistral API"),
    "cohere": ("Cohere", "Cohere API"),
    "deepseek": ("DeepSeek", "DeepSeek API"),
    "xai": ("xAI", "xAI API"),
    "groq": ("Groq", "GroqCloud"),
    "perplexity": ("Perplexity", "Perplexity API"),
    "openrouter": ("OpenRouter", "OpenRouter"),
    "together_ai": ("Together AI", "Together AI"),
    "fireworks_ai": ("Fireworks AI", "Fireworks AI"),
    "ollama": ("Ollama", "Ollama"),
}
_MADE_BY: Final = (
    ("claude", "Anthropic"), ("gpt", "OpenAI"), ("chatgpt", "OpenAI"), ("gemini", "Google"), ("gemma", "Google"), ("llama", "Meta"),
    ("mistral", "Mistral AI"), ("mixtral", "Mistral AI"), ("codestral", "Mistral AI"), ("command", "Cohere"), ("deepseek", "DeepSeek"),
    ("qwen", "Alibaba Cloud"), ("grok", "xAI"), ("nova", "Amazon"), ("titan", "Amazon"),
)  # fmt: skip
"""Families of models by a part of their names, the first that is found; only of models that are sold by others than their makers."""
_MAKERS: Final = frozenset(("openai", "anthropic", "gemini", "mistral", "cohere", "deepseek", "xai", "perplexity"))
_NAMES_KNOWN: Final = 4_096


@lru_cache(maxsize=_NAMES_KNOWN)
def vendor_of(provider: str, model: str) -> Vendor:
    """The names of a provider family and a model, '' for not known."""
    seller, service = _SOLD_BY.get(provider, (provider or "Unknown", provider or "Unknown"))
    if provider in _MAKERS:
        return Vendor(seller, service, seller)
    name = model.lower()
    return Vendor(seller, service, next((maker for part, maker in _MADE_BY if part in name), seller))
