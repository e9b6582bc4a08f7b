"""Guardrails: what they are asked, what becomes of what they say, and of what they do not say in time and in order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from otel_finops.base.clock import SystemClock
from otel_finops.base.errors import StartRefused
from otel_finops.governance import guardrails as guardrails_module
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.decide import Asked
from otel_finops.governance.guardrails import AskedGuardrails, guardrails_of, question_of
from otel_finops.governance.rulings import Ruling
from otel_finops.settings import load
from otel_finops.settings.guardrails import Guardrail
from otel_finops.settings.guardrails import Guardrails as Settings

CENT = 10**10
CALL = GovernedCall(
    tenant="acme", provider="openai", model="gpt-4o", agent="planner", trace="a" * 32, tags={"team": "red"}, pico=35 * CENT, tokens=1100
)
ASKED = Asked("d1", CALL, "ann@example.org", "s1", {"input_tokens": 1000, "max_output_tokens": 100})


def said(answer: Any) -> Callable[[Any], Any]:
    """A guardrail that always says the same."""

    def ask(question: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def ruled(*guardrails: tuple[str, Any], **more: Any) -> Ruling | None:
    settings = {"ask": "json:loads", "timeout": 5.0, **more}
    askers = [(Guardrail(name=name, **settings), ask if callable(ask) else said(ask)) for name, ask in guardrails]
    return AskedGuardrails(askers, SystemClock()).rule(ASKED)


def test_what_a_guardrail_says_can_be_stored_whatever_it_is() -> None:
    ruling = ruled(("rude", {"verdict": "block", "reason": "one\0two\nthree\x1b[31m"}))
    assert ruling is not None
    assert ruling.reasons[0].text == "blocked by the guardrail rude: one two three [31m"
    halves = ruled(("broken", json.loads('{"verdict": "allow", "reason": "\\ud800"}')), fail="closed")  # half a character
    assert halves is not None
    assert (halves.action, "not in order" in halves.reasons[0].text) == ("block", True)


def test_a_guardrail_is_asked_about_the_call_and_never_about_its_content() -> None:
    assert question_of(ASKED) == {
        "decision_id": "d1",
        "call": {
            "tenant": "acme", "provider": "openai", "model": "gpt-4o", "operation": None, "user": "ann@example.org", "session": "s1",
            "agent": "planner", "step": None, "purpose": None, "cost_center": None, "service": None, "environment": None,
            "trace_id": "a" * 32, "tags": {"team": "red"},
        },
        "tokens": 1100,
        "counts": {"input_tokens": 1000, "max_output_tokens": 100},
        "estimate_usd": "0.35",
    }  # fmt: skip


@pytest.mark.parametrize("answer", [{"verdict": "allow"}, {"verdict": "allow", "reason": "fine"}, None])
def test_what_is_allowed_is_not_told(answer: Any) -> None:
    assert ruled(("pii", answer)) is None


def test_the_verdict_and_its_reason_reach_the_caller() -> None:
    blocked = ruled(("pii", {"verdict": "block", "reason": "a forbidden agent", "score": 0.9}))
    assert blocked is not None
    assert (blocked.action, blocked.reasons[0].text) == ("block", "blocked by the guardrail pii: a forbidden agent")
    flagged = ruled(("pii", {"verdict": "flag"}))
    assert flagged is not None
    assert (flagged.action, flagged.reasons[0].text, flagged.reasons[0].gate) == ("allow", "flagged by the guardrail pii", "guardrail")


def test_all_are_told_and_who_blocks_decides() -> None:
    ruling = ruled(("one", {"verdict": "flag"}), ("two", {"verdict": "block"}), ("three", None), ("four", {"verdict": "block"}))
    assert ruling is not None
    assert ruling.action == "block"
    assert [(one.rule, one.action) for one in ruling.reasons] == [("two", "block"), ("four", "block"), ("one", "allow")]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (OSError("secret.host is away"), "OSError"),
        ("block", "its answer is no object with a verdict"),
        ({}, "its answer is not in order"),
        ({"verdict": "maybe"}, "its answer is not in order"),
        ({"verdict": "block", "reason": "x" * 2_000}, "its answer is not in order"),
    ],
)
@pytest.mark.parametrize(("fail", "action"), [("open", "allow"), ("closed", "block")])
def test_who_does_not_answer_in_order_has_said_nothing(
    answer: Any, why: str, fail: str, action: str, caplog: pytest.LogCaptureFixture
) -> None:
    ruling = ruled(("pii", answer), fail=fail)
    assert ruling is not None
    assert ruling.action == action
    assert ruling.reasons[0].text.startswith(f"the guardrail pii could not be asked ({why})")
    assert "secret.host" not in ruling.reasons[0].text + caplog.text
    assert len(caplog.records) == 1


def test_who_takes_too_long_is_not_waited_for_and_all_are_asked_at_once() -> None:
    wait = threading.Event()
    slow = lambda question: (wait.wait(20), None)[1]  # noqa: E731
    began = time.monotonic()
    ruling = ruled(*((f"slow {number}", slow) for number in range(8)), ("quick", {"verdict": "flag"}), timeout=0.1)
    took = time.monotonic() - began
    wait.set()
    assert ruling is not None
    assert ruling.reasons[0].text == (
        "the guardrail slow 0 could not be asked (it did not answer within 0.1 s); the call passes (fail: open)"
    )
    assert ruling.reasons[-1].text == "flagged by the guardrail quick"
    assert took < 0.1 * 8


def test_only_so_many_calls_are_asked_about_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardrails_module, "GUARDRAIL_CALLS_MAX", 1)
    wait, asked = threading.Event(), list[int]()

    def ask(question: Any) -> Any:
        asked.append(1)
        wait.wait(20)

    guardrails = AskedGuardrails([(Guardrail(name="slow", ask="json:loads", timeout=0.05, fail="closed"), ask)], SystemClock())
    answers = [guardrails.rule(ASKED) for _ in range(3)]
    wait.set()
    assert len(asked) == 1
    assert answers[2] is not None
    assert "it is asked too often at a time" in answers[2].reasons[0].text


def test_trouble_is_logged_once_for_each_time_of_it(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Any] = [OSError(), OSError(), {"verdict": "allow"}, OSError()]
    guardrails = AskedGuardrails([(Guardrail(name="pii", ask="json:loads", timeout=5.0), lambda _: said(answers.pop(0))(_))], SystemClock())
    for _ in range(4):
        guardrails.rule(ASKED)
    assert [record.getMessage() for record in caplog.records] == ["the guardrail pii fails, calls pass meanwhile: OSError"] * 2


# --- an endpoint ---------------------------------------------------------------------------------------------------


class Endpoint(ThreadingHTTPServer):
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], Any]] = []
        self.status, self.answer = 200, b'{"verdict": "flag", "reason": "a new agent"}'

        class Handler(BaseHTTPRequestHandler):
            server: Endpoint

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.server.asked.append(({name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
                self.send_response(self.server.status)
                self.send_header("content-length", str(len(self.server.answer)))
                self.send_header("location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()
                self.wfile.write(self.server.answer)

            def log_message(self, *_: Any) -> None:
                """Silent."""

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def over(endpoint: Endpoint) -> Ruling | None:
    ask = json.dumps([{"name": "pii", "ask": f"http://127.0.0.1:{endpoint.server_port}/ask", "headers": {"x-key": "ours"}, "timeout": 5}])
    found = guardrails_of(load(None, {"OTEL_FINOPS_GUARDRAILS__ASK": ask}).guardrails, SystemClock())
    assert found is not None
    return found.rule(ASKED)


def test_an_endpoint_is_sent_the_call_and_answers_with_its_verdict(endpoint: Endpoint) -> None:
    ruling = over(endpoint)
    assert ruling is not None
    assert ruling.reasons[0].text == "flagged by the guardrail pii: a new agent"
    [(headers, question)] = endpoint.asked
    assert (headers["x-key"], headers["content-type"]) == ("ours", "application/json")
    assert question == question_of(ASKED)


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        (302, b"", "it answered 302"),
        (500, b"{}", "it answered 500"),
        (200, b"no json", "JSONDecodeError"),
        (200, b'{"verdict": "allow", "reason": "' + b"x" * 20_000, "its answer is larger than 16384 bytes"),
    ],
)
def test_an_endpoint_that_answers_anything_else_has_said_nothing(endpoint: Endpoint, status: int, answer: bytes, why: str) -> None:
    endpoint.status, endpoint.answer = status, answer
    ruling = over(endpoint)
    assert ruling is not None
    assert f"could not be asked ({why})" in ruling.reasons[0].text
    assert len(endpoint.asked) == 1  # no redirect is followed, nothing is tried again


# --- settings ------------------------------------------------------------------------------------------------------


def test_a_function_is_named_by_its_place() -> None:
    found = guardrails_of(Settings(ask=(Guardrail(name="odd", ask="builtins:dict", timeout=5.0),)), SystemClock())
    assert found is not None
    assert found.rule(ASKED) is not None  # `dict` gives the question back, which is no verdict
    assert guardrails_of(Settings(), SystemClock()) is None


@pytest.mark.parametrize("name", ["no_such_module_anywhere:ask", "json:no_such_function", "json:__doc__"])
def test_a_function_that_is_not_there_refuses_the_start(name: str) -> None:
    with pytest.raises(StartRefused, match=rf"guardrails.ask \(pii\): {name}"):
        guardrails_of(Settings(ask=(Guardrail(name="pii", ask=name),)), SystemClock())


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ([{"name": "a", "ask": "http://elsewhere/x"}], "calls are sent there: write https://HOST/PATH"),
        ([{"name": "a", "ask": "https://user:secret@elsewhere/x"}], "send them by the guardrail's headers"),
        ([{"name": "a", "ask": "not a name"}], "not a guardrail; write"),
        ([{"name": "a", "ask": ""}], "at least 1 character"),
        ([{"name": "a", "ask": "json:loads"}, {"name": "a", "ask": "json:dumps"}], "two guardrails have the same name"),
        ([{"name": "a", "ask": "json:loads", "timeout": 0}], "greater than 0"),
        ([{"name": "a", "ask": "json:loads", "fail": "ajar"}], "'open' or 'closed'"),
    ],
)
def test_what_can_be_no_guardrail_refuses_the_start(ask: Any, says: str) -> None:
    with pytest.raises(StartRefused) as caught:
        load(None, {"OTEL_FINOPS_GUARDRAILS__ASK": json.dumps(ask)})
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
