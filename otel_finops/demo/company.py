"""A made-up company's applications: what one piece of work of each of them looks like, and how much work there is on which day.

Everything follows from a seed and from the days' places before the end, so that the same month comes out wherever it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final, NamedTuple, TypeAlias

from opentelemetry.util.types import AttributeValue

from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_SECOND
from otel_finops.demo.application import TENANTS as FIRST_TENANTS
from otel_finops.demo.made_spans import Model, Run, Tokens

TENANTS: Final = (*FIRST_TENANTS, "umbrella")
GPT_MINI: Final = Model("openai", "gpt-5-mini", "gpt-5-mini-2025-08-07")
GPT: Final = Model("openai", "gpt-4.1", "gpt-4.1-2025-04-14")
EMBEDDING: Final = Model("openai", "text-embedding-3-small")
SONNET: Final = Model("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929")
HAIKU: Final = Model("anthropic", "claude-haiku-4-5", "claude-haiku-4-5-20251001")
OPUS: Final = Model("anthropic", "claude-opus-4-5", "claude-opus-4-5-20251101")
FLASH: Final = Model("gcp.gemini", "gemini-2.5-flash")
MISTRAL: Final = Model("mistral_ai", "mistral-large-latest")
NOVA: Final = Model("aws.bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0")
DEPLOYMENT: Final = Model("azure.ai.openai", "scoring-eu")
"""A deployment's name, which no price list knows; somebody says later what it stands for."""
HOUSE_MODEL: Final = Model("house", "house-ranker-13b")
"""A model of one's own, which stays without a price."""

RUNAWAY_AGENT: Final = "coder"
RUNAWAY_HOUR: Final = 14
_RUNAWAY_CALLS: Final = 160
_WEEKEND: Final = 0.3
_SATURDAY: Final = 6

Work: TypeAlias = Callable[[Run], None]


class Application(NamedTuple):
    """One application.

    Attributes:
        work: makes one piece of work, a trace.
        daily: pieces on a full working day.
        hours: between which hours, UTC.
        weekend: its part of a full day's work on Saturdays and Sundays.
    """

    service: str
    work: Work
    daily: float
    hours: tuple[int, int]
    weekend: float = _WEEKEND


def _person(run: Run, tenants: Sequence[str], cost_center: str, session: str) -> dict[str, AttributeValue]:
    tenant = run.rng.choices(tenants, range(len(tenants), 0, -1))[0]
    return {
        "finops.tenant": tenant,
        "finops.cost_center": cost_center,
        "user.id": f"{tenant}-user-{run.rng.randrange(24):02d}",
        "session.id": f"{session}-{run.rng.randrange(10**6):06d}",
    }


def support_ticket(run: Run) -> None:
    """A ticket: triage classifies it, a specialist looks things up and answers; most are resolved."""
    rng = run.rng
    with run.stage("POST /tickets", _person(run, ("acme", "globex", "initech"), "support", "ticket")):
        with run.agent("triage"), run.step("classify"):
            run.call(GPT_MINI, Tokens(rng.randint(2_600, 9_400), rng.randint(60, 400), reasoning=rng.randint(20, 60)))
        resolved = rng.random() < 0.86
        with run.agent("specialist", outcome="resolved" if resolved else "unresolved", outcome__name="ticket_resolved"):
            prompt = rng.randint(36_000, 58_000)
            for _ in range(rng.randint(0, 3) if resolved else 4):
                with run.step("look_up"):
                    run.call(GPT, Tokens(prompt, rng.randint(40, 160), cache_read=8_192 if prompt > 40_000 else 0))
                    run.tool(
                        rng.choice(("look_up_order", "search_manual", "check_refund")), rng.uniform(0.05, 1.5), failed=rng.random() < 0.04
                    )
                prompt += rng.randint(2_000, 9_000)
            with run.step("answer"):
                if rng.random() < 0.04:
                    run.refused(GPT, "429")
                    run.wait(2)
                if rng.random() < 0.06:
                    run.guarded("personal data", rng.choice(("flag", "flag", "block")), "card_number")
                run.call(GPT, Tokens(prompt, rng.randint(250, 900), cache_read=8_192))


