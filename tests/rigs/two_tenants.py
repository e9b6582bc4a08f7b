"""A running service with the data of two tenants that do not know each other: every name is made up and says whose it is."""

from __future__ import annotations

import base64
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from e2e_service import PROTOBUF, Service, http, running
from e2e_spans import calls, put
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_finops.base.clock import SystemClock
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.governance.approvals import StoredApprovals
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.rulings import Reason, Ruling
from otel_finops.insight.anomaly_scan import Scope
from otel_finops.insight.anomaly_store import Finding, Mute, Note, add_mute, add_note, put_anomaly
from otel_finops.ledger.journal import JournalRow
from otel_finops.ledger.quarantine import Failed, Quarantine
from otel_finops.ledger.subjects import Subjects
from otel_finops.settings.approvals import Approvals as Settings
from otel_finops.store.engine import Store

TENANTS = {"acme": "zebra", "globex": "walrus"}
"""Each tenant's mark: it stands in every name that is the tenant's."""
ALL = "all-tenants-token"
BILL = base64.b64encode(b"date,model,cost\n2026-10-01,gpt-4o,1\n").decode()
SENDER = "sends-for-both"
NAMED = {
    "gen_ai.agent.name": "agent", "finops.step": "step", "finops.user": "user", "session.id": "session", "finops.cost_center": "costs",
    "finops.purpose": "purpose", "gen_ai.conversation.id": "conversation", "gen_ai.response.id": "answer",
    "team": "team",
}  # fmt: skip


def token(tenant: str) -> str:
    """The token of the tenant's admin."""
    return f"admin-of-{tenant}"


def marks(tenant: str) -> list[str]:
    """What must not be found in answers to anybody else."""
    return [TENANTS[tenant], tenant, *(trace(tenant, number).hex() for number in (1, 2, 3))]


def trace(tenant: str, number: int) -> bytes:
    """The id of one of the tenant's traces."""
    return sha256(f"{tenant} {number}".encode()).digest()[:16]


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@contextmanager
def two_tenants(folder: Path) -> Iterator[Service]:
    """The service with everything in it, settled."""
    tenants = [([tenant], token(tenant)) for tenant in TENANTS] + [(["*"], ALL)]
    tokens = [{"token_sha256": _digest(secret), "tenants": of, "role": "admin", "name": f"boss of {of[0]}"} for of, secret in tenants]
    senders = [{"token_sha256": _digest(f"sends-for-{tenant}"), "tenants": [tenant]} for tenant in TENANTS]
    senders.append({"token_sha256": _digest(SENDER), "tenants": list(TENANTS)})
    settings = {"AUTH__MODE": "token", "AUTH__TOKENS": json.dumps(tokens), "AUTH__SENDERS": json.dumps(senders), "HTTP__RATE_PER_S": "0"}
    settings["ATTRIBUTION__TAGS"] = '["team"]'
    with running(f"sqlite:///{folder / 'ledger.db'}", **settings) as service:
        for tenant in TENANTS:
            _send(service, tenant, 1, f"sends-for-{tenant}")
            _send(service, tenant, 2, SENDER)
        _send_shared(service)
        service.settled()
        _govern(service)
        _anomalies(service)
        _approvals(service)
        _quarantine(service)
        yield service


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _named(span: Span, tenant: str, index: int) -> None:
    mark = TENANTS[tenant]
    put(span, "finops.tenant", tenant)
    for key, name in NAMED.items():
        put(span, key, f"{mark}-{name}-{index}")
    span.name = f"{mark} span {index}"
    if index == 0:
        put(span, "gen_ai.operation.name", "invoke_agent")  # the run of an agent, which the calls are below
    else:
        span.parent_span_id = (1).to_bytes(8, "big")
    if index == 1:  # a model without a price
        put(span, "gen_ai.request.model", f"{mark}-model")
        put(span, "gen_ai.response.model", f"{mark}-model")


def _send(service: Service, tenant: str, number: int, sender: str) -> None:
    request = calls(trace(tenant, number), 4, lambda span, index: _named(span, tenant, index), scope=f"{TENANTS[tenant]}-scope")
    request.resource_spans[0].resource.attributes[0].value.string_value = f"{TENANTS[tenant]}-service"
    service.send(request.SerializeToString(), {**PROTOBUF, **bearer(sender)})


def _send_shared(service: Service) -> None:
    """One trace of both."""

    def edit(span: Span, index: int) -> None:
        _named(span, ("acme", "globex")[index % 2], index)

    service.send(calls(trace("both", 1), 4, edit).SerializeToString(), {**PROTOBUF, **bearer(SENDER)})


