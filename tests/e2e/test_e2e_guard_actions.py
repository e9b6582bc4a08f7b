"""Every action of the service has its effect in an application's guard: policies, approvals and a hard budget, enforced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from e2e_service import Service, http, running

from otel_finops.client import service as clients
from otel_finops.client.attribution import attribution
from otel_finops.client.faults import CallBlocked
from otel_finops.client.guard import guard
from otel_finops.client.guarded_call import GuardedCall
from otel_finops.client.settings import ClientSettings

POLICIES: list[dict[str, Any]] = [
    {"name": "not-this-one", "model": "gpt-4.1", "action": "block"},
    {"name": "ask-first", "model": "gpt-4.1-mini", "action": "require_approval"},
    {"name": "use-the-small-one", "model": "gpt-4o", "action": "downgrade", "downgrade_to": "gpt-4o-mini"},
    {"name": "one-a-second", "model": "gpt-4.1-nano", "action": "throttle", "rate": {"calls": 1, "per_s": 1}},
    {"name": "come-back", "model": "o3", "action": "queue", "retry_after_s": 7},
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.db'}", ENFORCEMENT__MODE="enforce") as one:
        for policy in POLICIES:
            told(one, "policies", **policy)
        told(one, "budgets", name="tight", amount="0.01", hard=True, scope={"purpose": "tight"})
        time.sleep(0.6)  # every process goes by what is stored within half a second
        yield one
        one.stop()


def told(service: Service, path: str, **body: Any) -> dict[str, Any]:
    answer = http("POST", f"{service.web}/api/v1/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.fixture
def guarded(service: Service) -> Callable[..., guard]:
    client = clients.Service(ClientSettings(service.web, timeout_s=10))
    return lambda model, **more: guard("openai", model, service=client, **more)


@contextmanager
def stopped(action: str) -> Iterator[list[CallBlocked]]:
    """The block, in which no call is made."""
    seen: list[CallBlocked] = []
    with pytest.raises(CallBlocked) as blocked:
        yield seen
    seen.append(blocked.value)
    assert blocked.value.action == action


def test_block(guarded: Callable[..., guard]) -> None:
    with stopped("block") as seen, guarded("gpt-4.1"):
        pytest.fail("the call was made")
    assert seen[0].http_status == 402
    assert (seen[0].reasons[0]["gate"], seen[0].reasons[0]["rule"]) == ("policy", "not-this-one")


def test_require_approval_until_somebody_approves_and_then_for_one_call(guarded: Callable[..., guard], service: Service) -> None:
    with stopped("require_approval") as seen, guarded("gpt-4.1-mini"):
        pytest.fail("the call was made")
    told(service, f"approvals/{seen[0].approval_id}/approve", why="a good reason")
    with guarded("gpt-4.1-mini") as call:
        assert call.decision.action == "allow"
    with stopped("require_approval"), guarded("gpt-4.1-mini"):
        pytest.fail("the call was made")


def test_downgrade(guarded: Callable[..., guard]) -> None:
    with guarded("gpt-4o") as call:
        assert call.model == "gpt-4o-mini"

    @guarded(None)
    def ask(*, model: str) -> str:
        return model

    assert ask(model="gpt-4o") == "gpt-4o-mini"


def test_throttle(guarded: Callable[..., guard]) -> None:
    """One call a second: of three that begin together the last one waits some two seconds, and one that will not wait is told to."""

    async def call(model: str) -> float:
        async with guarded(model):
            return time.monotonic()

    async def three() -> list[float]:
        return sorted(await asyncio.gather(*(call("gpt-4.1-nano") for _ in range(3))))

    first, second, third = asyncio.run(three())
    assert second - first > 0.8
    assert third - first > 1.7
    with stopped("throttle") as seen, guarded("gpt-4.1-nano", throttle="raise"):
        pytest.fail("the call was made")
    assert seen[0].retry_after_s is not None
    assert 0 < seen[0].retry_after_s <= 1


def test_queue(guarded: Callable[..., guard]) -> None:
    with stopped("queue") as seen, guarded("o3"):
        pytest.fail("the call was made")
    assert seen[0].retry_after_s == 7
    with stopped("queue"), guarded("o3", queue="wait", longest_wait_s=5):
        pytest.fail("the call was made")


def test_a_hard_budget_counts_what_is_held_and_then_what_it_came_to(guarded: Callable[..., guard]) -> None:
    """Of 0.01 USD 0.006 are held: there is no room for as much again, until it turns out that it cost 0.001."""
    with attribution(purpose="tight"):
        with guarded("gpt-5", estimate_usd="0.006") as call:
            call.used(actual_usd="0.001")
            with stopped("block") as seen, guarded("gpt-5", estimate_usd="0.006"):
                pytest.fail("the call was made")
            assert (seen[0].reasons[0]["gate"], seen[0].reasons[0]["rule"]) == ("budget", "tight")
        flush(call)
        with guarded("gpt-5", estimate_usd="0.006"):
            pass


def flush(call: GuardedCall) -> None:
    assert call._question.service.settlements.flush(10)
