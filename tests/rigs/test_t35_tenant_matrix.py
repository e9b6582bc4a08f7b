"""T35: every operation of the catalogue, asked by one tenant's admin with everything that names or numbers the other's things.

Two questions are put for every parameter that can mean something of a tenant: one with a value of the other tenant, one with a value of
the same shape that nobody has. The answers must be the same but for the value itself, and hold no byte of the other tenant: whoever asks
cannot even tell whether the thing exists. What is asked for changes nothing of the other's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from answer_texts import readable
from e2e_service import Service
from surfaces_world import HARMLESS, NO_INPUT
from two_tenants import bearer, marks, token, trace, two_tenants

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Operation

ASKER, OTHER = "acme", "globex"
NEUTRAL = {
    # pages, times, forms
    "skip", "by_rule", "below", "span", "min_cost_usd",
    "limit", "cursor", "sort", "from", "to", "at", "valid_from", "days", "period", "month", "zone", "by", "split",
    "format", "gzip", "group_by", "basis", "net", "sums_only",
    "canonical", "subjects", "expires", "overlap_hours", "dry_run", "force", "accept", "withdraw", "reprice", "unpriced_only", "holding",
    # words of the product, and of all tenants
    "provider", "operation", "cost_method", "unpriced_reason", "kind", "role", "reason", "state", "outcome", "what", "environment",
    "currency", "price_key", "key", "rule", "version", "before", "after", "source", "sha256", "content", "head", "public_key", "prices",
    "why", "scope", "account", "id", "calls", "job",
    # counts and choices of a call to be priced
    "input_tokens_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h", "output_tokens", "reasoning_tokens",
    "audio_in", "audio_out", "image_in", "image_out", "video_in", "video_out", "queries", "images", "pixels", "characters", "pages",
    "annotated_pages", "web_searches", "requests", "sessions", "seconds", "mode", "service_tier", "region_kind", "region", "speed",
    "image_size", "quality", "resolution", "input_tokens", "text_chars", "max_output_tokens",
    # budgets
    "start_day", "start_month", "length", "warn_percent", "thresholds", "carry_over", "fail", "enabled",
    # anomalies
    "last", "until", "against_from", "against_to",
    # passes
    "times", "hours", "up_to_usd", "stopped",
    # what if, and routing
    "to_provider", "to_tier", "cache_hit_rate", "token_factor", "prices_at", "bar", "min_samples", "unknown",
    # pools of credits
    "amount", "hard", "low", "no_low", "closed", "revision",
    # policies
    "condition", "downgrade_to", "rate", "retry_after_s", "priority", "description", "ready", "document", "replace", "policy",
    # decisions and what they hold
    "action", "gate", "observed", "halted", "estimate_usd", "actual_usd", "tokens", "idempotency_key",
    # outcomes
    "note", "min_usd",
    # cost centres and shared costs
    "every", "method", "weight", "place",
    # footprints
    "by_region",
    # forecasts
    "steps", "will_exceed",
    # alert rules and alerts
    "severity", "params", "for_seconds", "clear_seconds", "repeat_seconds", "resolved", "quiet", "quiet_zone", "quiet_days", "labels",
    "phase",
    # channels and routes
    "type", "url", "headers", "username", "password", "fields", "rules", "kinds", "min_severity",
    # bills
    "mapping", "decimal_comma", "amount_column", "model_column", "models", "from_day", "to_day", "cells",
    # what is asked of the service
    "status", "top", "section", "changed", "search", "class", "fee", "providers", "environments", "accounts",
}  # fmt: skip
"""Parameters that cannot name anything of one tenant."""


class Twins(NamedTuple):
    """A value of the other tenant's, and one of the same shape that nobody has."""

    foreign: Any
    nobodys: Any


