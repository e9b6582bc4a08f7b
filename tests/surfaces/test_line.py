"""Requests that are asked with every model call are answered together, and nobody waits for long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.identity.principals import LOCAL
from otel_finops.operations.context import Context
from otel_finops.operations.decisions import create
from otel_finops.operations.registry import Json, Together
from otel_finops.settings.features import Features
from otel_finops.settings.tree import Settings
from otel_finops.surfaces.api import line as line_module
from otel_finops.surfaces.api.line import Line
from otel_finops.surfaces.web.gate import Gate


class Office:
    """A line, and an operation that answers with the model that is asked for."""

    def __init__(self, patience_s: float = 30.0, *, waits: bool = False) -> None:
        self.groups: list[list[str]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.together = Together(self.prepare, self.finish, lambda _, model: {"late": model}, lambda _: waits)
        self.one = create._replace(together=self.together)
        self.pool = ThreadPoolExecutor(4)
        settings = Settings()
        self.context = cast("Context", SimpleNamespace(features=Features(), settings=settings))
        self.line = Line(self.context, Gate(lambda token: LOCAL), self.pool, patience_s)

    def prepare(self, _: Any, __: Any, given: Any) -> str:
        if given.model == "bad":
            raise BadInput("no such model")
        if given.model == "broken":
            raise ZeroDivisionError
        return str(given.model)

    def finish(self, _: Any, models: Sequence[str]) -> list[Json | NotFound]:
        assert self.go_on.wait(30)
        self.groups.append(list(models))
        if "fatal" in models:
            raise ZeroDivisionError
        return [NotFound("nothing") if model == "none" else {"model": model} for model in models]

    async def ask(self, model: str) -> Response:
        body = orjson.dumps({"provider": "openai", "model": model})
        scope = {
            "type": "http", "method": "POST", "path": "/api/v1/decisions", "query_string": b"", "path_params": {},
            "state": {"request_id": "r1"}, "client": ("127.0.0.1", 1), "headers": [(b"content-type", b"application/json")],
        }  # fmt: skip
        return await self.line.answered(self.one, self.together, Request(scope), body)

    def ask_all(self, *models: str) -> list[tuple[int, Any]]:
        """Ask at the same moment; status and answer of each."""

        async def asked() -> list[Response]:
            return list(await asyncio.gather(*(self.ask(model) for model in models)))

        return [(one.status_code, orjson.loads(one.body)) for one in asyncio.run(asked())]


def test_those_who_wait_at_a_time_are_answered_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is taken alone, or with whoever came at once; while it is answered the others gather."""
    office = Office()
    office.go_on.clear()
    threading.Timer(0.2, office.go_on.set).start()
    models = [f"m{number}" for number in range(20)]
    assert office.ask_all(*models) == [(200, {"model": model}) for model in models]
    assert sorted(model for group in office.groups for model in group) == sorted(models)
    assert len(office.groups) <= 2


def test_a_group_has_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "DECISIONS_TOGETHER_MAX", 3)
    office = Office()
    office.go_on.clear()
    threading.Timer(0.1, office.go_on.set).start()
    assert len(office.ask_all(*"abcdefgh")) == 8
    assert max(map(len, office.groups)) == 3


def test_who_asks_wrongly_is_refused_and_the_others_are_answered() -> None:
    office = Office()
    answers = office.ask_all("a", "bad", "b", "none", "broken")
    assert [status for status, _ in answers] == [200, 400, 200, 404, 500]
    assert answers[1][1]["detail"] == "no such model"
    assert office.ask_all("c") == [(200, {"model": "c"})]


def test_a_fault_of_ours_is_told_to_all_of_the_group_and_the_line_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    office = Office()
    [(status, answer)] = office.ask_all("fatal")
    assert (status, "request's id" in answer["detail"]) == (500, True)
    assert "decisions.create failed" in caplog.text
    assert office.ask_all("a") == [(200, {"model": "a"})]


def test_who_waited_for_long_is_answered_without_the_others() -> None:
    office = Office(patience_s=0.05)
    office.go_on.clear()
    try:
        assert office.ask_all("a", "b") == [(200, {"late": "a"}), (200, {"late": "b"})]
        assert office.ask_all("bad")[0][0] == 400
    finally:
        office.go_on.set()


def test_where_nobody_can_say_what_is_answered_then_he_is_told_to_ask_again() -> None:
    office = Office(patience_s=0.05)
    office.together = office.together._replace(late=None)
    office.go_on.clear()
    try:
        assert office.ask_all("a")[0][0] == 503
    finally:
        office.go_on.set()


def test_a_line_that_is_too_long_takes_nobody_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "DECISIONS_WAITING_MAX", 2)
    office = Office()
    office.go_on.clear()
    threading.Timer(0.2, office.go_on.set).start()
    answers = office.ask_all(*"abcdefgh")
    assert [answer for _, answer in answers if "late" in answer]
    assert [answer for _, answer in answers if "model" in answer]


def test_what_takes_long_to_prepare_is_prepared_aside() -> None:
    """Two that wait for each other: on one thread they would for ever."""
    office = Office(waits=True)
    meeting = threading.Barrier(2, timeout=30)

    def prepare(_: Any, __: Any, given: Any) -> str:
        meeting.wait()
        return str(given.model)

    office.together = office.together._replace(prepare=prepare)
    office.one = office.one._replace(together=office.together)
    assert office.ask_all("a", "b") == [(200, {"model": "a"}), (200, {"model": "b"})]
