"""What people of the made-up company did about its spend: budgets, policies, approvals, switches and bills, through the operations."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final, TypeAlias

from otel_finops.base.protocols import ANY_TENANT
from otel_finops.demo.company import OPUS, RUNAWAY_AGENT, RUNAWAY_HOUR, TENANTS, runaway_day
from otel_finops.demo.made_spans import NAMESPACE
from otel_finops.identity.principals import Principal
from otel_finops.identity.roles import ROLES
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.registry import invoke

ORIGIN: Final = "demo"
NOWHERE: Final = "https://hooks.example.invalid/finops"
"""Where the demo's channels lead once the story is told: a name that is reserved so that it leads nowhere."""
_FINANCE: Final = Principal("finance", None, ROLES["admin"])
_PLATFORM: Final = Principal("platform", None, ROLES["admin"])
_APPLICATION: Final = Principal("code-review", None, ROLES["admin"])
_SHIFT_H: Final = 6
_EVERY_SHIFT: Final = ("fill_budgets", "expire_reservations")
_EVERY_DAY: Final = ("sweep_pending", "check_alerts")
_AT_TIMES: Final = ("find_anomalies", "forecast_budgets", "expire_credits", "check_alerts")
_CLOSE_DAYS: Final = 12
"""In the last so many days the service looks every day for what stands out, before them once a week: that takes most of the time."""
_DECISIONS_A_DAY: Final = 3
_BILL_DAYS: Final = 21
_QUALITY: Final = (
    "model,provider,score,task,samples\n"
    "gpt-4.1-2025-04-14,openai,0.93,,820\ngpt-5-mini-2025-08-07,openai,0.88,,820\ngpt-4.1-mini,openai,0.84,,400\n"
    "claude-sonnet-4-5-20250929,anthropic,0.95,,640\nclaude-haiku-4-5-20251001,anthropic,0.87,,640\n"
    "claude-opus-4-5-20251101,anthropic,0.96,,310\ngemini-2.5-flash,gemini,0.82,,900\n"
)

Fields: TypeAlias = Mapping[str, Any]


def ask(context: Context, verb: str, principal: Principal, **fields: Any) -> Any:
    """The answer of an operation as its JSON."""
    one = OPERATIONS.named(verb)
    return invoke(one, context, principal, one.input.model_validate(fields), origin=ORIGIN)