def knowledge_question(run: Run) -> None:
    """A question over documents: embed, retrieve, generate; the framework tells of the answer's call as well."""
    rng = run.rng
    with run.stage("GET /ask", _person(run, TENANTS, "research", "search")):
        with run.step("retrieve"):
            run.call(EMBEDDING, Tokens(rng.randint(12, 60)), operation="embeddings")
            run.tool("vector_search", rng.uniform(0.02, 0.3))
        with run.step("generate"):
            if rng.random() < 0.02:
                run.refused(FLASH, "timeout", seconds=30)
            run.call(FLASH, Tokens(rng.randint(60_000, 150_000), rng.randint(250, 1_100)), wrapped=True)


def nightly_summaries(run: Run) -> None:
    """A tenant's tickets summarised with a shared, cached instruction, then a digest."""
    rng = run.rng
    who: dict[str, AttributeValue] = {
        "finops.tenant": rng.choice(("initech", "globex")),
        "finops.cost_center": "operations",
        "finops.purpose": "reporting",
    }
    with run.stage("nightly summaries", {**who, "gen_ai.workflow.name": "nightly_summaries"}):
        for ticket in range(rng.randint(4, 8)):
            with run.step("summarise"):
                fresh = rng.randint(8_000, 22_000)
                written, read = (4_800, 0) if ticket == 0 else (0, 4_800)
                run.call(HAIKU, Tokens(fresh + 4_800, rng.randint(120, 380), cache_read=read, cache_write=written))
        with run.step("digest"):
            run.call(SONNET, Tokens(rng.randint(30_000, 70_000), rng.randint(900, 2_200)))


def code_review(run: Run) -> None:
    """A pull request: a planner, a coder with tools, a reviewer."""
    rng = run.rng
    who = _person(run, ("acme", "umbrella"), "engineering", "pull-request")
    with run.stage("pull request", {**who, "gen_ai.workflow.name": "code_review", "finops.purpose": "development"}):
        with run.agent("planner"), run.step("plan"):
            run.call(OPUS, Tokens(rng.randint(30_000, 70_000), rng.randint(900, 2_600)))
        with run.agent(RUNAWAY_AGENT):
            _edit(run, rounds=rng.randint(4, 9))
        merged = rng.random() < 0.7
        with run.agent("reviewer", outcome="success" if merged else "failure", outcome__name="pull_request_merged"), run.step("review"):
            run.call(SONNET, Tokens(rng.randint(60_000, 130_000), rng.randint(900, 2_600), cache_read=30_000))