NAMES = {
    "tenant": Twins(OTHER, "nobody"),
    "tenants": Twins([OTHER], ["nobody"]),
    "realm": Twins(OTHER, "nobody"),
    "trace_id": Twins(trace(OTHER, 1).hex(), trace("nobody", 1).hex()),
    "span_id": Twins("0000000000000001", "00000000000000ff"),
    "user": Twins("walrus-user-0", "nobody-user-0"),
    "session": Twins("walrus-session-0", "nobody-session-0"),
    "agent": Twins("walrus-agent-0", "nobody-agent-0"),
    "step": Twins("walrus-step-0", "nobody-step-0"),
    "tool": Twins("walrus-tool-0", "nobody-tool-0"),
    "workflow": Twins("walrus-workflow-0", "nobody-workflow-0"),
    "cost_center": Twins("walrus-costs-0", "nobody-costs-0"),
    "purpose": Twins("walrus-purpose-0", "nobody-purpose-0"),
    "service": Twins("walrus-service", "nobody-service"),
    "to_model": Twins("walrus-model", "nobody-model"),
    "candidates": Twins(["walrus-model"], ["nobody-model"]),
    "model": Twins("walrus-model", "nobody-model"),
    "request_model": Twins("walrus-model", "nobody-model"),
    "response_model": Twins("walrus-model", "nobody-model"),
    "models": Twins(["walrus-model"], ["nobody-model"]),
    "agents": Twins(["walrus-agent-0"], ["nobody-agent-0"]),
    "users": Twins(["walrus-user-0"], ["nobody-user-0"]),
    "services": Twins(["walrus-service"], ["nobody-service"]),
    "cost_centers": Twins(["walrus-costs-0"], ["nobody-costs-0"]),
    "owner": Twins("walrus herself", "nobody herself"),
    "department": Twins("walrus herself", "nobody herself"),
    "targets": Twins(["walrus-costs-0"], ["nobody-costs-0"]),
    "shares": Twins({"walrus-costs-0": "50"}, {"nobody-costs-0": "50"}),
    "values": Twins({"a": "walrus-costs-0"}, {"a": "nobody-costs-0"}),
    "purposes": Twins(["walrus-purpose-0"], ["nobody-purpose-0"]),
    "realms": Twins([OTHER], ["nobody"]),
    "tag": Twins("team=walrus-team-0", "team=nobody-team-0"),
    "tags": Twins({"team": "walrus-team-0"}, {"team": "nobody-team-0"}),
    "name": Twins("walrus-agent-9", "nobody-agent-9"),
    "who": Twins("boss of globex", "boss of nobody"),
    "outcomes": Twins(
        [{"trace_id": trace(OTHER, 1).hex(), "outcome": "success"}], [{"trace_id": trace("nobody", 1).hex(), "outcome": "success"}]
    ),
}
"""By parameter. What has a number or an id of its own is looked up: see `numbers`."""
TRY = {"dry_run": True}
NOBODYS_NUMBER = 987_654_321


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with two_tenants(tmp_path_factory.mktemp("matrix")) as one:
        yield one


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{service.web}/api/v1/", timeout=60) as opened:
        yield opened


def ask(client: httpx.Client, one: Operation, fields: dict[str, Any], who: str) -> httpx.Response:
    fields = dict(fields)
    path = one.path.format(**{name: fields.pop(name) for name in one.path_fields})
    given: dict[str, Any] = {"json": fields} if one.changes else {"params": {name: _text(value) for name, value in fields.items()}}
    return client.request(one.method, path, headers=bearer(token(who)), **given)


def _text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, bool) else value


