"""What the client makes of the service's decisions, and of their absence."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from decimal import Decimal

import pytest
from fake_service import FakeService

from otel_finops.client.decisions import Decision, DecisionDesk
from otel_finops.client.settings import ClientSettings

CALL = {"provider": "openai", "model": "gpt-4o", "agent": None}


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService()
    yield fake
    fake.close()


def desk(service: FakeService, fail: str = "open") -> DecisionDesk:
    return DecisionDesk(
        ClientSettings.from_environment({"OTEL_FINOPS_URL": service.url, "OTEL_FINOPS_FAIL": fail, "OTEL_FINOPS_PAUSE": "0"})
    )


def test_a_call_that_is_allowed_has_a_reservation(service: FakeService) -> None:
    decision = desk(service).ask(CALL)
    assert (decision.action, decision.halts, decision.reservation_id, decision.estimate_usd) == ("allow", False, "r1", "0.01")


def test_what_is_unknown_is_not_sent_and_every_question_has_a_key(service: FakeService) -> None:
    asking = desk(service)
    asking.ask(CALL)
    asking.ask({**CALL, "idempotency_key": "mine", "agent": "a\0" * 300})
    first, second = service.decisions
    assert len(first.pop("idempotency_key")) == 32
    assert first == {"provider": "openai", "model": "gpt-4o"}
    assert (second["idempotency_key"], second["agent"]) == ("mine", "a" * 255 + "…")


@pytest.mark.parametrize("action", ["block", "require_approval", "throttle", "queue"])
def test_halting_decisions_say_why_and_what_to_do(service: FakeService, action: str) -> None:
    service.action = action
    wait = 12.5 if action in ("throttle", "queue") else None
    service.extra = {"retry_after_s": wait, "approval_id": "ap1" if action == "require_approval" else None}
    decision = desk(service).ask(CALL)
    assert decision.halts
    fault = decision.blocked()
    todo = {"block": "", "require_approval": " Have it approved (approval ap1) and try again."}.get(action, " Try again in 12.5 s.")
    assert str(fault) == f"The model call was not made (decision d1). Budget team: 10 of 10 USD spent.{todo}"
    assert (fault.action, fault.http_status, fault.decision_id, fault.retry_after_s) == (action, 402, "d1", wait)


def test_the_rule_that_decided_is_told_and_not_the_first_that_spoke(service: FakeService) -> None:
    service.action = "block"
    spoke = {"gate": "guardrail", "action": "allow", "rule": "pii", "text": "Flagged."}
    service.extra = {"reasons": [spoke, {"gate": "budget", "action": "block", "rule": "team", "text": "Spent."}]}
    assert desk(service).ask(CALL).why == "Spent."


def test_every_sentence_ends(service: FakeService) -> None:
    service.action = "queue"
    service.extra = {"reasons": [{"action": "queue", "text": "policy nights has it wait"}], "retry_after_s": 5}
    assert str(desk(service).ask(CALL).blocked()) == (
        "The model call was not made (decision d1). policy nights has it wait. Try again in 5 s."
    )


def test_a_downgrade_names_the_model(service: FakeService) -> None:
    service.action, service.extra = "downgrade", {"model": "gpt-4o-mini"}
    decision = desk(service).ask(CALL)
    assert (decision.halts, decision.model) == (False, "gpt-4o-mini")


@pytest.mark.parametrize(("fail", "action", "status"), [("open", "allow", 200), ("closed", "block", 503)])
def test_without_the_service_the_setting_decides(service: FakeService, fail: str, action: str, status: int) -> None:
    service.status = 503
    decision = desk(service, fail).ask(CALL)
    assert (decision.action, decision.http_status, decision.away, decision.reservation_id) == (action, status, True, None)
    assert "503" in decision.reasons[0]["text"]


def test_a_closed_client_says_so(service: FakeService) -> None:
    service.status = 500
    assert "OTEL_FINOPS_FAIL" in str(desk(service, "closed").ask(CALL).blocked())


def test_a_refusal_is_told_once_and_the_setting_decides(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    service.status = 401
    asking = desk(service, "closed")
    assert [asking.ask(CALL).action for _ in range(3)] == ["block"] * 3
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "The service refused with status 401: the token is not known")
    ]


@pytest.mark.parametrize("strange", [{"action": "explode"}, {"action": None}, {"action": ["allow"]}])
def test_an_answer_that_is_no_decision_is_none(service: FakeService, strange: dict[str, object]) -> None:
    service.extra = strange
    decision = desk(service, "closed").ask(CALL)
    assert (decision.action, decision.http_status, decision.away) == ("block", 503, True)
    assert decision.reasons[0]["text"] == "The service's answer is no decision."


def test_a_tenant_for_which_the_token_does_not_speak_is_left_out(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    """As the ledger does it with spans: the call is the token's own tenant's, and governed as such."""
    service.strange_tenants = {"globex"}
    asking = desk(service, "closed")
    for tenant in ("globex", "globex", "acme"):
        assert asking.ask({**CALL, "tenant": tenant}).action == "allow"
    assert [asked.get("tenant") for asked in service.decisions] == ["globex", None, None, "acme"]
    assert ["globex" in record.getMessage() for record in caplog.records] == [True]


def test_strange_fields_do_no_harm(service: FakeService) -> None:
    service.extra = {"http_status": "teapot", "reasons": 7, "retry_after_s": "soon", "reservation_id": 5, "estimate_usd": 0.5}
    assert desk(service).ask(CALL) == Decision("allow", 200, [], decision_id="d1")


@pytest.mark.parametrize("retry_after_s", ["1e999", "1" * 400, "-1", "NaN", "[]", "true"])
def test_nonsense_for_a_wait_is_none(service: FakeService, retry_after_s: str) -> None:
    service.action = "throttle"
    service.extra = {"retry_after_s": json.loads(retry_after_s)}
    assert desk(service).ask(CALL).retry_after_s is None


def test_what_the_service_would_refuse_is_cut_to_what_it_takes(service: FakeService) -> None:
    call = {**CALL, "user": "u" * 300, "tags": {"team": "t" * 300, "k\0": "v"}, "max_output_tokens": 2**63, "session": "s\ud800"}
    assert desk(service).ask(call).action == "allow"
    asked = service.decisions[0]
    assert (len(asked["user"]), len(asked["tags"]["team"]), asked["tags"]["k"]) == (256, 256, "v")
    assert (asked["max_output_tokens"], asked["session"]) == (1_000_000_000, "s?")


def test_what_is_no_json_is_sent_as_text(service: FakeService) -> None:
    assert desk(service).ask({**CALL, "estimate_usd": Decimal("0.01")}).action == "allow"
    assert service.decisions[0]["estimate_usd"] == "0.01"


def test_without_an_address_everything_is_allowed() -> None:
    assert DecisionDesk(ClientSettings()).ask(CALL) == Decision("allow")


def test_settling_and_releasing(service: FakeService) -> None:
    asking = desk(service)
    assert asking.settle("r 1", "0.0123", 140)
    assert asking.settle("r2")
    assert asking.release("r3")
    assert [(asked.path, asked.body) for asked in service.asked] == [
        ("/api/v1/reservations/r%201/settle", {"actual_usd": "0.0123", "tokens": 140}),
        ("/api/v1/reservations/r2/settle", {}),
        ("/api/v1/reservations/r3/release", {}),
    ]
    service.status = 404
    assert not asking.settle("r4")
    service.status = 503
    assert not asking.settle("r5")