class Management:
    """Sets everything up in the beginning, and attends to it shift by shift.

    Args:
        context: over the ledger, its clock at the instant that is attended to.
        hook: where the webhook leads while the story is told; it takes notices in. None: nowhere.
    """

    def __init__(self, context: Context, *, seed: int = 1, hook: str | None = None) -> None:
        self._context = context
        self._seed = seed
        self._hook = hook
        self._events: dict[datetime, list[Callable[[], None]]] = {}
        self._last = datetime.max.replace(tzinfo=UTC)

    def begin(self, first: datetime, last: datetime) -> None:
        """What was there before the first call, and what is to happen on which day."""
        self._last = last
        self._cost_centers(first)
        self._budgets()
        self._policies()
        self._alerting()
        self._money(first)
        spike = runaway_day(last)
        self._at(spike + timedelta(hours=RUNAWAY_HOUR + 4), self._stop_the_agent)
        self._at(spike + timedelta(days=1, hours=12), self._let_it_go_on)
        self._at(last - timedelta(days=20), self._name_the_deployment)
        self._at(last - timedelta(days=9), self._top_up)
        self._at(last - timedelta(days=5), self._compare_models)

    def attend(self, now: datetime, *, is_last: bool) -> None:
        """The end of a shift: what people do, then what the service does by the clock."""
        for due in sorted(at for at in self._events if at <= now):
            for event in self._events.pop(due):
                event()
        self._decide(now)
        for job in self._jobs_due(now, is_last):
            self._context.jobs.run(job, who="scheduler")
        if is_last:
            self._end(now)
        if self._hook:
            self._context.jobs.run("deliver", who="scheduler")

    def _jobs_due(self, now: datetime, is_last: bool) -> Iterator[str]:
        yield from _EVERY_SHIFT
        if is_last or (now.hour < _SHIFT_H and (self._last - now).days < _CLOSE_DAYS) or now.weekday() == now.hour == 0:
            yield from _AT_TIMES
        elif now.hour in (0, 12):
            yield from _EVERY_DAY

    def _at(self, when: datetime, event: Callable[[], None]) -> None:
        self._events.setdefault(when, []).append(event)

    def _do(self, verb: str, principal: Principal = _PLATFORM, said: Fields | None = None, **fields: Any) -> Any:
        """The answer to `fields`, and to `said` where a field has a name that Python has for itself."""
        return ask(self._context, verb, principal, **(said or {}), **fields)

    def _cost_centers(self, first: datetime) -> None:
        said = (
            ("product", "Product", "product", None), ("support", "Customer support", "product", "product"),
            ("engineering", "Engineering", "product", "product"), ("research", "Research", "product", "product"),
            ("operations", "Operations", "operations", None), ("sales", "Sales", "commercial", None), ("legal", "Legal", "corporate", None),
        )  # fmt: skip
        for code, name, department, parent in said:
            self._do(
                "cost_centers.create", _FINANCE, code=code, name=name, owner=f"head of {name.lower()}", department=department, parent=parent
            )
        self._do(
            "allocations.create",
            _FINANCE,
            name="Observability fee",
            amount="120",
            every="month",
            method="proportional",
            said={"from": f"{first:%Y-%m}-01"},
        )
        self._do(
            "allocations.create", _FINANCE, name="Research serves product", source={"cost_center": "research"}, method="fixed",
            shares={"support": "40", "sales": "25"},
        )  # fmt: skip

    def _budgets(self) -> None:
        company = self._budget("Company", "450", period="monthly", thresholds=[50, 80, 100])
        rolling: Fields = {"period": "rolling_days", "length": 30}
        self._budget("Acme", "225", scope={"tenant": "acme"}, hard=True, **rolling)
        self._budget("Globex", "70", scope={"tenant": "globex"}, **rolling)
        reviews = self._budget("Code review", "150", scope={"service": "code-review"}, **rolling)
        self._budget("Coder agent", "145", scope={"service": "code-review", "agent": RUNAWAY_AGENT}, parent=reviews, **rolling)
        self._budget("Umbrella this month", "80", scope={"tenant": "umbrella"}, parent=company, period="monthly")
        self._budget("Opus tokens a week", "24000000", kind="tokens", scope={"model": "claude-opus-*"}, period="weekly")
        self._budget("Questions a day", "60", kind="calls", scope={"service": "knowledge-search"}, period="daily")

    def _budget(self, name: str, amount: str, **fields: Any) -> int:
        return int(self._do("budgets.create", _FINANCE, name=name, amount=amount, **fields)["budget"]["no"])

    def _policies(self) -> None:
        self._do("policies.create", ready="runaway-trace-calls", limit="120", priority=10, enabled=False)
        self._do("policies.create", ready="paced-agents", priority=20)
        self._do(
            "policies.create",
            name="Small model for triage",
            action="downgrade",
            scope={"agent": "triage"},
            model="gpt-5",
            downgrade_to="gpt-5-mini",
        )
        self._do(
            "policies.create", name="Ask before dear Opus calls", action="require_approval", model="claude-opus-*", min_cost_usd="1.5",
            description="A single call above 1.50 USD is worth a look.",
        )  # fmt: skip
        self._do(
            "policies.create",
            name="Score leads at night",
            action="queue",
            scope={"purpose": "scoring"},
            condition="estimate.usd > 0.25",
            retry_after_s=600,
        )
        self._do(
            "policies.create",
            name="No unknown models for legal",
            action="block",
            scope={"cost_center": "legal"},
            condition="!estimate.known",
            enabled=False,
        )

    def _alerting(self) -> None:
        hook = self._do("channels.create", type="webhook", name="Incident desk", url=self._hook or NOWHERE)["channel"]["no"]
        chat = self._do("channels.create", type="slack", name="Finance channel", url=NOWHERE, enabled=False)["channel"]["no"]
        self._do("alert_routes.create", name="Everything bad", channels=[hook], min_severity="warning")
        self._do("alert_routes.create", name="Budgets to finance", channels=[chat], kinds=["budget", "forecast", "credit"])
        self._context.jobs.run("check_alerts", who="scheduler")
        self._do(
            "alert_rules.create",
            name="Coder spends fast",
            kind="spend_rate",
            severity="critical",
            params={"usd_per_hour": "8", "by": "agent"},
        )
        self._do(
            "alert_rules.create",
            name="Acme at night",
            kind="spend_rate",
            tenant="acme",
            params={"usd_per_hour": "4", "by": "tenant"},
            quiet="22:00-07:00",
            enabled=False,
        )

    def _money(self, first: datetime) -> None:
        self._do(
            "credits.create",
            _FINANCE,
            name="Anthropic commitment",
            scope={"provider": "anthropic"},
            amount="400",
            hard=False,
            low="150",
            why="yearly commitment, first part",
        )
        self._do(
            "credits.create",
            _FINANCE,
            name="Globex prepaid",
            scope={"tenant": "globex"},
            amount="60",
            hard=False,
            low="20",
            why="paid in advance",
        )
        for model, provider in (("gpt-4.1", "openai"), ("claude-sonnet-4-5", "anthropic"), ("gemini-2.5-flash", "gemini")):
            self._do("prices.watch", _FINANCE, model=model, provider=provider)
        self._do("tokens.create", name="Board", role="viewer", tenants=[ANY_TENANT], days=365)
        self._do("tokens.create", name="Globex controller", role="analyst", tenants=["globex"], days=365)
        self._do("senders.create", name="collector", tenants=list(TENANTS))

    def _stop_the_agent(self) -> None:
        self._do("kill_switch.set", scope="agent", name=RUNAWAY_AGENT, why="fix_tests goes round in circles on one pull request")

    def _let_it_go_on(self) -> None:
        self._do(
            "kill_switch.clear", scope="agent", name=RUNAWAY_AGENT, why="the coder gives up after ten turns since this morning's release"
        )
        self._do("policies.update", no=1, enabled=True)
        found = self._do("anomalies.list", state="open", scope="global")["anomalies"]
        for one in found[-1:]:
            self._do("anomalies.ack", no=one["no"], why="the loop of the code review, stopped by the kill switch")

    def _name_the_deployment(self) -> None:
        self._do(
            "pricing.alias",
            _FINANCE,
            name="scoring-eu",
            key="azure/gpt-4.1-mini",
            provider="azure",
            why="the deployment's model, says its owner",
            reprice=True,
        )

    def _top_up(self) -> None:
        self._do("credits.topup", _FINANCE, no=1, amount="200", why="second part")

    def _compare_models(self) -> None:
        self._do(
            "quality.import",
            said={"from": "scores.csv"},
            content=base64.b64encode(_QUALITY.encode()).decode(),
            source="evaluation of October",
        )
        self._do(
            "routing.create",
            name="Answers of the support desk",
            candidates="openai/gpt-4.1,openai/gpt-5-mini,gemini/gemini-2.5-flash",
            bar="0.85",
            service="support-desk",
        )
        self._do(
            "whatif.save",
            _FINANCE,
            name="Support answers by gpt-5-mini",
            service="support-desk",
            model="gpt-4.1-2025-04-14",
            to_model="gpt-5-mini",
            to_provider="openai",
        )

    def _decide(self, now: datetime) -> None:
        """Some calls that asked before they were made: most pass, dear ones wait for somebody."""
        rng = Random(f"{self._seed}/{now.isoformat()}")  # noqa: S311 - repeatable, no secret
        if now.hour not in (12, 18) or now.isoweekday() > 5:
            return
        for _ in range(_DECISIONS_A_DAY):
            answer = self._asked(rng, rng.randint(9_000, 90_000))
            if answer["reservation_id"]:
                self._do(
                    "reservations.settle", _APPLICATION, reservation_id=answer["reservation_id"], actual_usd=str(answer["estimate_usd"])
                )
        if now.hour == 12 and now.isoweekday() in (2, 4):
            tokens = rng.randint(320_000, 600_000)
            self._asked(rng, tokens)
            for waiting in self._do("approvals.list", status="pending")["approvals"]:
                fair = rng.random() < 0.6
                why = "the migration needs the whole repository" if fair else "cut the prompt first"
                self._do("approvals.approve" if fair else "approvals.reject", _FINANCE, approval_id=waiting["approval_id"], why=why)
                if fair:
                    self._asked(rng, tokens)

    def _asked(self, rng: Random, tokens: int) -> Any:
        return self._do(
            "decisions.create", _APPLICATION, provider=OPUS.provider, model=OPUS.name, operation="chat", tenant="acme",
            service="code-review", agent="planner", cost_center="engineering", environment=NAMESPACE, input_tokens=tokens,
            max_output_tokens=1_500, trace_id=f"{rng.getrandbits(128):032x}",
        )  # fmt: skip

    def _end(self, now: datetime) -> None:
        """What is still open when somebody looks: a request that waits, a switch that is set, a bill that does not agree, and a channel
        that leads nowhere from now on."""
        self._asked(Random(f"{self._seed}/end"), 412_000)  # noqa: S311 - repeatable, no secret
        self._do("kill_switch.set", scope="model", name="gpt-4o-realtime*", why="not reviewed yet")
        self._bill(now)
        self._context.jobs.run("reconcile", who="scheduler")
        self._context.jobs.run("check_alerts", who="scheduler")
        if self._hook:
            self._context.jobs.run("deliver", who="scheduler")
            self._do("channels.update", no=1, url=NOWHERE)

    def _bill(self, now: datetime) -> None:
        """OpenAI's bill of three weeks: one model agrees, of another the ledger has missed calls, and a day has too much."""
        until = now.replace(hour=0, minute=0, second=0, microsecond=0)
        since = until - timedelta(days=_BILL_DAYS)
        told = self._do(
            "dashboard.trend",
            said={"from": since.date().isoformat(), "to": until.date().isoformat()},
            by="day",
            split="model",
            provider="openai",
        )
        lines = ["Day,Model,Cost"]
        models = [line["name"] for line in told["lines"]]
        for place, piece in enumerate(told["pieces"]):
            for model, part in zip(models, piece["parts"], strict=True):
                lines.append(f"{piece['from'][:10]},{model},{_billed(Decimal(part['cost_usd']), model, place)}")
        content = base64.b64encode("\n".join(lines).encode()).decode()
        self._do("bills.import", _FINANCE, {"from": "openai.csv"}, content=content, provider="openai", name="OpenAI")


def _billed(cost: Decimal, model: str, day: int) -> Decimal:
    if model.startswith("gpt-4.1"):
        return cost * (Decimal("1.09") if day % 5 == 2 else Decimal("1.01"))
    return cost * Decimal("0.9") if day == 3 else cost