LOOKUPS: dict[tuple[str, str], tuple[str, str, str, Any]] = {
    ("alert_routes", "no"): ("alert-routes", "routes", "no", NOBODYS_NUMBER),
    ("alert_routes", "channel"): ("channels", "channels", "no", NOBODYS_NUMBER),
    ("alert_routes", "channels"): ("channels", "channels", "no", NOBODYS_NUMBER),
    ("channels", "no"): ("channels", "channels", "no", NOBODYS_NUMBER),
    ("deliveries", "no"): ("deliveries", "deliveries", "no", NOBODYS_NUMBER),
    ("deliveries", "channel"): ("channels", "channels", "no", NOBODYS_NUMBER),
    ("deliveries", "notice_id"): ("deliveries", "deliveries", "notice_id", "0" * 24),
    ("alert_rules", "no"): ("alert-rules", "rules", "no", NOBODYS_NUMBER),
    ("alerts", "rule_no"): ("alert-rules", "rules", "no", NOBODYS_NUMBER),
    ("alerts", "alert"): ("alerts", "alerts", "alert", "9-000000000000000000000000"),
    ("anomalies", "no"): ("anomalies", "anomalies", "no", NOBODYS_NUMBER),
    ("bills", "no"): ("bills", "bills", "no", NOBODYS_NUMBER),
    ("credits", "no"): ("credits/pools", "pools", "no", NOBODYS_NUMBER),
    ("prices", "no"): ("prices/watches", "watches", "no", NOBODYS_NUMBER),
    ("tokens", "no"): ("tokens", "tokens", "no", NOBODYS_NUMBER),
    ("senders", "no"): ("senders", "tokens", "no", NOBODYS_NUMBER),
    ("tokens", "prefix"): ("tokens", "tokens", "prefix", "ofk_aaaaaaaa"),
    ("senders", "prefix"): ("senders", "tokens", "prefix", "ofs_aaaaaaaa"),
    ("approvals", "approval_id"): ("approvals", "approvals", "approval_id", "0" * 24),
    ("decisions", "decision_id"): ("decisions", "decisions", "decision_id", "0" * 24),
    ("decisions", "rule_id"): ("approvals", "approvals", "policy_id", "nobody-policy"),
    ("reservations", "reservation_id"): ("reservations", "reservations", "reservation_id", "0" * 24),
    ("budgets", "no"): ("budgets", "budgets", "no", NOBODYS_NUMBER),
    ("forecast", "no"): ("budgets", "budgets", "no", NOBODYS_NUMBER),
    ("budgets", "parent"): ("budgets", "budgets", "no", NOBODYS_NUMBER),
    ("budgets", "scope"): ("budgets", "budgets", "scope", {"tenant": "nobody"}),
    ("cost_centers", "no"): ("cost-centers", "cost_centers", "no", NOBODYS_NUMBER),
    ("cost_centers", "code"): ("cost-centers", "cost_centers", "code", "nobody-costs-0"),
    ("cost_centers", "parent"): ("cost-centers", "cost_centers", "code", "nobody-costs-0"),
    ("allocations", "no"): ("allocations", "rules", "no", NOBODYS_NUMBER),
    ("allocations", "source"): ("allocations", "rules", "source", {"tenant": "nobody"}),
    ("approvals", "policy"): ("approvals", "approvals", "policy_id", "nobody-policy"),
    ("policies", "no"): ("policies", "policies", "no", NOBODYS_NUMBER),
    ("policies", "scope"): ("policies", "policies", "scope", {"tenant": "nobody"}),
    ("replay", "policies"): ("policies", "policies", "no", NOBODYS_NUMBER),
    ("replay", "budgets"): ("budgets", "budgets", "no", NOBODYS_NUMBER),
    ("whatif", "no"): ("whatif/scenarios", "scenarios", "no", NOBODYS_NUMBER),
    ("whatif", "scenario"): ("whatif/scenarios", "scenarios", "no", NOBODYS_NUMBER),
    ("routing", "no"): ("routing/rules", "rules", "no", NOBODYS_NUMBER),
    ("routing", "task"): ("quality/scores", "scores", "task", "nobody-task"),
    ("routing", "source"): ("quality/sources", "sources", "source", "nobody-evals"),
    ("quality", "task"): ("quality/scores", "scores", "task", "nobody-task"),
    ("quality", "source"): ("quality/sources", "sources", "source", "nobody-evals"),
    ("quarantine", "no"): ("quarantine", "spans", "no", NOBODYS_NUMBER),
    ("runs", "run_id"): ("runs", "runs", "run_id", f"{trace('nobody', 1).hex()}-00000000000000ff"),
    ("ledger", "entry"): ("usage", "entries", "entry_id", "0" * 32),
}
"""By room and parameter: where its owner finds the value (path, list, field), and one that nobody has."""


@pytest.fixture(scope="module")
def numbers(client: httpx.Client) -> dict[tuple[str, str], Twins]:
    """Numbers and ids of the other's things; each is known to its owner."""

    def of(path: str, many: str, field: str) -> Any:
        rows = client.get(path, headers=bearer(token(OTHER))).json()[many]
        return next(row[field] for row in rows if row[field] is not None)

    rooms = {one.name.partition(".")[0] for one in OPERATIONS}
    return {(room, name): Twins(of(*place), nobodys) for (room, name), (*place, nobodys) in LOOKUPS.items() if room in rooms}


