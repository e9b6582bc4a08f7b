from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from otel_finops.demo.provider import BROKEN, THROTTLED, FakeProvider, fault_of
from otel_finops.testing import CountingIds

LONG = "Refunds are granted within thirty days. " * 200


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    provider = FakeProvider(seed=3, ids=CountingIds())
    with httpx.Client(base_url=provider.url, timeout=10) as session:
        yield session
    provider.close()


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
    """Sends bodies that differ in a field that nobody reads, until one is not among the failing ones."""
    for attempt in range(5):
        response = client.post(path, json={**body, "user": str(attempt)})
        if response.status_code == 200:
            return response
    raise AssertionError(response.text)


def test_chat_reports_usage_with_cached_and_reasoning_tokens_as_parts(client: httpx.Client) -> None:
    answers = [
        post(client, "/v1/chat/completions", {"model": "gpt-5-mini", "messages": [{"role": "user", "content": f"{LONG}{i}"}]}).json()
        for i in range(8)
    ]
    for answer in answers:
        usage = answer["usage"]
        assert answer["model"] == "gpt-5-mini-2025-08-07"
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert usage["prompt_tokens_details"]["cached_tokens"] % 128 == 0
        assert 0 <= usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]
        assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]
    assert any(answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers)
    assert len({answer["id"] for answer in answers}) == 8


def test_the_same_request_gets_the_same_answer_under_a_new_id(client: httpx.Client) -> None:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}]}
    first, second = (post(client, "/v1/chat/completions", body).json() for _ in range(2))
    assert first.pop("id") != second.pop("id")
    assert first == second


def test_tools_are_called_until_their_result_is_there(client: httpx.Client) -> None:
    tool = {"type": "function", "function": {"name": "look_up"}}
    asked = {"model": "gpt-4.1", "tools": [tool], "messages": [{"role": "user", "content": "?"}]}
    answer = post(client, "/v1/chat/completions", asked).json()["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    assert answer["message"]["tool_calls"][0]["function"]["name"] == "look_up"
    asked["messages"].append({"role": "tool", "content": "found"})  # type: ignore[attr-defined]
    assert post(client, "/v1/chat/completions", asked).json()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_ends_with_usage_only_when_asked_for(client: httpx.Client, asked: bool) -> None:
    body = {"model": "gpt-4o", "stream": True, "stream_options": {"include_usage": asked}, "messages": [{"role": "user", "content": "hi"}]}
    events = [line[6:] for line in post(client, "/v1/chat/completions", body).text.splitlines() if line]
    assert events[-1] == "[DONE]"
    usages = [chunk["usage"] for chunk in map(json.loads, events[:-1]) if chunk["usage"]]
    assert len(usages) == (1 if asked else 0)


def test_responses_and_embeddings(client: httpx.Client) -> None:
    response = post(client, "/v1/responses", {"model": "gpt-4o-mini", "input": LONG}).json()
    assert response["usage"]["input_tokens"] > 1000
    assert response["usage"]["output_tokens"] == response["usage"]["total_tokens"] - response["usage"]["input_tokens"]
    embedded = post(
        client, "/v1/embeddings", {"model": "text-embedding-3-small", "input": ["x" * 40, "y" * 8], "encoding_format": "base64"}
    ).json()
    assert embedded["usage"] == {"prompt_tokens": 12, "total_tokens": 12}  # four characters a token: 10 + 2
    assert [len(base64.b64decode(item["embedding"])) for item in embedded["data"]] == [64 * 4, 64 * 4]


def test_anthropic_leaves_cached_tokens_out_of_the_input(client: httpx.Client) -> None:
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    body = {"model": "claude-haiku-4-5", "max_tokens": 10, "system": system, "messages": [{"role": "user", "content": "hi"}]}
    usage = post(client, "/v1/messages", body).json()["usage"]
    assert usage["input_tokens"] < 100
    assert usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"] > 1900
    events = post(client, "/v1/messages", {**body, "stream": True}).text
    assert events.startswith("event: message_start")
    assert events.rstrip().endswith('data: {"type": "message_stop"}')


def test_some_requests_fail_once_and_few_for_good() -> None:
    bodies = [str(number).encode() for number in range(10_000)]
    first = [fault_of(1, body, 0) for body in bodies]
    again = [fault_of(1, body, 1) for body in bodies]
    assert 200 < first.count(THROTTLED) < 400
    assert 50 < first.count(BROKEN) < 150
    assert again.count(THROTTLED) == 0
    assert again.count(BROKEN) == first.count(BROKEN)


def test_what_it_does_not_know_it_refuses(client: httpx.Client) -> None:
    assert client.post("/v1/unknown", json={"unknown": 7}).status_code == 404
    assert client.post("/v1/messages", content=b"not json at all").status_code == 400
