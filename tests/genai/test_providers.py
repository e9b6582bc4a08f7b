"""Who bills, and by which name the price is found."""

from __future__ import annotations

import pytest

from otel_finops.genai.providers import host_of, price_models, provider_family, region_at, route_family


@pytest.mark.parametrize(
    ("value", "family"),
    [
        ("openai", "openai"), ("OpenAI", "openai"), ("openai.responses", "openai"), ("Anthropic", "anthropic"),
        ("anthropic.messages", "anthropic"),
        ("aws", "bedrock"), ("aws.bedrock", "bedrock"), ("amazon_bedrock", "bedrock"), ("azure.ai.openai", "azure"),
        ("az.ai.inference", "azure_ai"),
        ("azure.ai.inference", "azure_ai"), ("gemini", "gemini"), ("google", "gemini"), ("gcp.gen_ai", "gemini"), ("gcp.gemini", "gemini"),
        ("gcp.vertex_ai", "vertex_ai"), ("google_vertexai", "vertex_ai"), ("mistral_ai", "mistral"), ("MistralAI", "mistral"),
        ("Cohere", "cohere"),
        ("x_ai", "xai"), ("deepseek", "deepseek"), ("groq", "groq"), ("moonshot_ai", "moonshot"), ("ibm.watsonx.ai", "watsonx"),
        ("Our-Own-LLM", "our-own-llm"),
    ],
)  # fmt: skip
def test_many_spellings_are_one_family(value: str, family: str) -> None:
    assert provider_family((value,), None) == family


@pytest.mark.parametrize(
    "value", ["langchain", "langgraph", "crewai", "strands-agents", "microsoft.agent_framework", "gcp.vertex.agent", "litellm"]
)
def test_a_frameworks_name_says_nothing(value: str) -> None:
    assert provider_family((value,), None) is None
    assert provider_family((value, "anthropic"), None) == "anthropic"
    assert provider_family((value,), "api.groq.com") == "groq"


def test_a_known_host_beats_openai() -> None:
    assert provider_family(("openai",), "https://openrouter.ai/api/v1") == "openrouter"
    assert provider_family(("openai",), "my.openai.azure.com:443") == "azure"
    assert provider_family(("openai",), "api.deepseek.com") == "deepseek"


def test_a_resellers_host_beats_the_maker() -> None:
    assert provider_family(("anthropic",), "bedrock-runtime.eu-west-1.amazonaws.com") == "bedrock"
    assert provider_family(("anthropic",), "us-east5-aiplatform.googleapis.com") == "vertex_ai"


def test_other_hosts_change_nothing() -> None:
    assert provider_family(("openai",), "127.0.0.1") == "openai"
    assert provider_family(("anthropic",), "api.openai.com") == "anthropic"
    assert provider_family(("azure_ai",), "x.openai.azure.com") == "azure_ai"
    assert provider_family((), "openai.azure.com.evil.example") is None


def test_hosts_are_found_in_urls() -> None:
    assert host_of("https://user@API.OpenAI.com:443/v1?x=1") == "api.openai.com"
    assert host_of("127.0.0.1:21111") == "127.0.0.1"


def test_some_hosts_tell_the_region() -> None:
    assert region_at("https://europe-west1-aiplatform.googleapis.com/v1") == ("europe-west1", "vertex_location")
    assert region_at("bedrock-runtime.us-west-2.amazonaws.com") == ("us-west-2", "bedrock_region")
    assert region_at("eu.api.openai.com") == ("eu", "data_residency")
    assert region_at("api.openai.com") is None


def test_the_answering_model_is_billed() -> None:
    assert price_models("openai", "gpt-4o", "gpt-4o-2024-08-06") == ("gpt-4o-2024-08-06", "gpt-4o")
    assert price_models("azure", "my-prod-deployment", None) == ("my-prod-deployment",)
    assert price_models("openai", "gpt-4o", "gpt-4o") == ("gpt-4o",)
    assert price_models(None, None, None) == ()


def test_on_bedrock_and_vertex_the_model_asked_for_chooses_the_price() -> None:
    asked = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert price_models("bedrock", asked, "claude-sonnet-4-5-20250929") == (asked, "claude-sonnet-4-5-20250929")
    assert price_models("vertex_ai", None, "claude-sonnet-4-5") == ("claude-sonnet-4-5",)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("anthropic/claude-sonnet-4-5", "anthropic"),
        ("openrouter/anthropic/claude-sonnet-4.5", "openrouter"),
        ("azure/my-prod-deployment", "azure"),
        ("gpt-4o", None),
        ("meta-llama/Llama-3-70b", None),
        ("", None),
    ],
)
def test_a_route_in_front_of_a_model_names_its_provider(model: str, family: str | None) -> None:
    assert route_family(model) == family