def parameters(one: Operation) -> list[str]:
    return [field.alias or name for name, field in one.input.model_fields.items()]


def twins_of(one: Operation, parameter: str, numbers: dict[tuple[str, str], Twins]) -> Twins | None:
    """None for a parameter that can name nothing of a tenant."""
    room = one.name.partition(".")[0]
    found = numbers.get((room, parameter)) or NAMES.get(parameter)
    assert found or parameter in NEUTRAL, (
        f"{one.name} takes {parameter!r}, which this matrix does not know: give it a value of the other tenant in NAMES or `numbers`, "
        "or name it in NEUTRAL when it can mean nothing of one tenant"
    )
    return found


def _asked(one: Operation, parameter: str, twins: Twins, numbers: dict[tuple[str, str], Twins]) -> dict[str, Twins]:
    """The values of a question, with the other parts of the path where one stands in a path: together they are a thing that exists."""
    path = {name: its for name in one.path_fields if (its := twins_of(one, name, numbers)) is not None}
    return (path if parameter in path else {}) | {parameter: twins}


def comparable(answer: httpx.Response, *values: Any) -> str:
    """Status and body without the values that were asked for, the request's id and moments."""
    text = re.sub(r"request:[0-9a-z]+", "request:ID", readable(answer.content).lower())
    text = re.sub(r"\d{4}-\d\d-\d\dt[0-9:.]+z", "MOMENT", text)
    for said in (one for value in values for one in (value if isinstance(value, list) else [value])):
        text = text.replace(str(said).lower(), "VALUE")
    return f"{answer.status_code} {text}"


def told(text: str) -> list[str]:
    return [mark for mark in marks(OTHER) if mark in text.lower()]


@pytest.mark.parametrize("one", sorted(OPERATIONS, key=lambda one: one.changes), ids=lambda one: one.name)
def test_t35_what_is_the_others_is_as_if_it_did_not_exist(
    client: httpx.Client, numbers: dict[tuple[str, str], Twins], one: Operation
) -> None:
    harmless = HARMLESS.get(one.name, NO_INPUT).fields
    plain = ask(client, one, harmless, ASKER)
    assert plain.status_code < 500, plain.text
    assert not told(readable(plain.content) + str(plain.headers)), plain.text
    for parameter in parameters(one):
        twins = twins_of(one, parameter, numbers)
        if twins is None:
            continue
        theirs = {name: its.foreign for name, its in _asked(one, parameter, twins, numbers).items()}
        none = {name: its.nobodys for name, its in _asked(one, parameter, twins, numbers).items()}
        foreign, nobodys = ask(client, one, {**harmless, **theirs}, ASKER), ask(client, one, {**harmless, **none}, ASKER)
        assert not told(readable(nobodys.content) + str(nobodys.headers)), f"{parameter}: {nobodys.text}"
        assert not told(comparable(foreign, *theirs.values())), f"{parameter}: {foreign.text}"
        assert foreign.status_code < 500, foreign.text
        if parameter in one.path_fields:
            assert foreign.status_code in (403, 404), f"{parameter}: {foreign.text}"
        if not one.changes:
            assert comparable(foreign, *theirs.values()) == comparable(nobodys, *none.values()), parameter
        else:
            assert foreign.status_code == nobodys.status_code, f"{parameter}: {foreign.text} {nobodys.text}"


def test_t35_the_other_still_has_everything(client: httpx.Client, numbers: dict[tuple[str, str], Twins]) -> None:
    """After all that: each thing that was asked for by its number is there for its owner, who may use it."""
    owner = bearer(token(OTHER))
    assert client.get(f"traces/{trace(OTHER, 1).hex()}", headers=owner).status_code == 200
    assert len(client.get("quarantine", headers=owner).json()["spans"]) == 1
    assert client.get("kill-switches", headers=owner).json()["switches"][0]["name"] == "walrus-agent-9"
    assert client.get("spend", headers=owner).json()["groups"][0]["calls"] == 8  # two traces of three calls, and two of the shared one
    for room, path, given in (
        ("prices", "prices/watches/{}/end", {}),
        ("tokens", "tokens/{}/rotate", TRY),
        ("senders", "senders/{}/rotate", TRY),
    ):
        assert client.post(path.format(numbers[room, "no"].foreign), json=given, headers=owner).status_code == 200, path