def _govern(service: Service) -> None:
    """What each tenant's admin did; what he may not do or what is not there is left out."""
    for tenant, mark in TENANTS.items():
        wanted: list[tuple[str, dict[str, Any]]] = [
            ("prices/watches", {"model": f"{mark}-model", "tenant": tenant}),
            ("tokens", {"name": f"{mark}-token", "tenants": [tenant], "role": "viewer"}),
            ("senders", {"name": f"{mark}-sender", "tenants": [tenant]}),
            ("kill-switches", {"scope": "agent", "name": f"{mark}-agent-9", "tenant": tenant, "why": f"{mark} said so"}),
            ("budgets", {"name": f"{mark}-budget", "amount": "5", "scope": {"tenant": tenant}}),
            (
                "policies",
                {
                    "name": f"{mark}-guard",
                    "action": "block",
                    "scope": {"tenant": tenant, "user": f"{mark}-user-0"},
                    "condition": f"attribution.agent == '{mark}-agent-0' && trace.cost_usd > 99.0",
                    "description": f"of {mark}",
                },
            ),
            ("ledger/reprice", {"tenant": tenant, "why": f"{mark} wants it"}),
            ("decisions", _asked(tenant, mark)),
            ("whatif/scenarios", {"name": f"{mark}-scenario", "to_tier": "batch", "tenant": tenant, "agent": f"{mark}-agent-0"}),
            (
                "routing/rules",
                {
                    "name": f"{mark}-route",
                    "candidates": ["gpt-4o-mini"],
                    "bar": 0.5,
                    "tenant": tenant,
                    "agent": f"{mark}-agent-0",
                    "task": f"{mark}-task",
                    "source": f"{mark}-evals",
                },
            ),
            ("quality/import", {"source": f"{mark}-evals", "content": _scores(mark), "tenant": tenant}),
            ("cost-centers", {"code": f"{mark}-costs-0", "owner": f"{mark} herself", "tenant": tenant}),
            (
                "allocations",
                {
                    "name": f"{mark}-rule",
                    "source": {"tenant": tenant, "cost_center": ""},
                    "method": "even",
                    "targets": [f"{mark}-costs-0"],
                    "tenant": tenant,
                },
            ),
            ("channels", {"type": "slack", "name": f"{mark}-chat", "url": f"https://{mark}.invalid/{mark}", "tenant": tenant}),
            ("alert-routes", {"name": f"{mark}-route", "channels": list(TENANTS).index(tenant) + 1, "tenant": tenant}),
            ("alert-rules", {"name": f"{mark}-alerts", "kind": "kill_switch", "tenant": tenant, "labels": {"team": f"{mark}-team"}}),
            ("bills", {"content": BILL, "name": f"{mark}-agent-9", "provider": "openai", "tenant": tenant}),
            ("credits/pools", {"name": f"{mark}-credits", "scope": {"tenant": tenant}, "amount": "5", "low": "9", "why": f"{mark} paid"}),
        ]
        for path, body in wanted:
            http("POST", f"{service.web}/api/v1/{path}", json=body, headers=bearer(token(tenant)))
    http("POST", f"{service.web}/api/v1/alerts/check", json={}, headers=bearer(ALL))


def _scores(mark: str) -> str:
    """A file of quality scores in base64."""
    rows = [{"model": model, "task": f"{mark}-task", "score": 0.9} for model in ("gpt-4o-mini", f"{mark}-model")]
    return b64encode(json.dumps(rows).encode()).decode()


def _asked(tenant: str, mark: str) -> dict[str, Any]:
    """A call that the tenant's application asks to make."""
    said = {name: f"{mark}-{what}-0" for name, what in (("user", "user"), ("session", "session"), ("agent", "agent"), ("step", "step"))}
    more = {
        "purpose": f"{mark}-purpose-0",
        "cost_center": f"{mark}-costs-0",
        "service": f"{mark}-service",
        "trace_id": trace(tenant, 1).hex(),
    }
    return {"provider": "openai", "model": f"{mark}-model", "tenant": tenant, "estimate_usd": "0.5", **said, **more}


def _anomalies(service: Service) -> None:
    """A day of each tenant's agent that stood out, and a mute of the same number."""
    store, now_ns = Store.open(service.database.url, SystemClock()), SystemClock().now_ns()
    try:
        for tenant, mark in TENANTS.items():
            scope = Scope("agent", tenant, f"{mark}-agent-0")
            found = Finding(0, scope, "day", now_ns, now_ns + 1, True, now_ns, now_ns, 10, 1, 1, 9.0, 4, 1, [])
            with store.write() as transaction:
                add_note(transaction, put_anomaly(transaction, found), Note("ack", f"{mark} knows", f"{mark} herself", now_ns))
                add_mute(transaction, Mute(0, tenant, "agent", f"{mark}-agent-0", "", None, f"{mark} knows", f"{mark} herself", now_ns))
    finally:
        store.close()


def _approvals(service: Service) -> None:
    """A request of each tenant that waits for somebody, as a decision makes it."""
    store = Store.open(service.database.url, SystemClock())
    try:
        approvals = StoredApprovals(store, SystemClock(), Subjects(), Settings())
        for tenant, mark in TENANTS.items():
            call = GovernedCall(tenant, provider="openai", model=f"{mark}-model", agent=f"{mark}-agent-0", purpose=f"{mark}-purpose-0")
            asks = Ruling("require_approval", (Reason("policy", "require_approval", f"{mark} policy", f"{mark}-policy", "too large"),))
            with store.write() as transaction:
                approvals.request(transaction, call, asks, f"{mark}-decision")
    finally:
        store.close()


def _quarantine(service: Service) -> None:
    """A span of each tenant that cannot be recorded, as a fault of the store would leave it."""
    store = Store.open(service.database.url, SystemClock())
    try:
        held = [Failed(JournalRow(_sighting(tenant), None), f"{mark} fault at codec.encode:1") for tenant, mark in TENANTS.items()]
        Quarantine(store, SystemClock(), Subjects(), settle_after_s=5).keep(held)
    finally:
        store.close()


def _sighting(tenant: str) -> Sighting:
    start_ns = SystemClock().now_ns()
    return Sighting(
        realm=tenant, trace_id=trace(tenant, 3).hex(), span_id="00000000000000aa", parent_span_id=None, name=f"{TENANTS[tenant]} span",
        start_ns=start_ns, end_ns=start_ns + 1, kind=CALL, genai=True, instance="shop", scope="client",
    )  # fmt: skip
