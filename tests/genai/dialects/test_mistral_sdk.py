"""Mistral's own SDK: one span for each request."""

from __future__ import annotations

from typing import Any

from span_making import sighting

from otel_finops.genai.sighting import CALL, RANK_VENDOR_SDK, Sighting

SCOPE = "mistralai_sdk_tracer"


def request(name: str, **attributes: Any) -> Sighting:
    return sighting({f"gen_ai.{key.replace('__', '.')}": value for key, value in attributes.items()}, scope=SCOPE, name=name, kind=1)


def test_version_1_mixes_old_and_new_names() -> None:
    seen = request(
        "chat_completion_v1_chat_completions_post", provider__name="mistral_ai", request__model="m", usage__prompt_tokens=1213,
        usage__output_tokens=419,
    )  # fmt: skip
    assert (seen.kind, seen.dialect, seen.provider, seen.operation, seen.rank) == (CALL, "mistral_sdk", "mistral", "chat", RANK_VENDOR_SDK)
    assert seen.usage == {"input_uncached": 1213, "output": 419}


def test_its_streams_have_a_model_alone() -> None:
    seen = request("stream_chat", request__model="m")
    assert (seen.provider, seen.operation, seen.streaming, seen.missing_reason) == ("mistral", "chat", True, "no_usage_stream")


def test_a_request_to_a_hosted_agent_is_a_call_like_any_other() -> None:
    """Beside other calls of its trace it would count as their sum if it were an agent's span."""
    seen = request("invoke_agent", operation__name="invoke_agent", usage__input_tokens=1516, usage__output_tokens=512)
    assert (seen.kind, seen.usage) == (CALL, {"input_uncached": 1516, "output": 512})


def test_requests_of_other_kinds_are_named() -> None:
    assert request("embeddings_v1_embeddings_post", request__model="m", usage__prompt_tokens=7).operation == "embeddings"
    assert request("fim_completion_v1_fim_completions_post", request__model="m").operation == "text_completion"
