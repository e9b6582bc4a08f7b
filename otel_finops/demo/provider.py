"""A model provider on a loopback port: OpenAI's chat, responses and embeddings, Anthropic's messages, with usage as they report it.

Nothing leaves the machine. The answer, its token counts and its failures follow from the seed and the request; only the ids of
answers are new each time, as a provider's are.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from otel_finops.base.ids import IdSource, RandomIds

Json: TypeAlias = dict[str, Any]

_BODY_BYTES_MAX: Final = 4 * 1024 * 1024
_DIMENSIONS: Final = 64
_CHARS_PER_TOKEN: Final = 4
_CACHE_BLOCK: Final = 128
_CACHED_PROMPT_MIN: Final = 1024
"""Prompts are cached from 1,024 tokens on, in blocks of 128."""
_THROTTLED_SHARE: Final = 0.03
"""Requests answered 429 at their first attempt; the clients' retry succeeds."""
_BROKEN_SHARE: Final = 0.01
"""Requests answered 500 at every attempt."""
_SERVED_AS: Final = {
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4o": "gpt-4o-2024-08-06",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
}
_REASONING_MODELS: Final = ("gpt-5",)
_WORDS: Final = (
    "the", "order", "was", "shipped", "on", "Monday", "and", "the", "refund", "is", "on",
    "its", "way", "please", "check", "the", "invoice", "again", "thank", "you",
)  # fmt: skip


class Fault(NamedTuple):
    """An error answer."""

    status: int
    kind: str
    message: str


THROTTLED: Final = Fault(429, "rate_limit_error", "Rate limit reached, please try again in 20ms.")
BROKEN: Final = Fault(500, "api_error", "The server had an error while processing your request.")
NOT_FOUND: Final = Fault(404, "not_found_error", "There is no such path here.")
NO_JSON: Final = Fault(400, "invalid_request_error", "The request body is no JSON object.")


class _Answer(NamedTuple):
    """What a request will be answered, before it takes a vendor's form."""

    rng: Random
    ids: IdSource
    model: str
    prompt: int
    cached: int
    output: int
    reasoning: int
    text: str

    def identifier(self, prefix: str) -> str:
        return prefix + "x" + self.ids.token(12)


def _answer(seed: int, ids: IdSource, request: Json, body: bytes) -> _Answer:
    rng = Random(hashlib.sha256(seed.to_bytes(8, "big") + body).digest())  # noqa: S311 - repeatable, no secret
    asked = str(request.get("model", ""))
    prompt = max(8, len(body) // _CHARS_PER_TOKEN)
    cached = 0
    if prompt >= _CACHED_PROMPT_MIN and rng.random() < 0.6:
        cached = int(prompt * rng.uniform(0.4, 0.9)) // _CACHE_BLOCK * _CACHE_BLOCK
    output = rng.randint(40, 480)
    reasoning = rng.randint(1, output // 64 + 1) * 64 if asked.startswith(_REASONING_MODELS) else 0
    text = " ".join(rng.choices(_WORDS, k=24))
    return _Answer(rng, ids, _SERVED_AS.get(asked, asked), prompt, cached, output + reasoning, reasoning, text)


def fault_of(seed: int, body: bytes, attempt: int) -> Fault | None:
    """The failure of a request at its `attempt` (0 for the first), None for success."""
    chance = Random(hashlib.sha256(b"fault" + seed.to_bytes(8, "big") + body).digest()).random()  # noqa: S311 - repeatable, no secret
    if chance < _BROKEN_SHARE:
        return BROKEN
    if chance < _BROKEN_SHARE + _THROTTLED_SHARE and attempt == 0:
        return THROTTLED
    return None


def _wants_tool(request: Json) -> bool:
    messages = request.get("messages") or [{}]
    return bool(request.get("tools")) and messages[-1].get("role") != "tool"


def _openai_usage(answer: _Answer) -> Json:
    return {
        "prompt_tokens": answer.prompt,
        "completion_tokens": answer.output,
        "total_tokens": answer.prompt + answer.output,
        "prompt_tokens_details": {"cached_tokens": answer.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _chat(answer: _Answer, request: Json) -> Json:
    message: Json = {"role": "assistant", "content": answer.text, "refusal": None}
    reason = "stop"
    if _wants_tool(request):
        function = request["tools"][0]["function"]["name"]
        call = {"id": answer.identifier("call_"), "type": "function", "function": {"name": function, "arguments": '{"order": "A-1042"}'}}
        message, reason = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}, "tool_calls"
    return {
        "id": answer.identifier("chatcmpl-"),
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": _openai_usage(answer),
        "service_tier": "default",
        "system_fingerprint": "fp_demo",
    }


def _chat_stream(answer: _Answer, request: Json) -> Iterator[bytes]:
    whole = _chat(answer, {**request, "tools": None})
    head = {key: whole[key] for key in ("id", "created", "model", "system_fingerprint", "service_tier")} | {
        "object": "chat.completion.chunk"
    }
    deltas: list[tuple[Json, str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word + " "}, None) for word in answer.text.split()]
    for delta, reason in [*deltas, ({}, "stop")]:
        yield _event({**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}], "usage": None})
    if (request.get("stream_options") or {}).get("include_usage"):
        yield _event({**head, "choices": [], "usage": whole["usage"]})
    yield b"data: [DONE]\n\n"


