"""A service that answers decisions as it is told and remembers what it was asked, on a loopback port."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    body: dict[str, Any]
    token: str | None


class FakeService:
    """Answers `POST /api/v1/decisions` and settlements.

    Attributes:
        asked: every request, in order.
        action: what decisions answer.
        extra: further fields of their answers.
        status: of every answer; other than 200 the body is a problem.
        headers: further headers of every answer.
        delay_s: how long an answer takes; `drip_s` for how long each of its bytes takes.
        answers: bodies of answers by path.
        missing: paths that are answered 404.
        refused: paths that are answered with another status.
        strange_tenants: that the token does not speak for: questions that name them are answered 404.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.action = "allow"
        self.extra: dict[str, Any] = {}
        self.status = 200
        self.headers: dict[str, str] = {}
        self.delay_s = 0.0
        self.drip_s = 0.0
        self.connections = 0
        self.answers: dict[str, dict[str, Any]] = {}
        self.missing: set[str] = set()
        self.refused: dict[str, int] = {}
        self.strange_tenants: set[str] = set()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                service.connections += 1
                super().setup()

            def do_POST(self) -> None:
                service.serve(self)

            def do_GET(self) -> None:
                service.serve(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hangs up is part of the tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """What decisions were asked for."""
        return [asked.body for asked in self.asked if asked.path == "/api/v1/decisions"]

    @property
    def settled(self) -> dict[str, dict[str, Any]]:
        """Which reservations were settled, and with what."""
        parts = [(asked.path.split("/"), asked.body) for asked in self.asked if asked.path.endswith("/settle")]
        return {path[-2]: body for path, body in parts}

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.asked.append(Asked(handler.command, handler.path, json.loads(body) if body else {}, handler.headers.get("Authorization")))
        time.sleep(self.delay_s)
        answer = json.dumps(self._answer(handler.path)).encode()
        handler.send_response(self._status(handler.path))
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(answer)))
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        for start in range(0, len(answer), 1 if self.drip_s else len(answer)):
            time.sleep(self.drip_s)
            handler.wfile.write(answer[start : start + 1] if self.drip_s else answer)

    def _status(self, path: str) -> int:
        body = self.asked[-1].body
        if any(one.get("tenant") in self.strange_tenants for one in (body, *body.get("calls", ()))):
            return 404
        return 404 if path in self.missing else self.refused.get(path, self.status)

    def _answer(self, path: str) -> dict[str, Any]:
        if self._status(path) >= 300:
            return {"type": "about:blank", "title": "Refused", "status": self._status(path), "detail": "the token is not known"}
        if path in self.answers:
            return self.answers[path]
        if path.endswith("/decisions"):
            return self._decision()
        return {}

    def _decision(self) -> dict[str, Any]:
        number = len(self.decisions)
        lets = self.action in ("allow", "downgrade")
        reason = {"gate": "budget", "action": self.action, "rule": "team", "rule_id": "b1", "text": "Budget team: 10 of 10 USD spent."}
        return {
            "decision_id": f"d{number}",
            "action": self.action,
            "http_status": 200 if lets else 402,
            "reasons": [] if self.action == "allow" else [reason],
            "reservation_id": f"r{number}" if lets else None,
            "expires_at": None,
            "estimate_usd": "0.01",
            **self.extra,
        }

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