def _edit(run: Run, rounds: int) -> None:
    prompt = run.rng.randint(70_000, 110_000)
    for _ in range(rounds):
        with run.step("edit"):
            cached = prompt * 5 // 10
            run.call(SONNET, Tokens(prompt, run.rng.randint(300, 1_500), cache_read=cached, cache_write=prompt // 10))
            run.tool(run.rng.choice(("read_file", "apply_patch", "run_tests")), run.rng.uniform(0.1, 6), failed=run.rng.random() < 0.1)
        prompt += run.rng.randint(3_000, 8_000)


def runaway_review(run: Run) -> None:
    """A coder whose tests never pass: the same step again and again, with an ever longer prompt and a dear model."""
    who: dict[str, AttributeValue] = {
        "finops.tenant": "acme", "finops.cost_center": "engineering", "user.id": "acme-user-07", "session.id": "pull-request-004211",
        "gen_ai.workflow.name": "code_review", "finops.purpose": "development",
    }  # fmt: skip
    with run.stage("pull request", who):
        with run.agent("planner"), run.step("plan"):
            run.call(OPUS, Tokens(61_000, 2_400))
        with run.agent(RUNAWAY_AGENT, outcome="failure", outcome__name="pull_request_merged"):
            for turn in range(_RUNAWAY_CALLS):
                prompt = 60_000 + turn * 700
                with run.step("fix_tests"):
                    run.call(OPUS, Tokens(prompt, run.rng.randint(500, 1_100), cache_read=prompt // 2))
                    run.tool("run_tests", run.rng.uniform(20, 45), failed=True)


def lead_scoring(run: Run) -> None:
    """A batch of leads, scored by a deployment and ranked by a model of one's own."""
    rng = run.rng
    who: dict[str, AttributeValue] = {"finops.tenant": "globex", "finops.cost_center": "sales", "finops.purpose": "scoring"}
    with run.stage("score leads", {**who, "gen_ai.workflow.name": "lead_scoring"}):
        for _ in range(rng.randint(4, 8)):
            with run.step("score"):
                run.call(DEPLOYMENT, Tokens(rng.randint(18_000, 44_000), rng.randint(20, 90)))
        with run.step("rank"):
            run.call(HOUSE_MODEL, Tokens(rng.randint(30_000, 90_000), rng.randint(50, 200)))


def contract_analysis(run: Run) -> None:
    """Long documents, few calls, two providers."""
    rng = run.rng
    with run.stage("analyse contract", _person(run, ("umbrella", "acme"), "legal", "contract")):
        with run.agent("reader"), run.step("extract"):
            for _ in range(2):
                run.call(NOVA, Tokens(rng.randint(120_000, 180_000), rng.randint(1_600, 3_800)))
        with run.agent("drafter"), run.step("compare"):
            run.call(MISTRAL, Tokens(rng.randint(52_000, 100_000), rng.randint(900, 3_200)))


APPLICATIONS: Final = (
    Application("support-desk", support_ticket, 13, (7, 19)),
    Application("knowledge-search", knowledge_question, 19, (6, 22), 0.6),
    Application("nightly-summaries", nightly_summaries, 2.5, (2, 3), 1.0),
    Application("code-review", code_review, 3, (8, 18), 0.1),
    Application("lead-scoring", lead_scoring, 2, (5, 6), 0.0),
    Application("contract-analysis", contract_analysis, 2.5, (9, 17), 0.1),
)


def runaway_day(last: datetime) -> datetime:
    """The last Tuesday to Thursday that is at least four days before the end."""
    day = last - timedelta(days=4)
    while day.isoweekday() not in (2, 3, 4):
        day -= timedelta(days=1)
    return day


def work_between(from_ns: int, to_ns: int, *, first: datetime, last: datetime, seed: int) -> Iterator[Run]:
    """All traces that begin from one instant until before another; any cut of the time gives the same ones.

    Args:
        first, last: midnights of the first and the last day of the whole story, by which the business grows.
    """
    day_ns = from_ns - from_ns % NS_PER_DAY
    while day_ns < to_ns:
        day = datetime.fromtimestamp(day_ns / NS_PER_SECOND, UTC)
        for run, work in _day(day, day_ns, first, last, seed):
            if from_ns <= run.start_ns < to_ns:
                work(run)
                yield run
        day_ns += NS_PER_DAY


def _day(day: datetime, day_ns: int, first: datetime, last: datetime, seed: int) -> Iterator[tuple[Run, Work]]:
    place = (last - day).days
    growth = 1.1 - 0.25 * place / max(1, (last - first).days)
    for application in APPLICATIONS:
        rng = Random(f"{seed}/{place}/{application.service}")  # noqa: S311 - repeatable, no secret
        share = application.weekend if day.isoweekday() >= _SATURDAY else rng.uniform(0.93, 1.07)
        opens, closes = application.hours
        for number in range(round(application.daily * share * growth)):
            start_ns = day_ns + round(rng.uniform(opens, closes) * NS_PER_HOUR)
            yield Run(application.service, start_ns, Random(f"{seed}/{place}/{application.service}/{number}")), application.work  # noqa: S311
    if day == runaway_day(last):
        start_ns = day_ns + RUNAWAY_HOUR * NS_PER_HOUR
        yield Run("code-review", start_ns, Random(f"{seed}/runaway")), runaway_review  # noqa: S311