def _responses(answer: _Answer) -> Json:
    content = [{"type": "output_text", "text": answer.text, "annotations": []}]
    message = {"type": "message", "id": answer.identifier("msg_"), "status": "completed", "role": "assistant", "content": content}
    return {
        "id": answer.identifier("resp_"),
        "object": "response",
        "created_at": 1_790_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": [message],
        "parallel_tool_calls": True,
        "service_tier": "default",
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": answer.prompt,
            "input_tokens_details": {"cached_tokens": answer.cached},
            "output_tokens": answer.output,
            "output_tokens_details": {"reasoning_tokens": answer.reasoning},
            "total_tokens": answer.prompt + answer.output,
        },
    }


def _embeddings(answer: _Answer, request: Json) -> Json:
    texts = request["input"] if isinstance(request.get("input"), list) else [request.get("input", "")]
    data = []
    for index, _ in enumerate(texts):
        vector = [answer.rng.uniform(-1, 1) for _ in range(_DIMENSIONS)]
        packed = base64.b64encode(struct.pack(f"<{_DIMENSIONS}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": packed if request.get("encoding_format") == "base64" else vector})
    tokens = sum(max(1, len(str(text)) // _CHARS_PER_TOKEN) for text in texts)
    return {"object": "list", "data": data, "model": answer.model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def _anthropic_usage(answer: _Answer, request: Json) -> Json:
    """Input tokens leave cached ones out; a marked system prompt is written to the cache once and read from then on."""
    marked = "cache_control" in json.dumps(request.get("system", ""))
    shared = len(json.dumps(request.get("system", ""))) // _CHARS_PER_TOKEN if marked else 0
    written = shared if shared and answer.rng.random() < 0.1 else 0
    return {
        "input_tokens": max(1, answer.prompt - shared),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": shared - written,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": answer.output,
        "service_tier": "standard",
    }


def _message(answer: _Answer, request: Json) -> Json:
    return {
        "id": answer.identifier("msg_01"),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [{"type": "text", "text": answer.text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _anthropic_usage(answer, request),
    }


def _message_stream(answer: _Answer, request: Json) -> Iterator[bytes]:
    whole = _message(answer, request)
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    yield _named_event({"type": "message_start", "message": begun})
    yield _named_event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    for word in answer.text.split():
        yield _named_event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word + " "}})
    yield _named_event({"type": "content_block_stop", "index": 0})
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _named_event({"type": "message_delta", "delta": ended, "usage": {"output_tokens": answer.output}})
    yield _named_event({"type": "message_stop"})


def _event(data: Json) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def _named_event(data: Json) -> bytes:
    return f"event: {data['type']}\n".encode() + _event(data)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seed: ClassVar[int] = 0
    ids: ClassVar[IdSource] = RandomIds()

    def do_POST(self) -> None:
        """Answer one call."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _BODY_BYTES_MAX))
        fault = fault_of(self.seed, body, int(self.headers.get("x-stainless-retry-count") or 0))
        if fault:
            self._refuse(fault)
            return
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if isinstance(request, dict):
            self._route(request, _answer(self.seed, self.ids, request, body))
        else:
            self._refuse(NO_JSON)

    def _route(self, request: Json, answer: _Answer) -> None:
        streamed = bool(request.get("stream"))
        match self.path:
            case "/v1/chat/completions" if streamed:
                self._stream(_chat_stream(answer, request))
            case "/v1/chat/completions":
                self._send(200, _chat(answer, request))
            case "/v1/responses":
                self._send(200, _responses(answer))
            case "/v1/embeddings":
                self._send(200, _embeddings(answer, request))
            case "/v1/messages" if streamed:
                self._stream(_message_stream(answer, request))
            case "/v1/messages":
                self._send(200, _message(answer, request))
            case _:
                self._refuse(NOT_FOUND)

    def _refuse(self, fault: Fault) -> None:
        self._send(fault.status, {"type": "error", "error": {"type": fault.kind, "code": fault.kind, "message": fault.message}})

    def _send(self, status: int, answer: Json) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == THROTTLED.status:
            self.send_header("retry-after-ms", "20")
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, events: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the applications' spans tell the story."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class FakeProvider:
    """The provider, serving until it is closed.

    Args:
        seed: other seeds give other answers.
        ids: where the ids of answers come from.
        port: 0 for a free one.
    """

    def __init__(self, seed: int = 1, ids: IdSource | None = None, port: int = 0) -> None:
        handler = type("Handler", (_Handler,), {"seed": seed, "ids": ids or RandomIds()})
        self._server = _Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="demo-provider", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Base URL without a path."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
