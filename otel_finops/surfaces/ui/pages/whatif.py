"""What recorded calls would have cost elsewhere, and which model is cheapest that is good enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.governing import number_of
from otel_finops.surfaces.ui.page import Page, action, page

FILTERS: Final = ("model", "provider", "agent", "service", "tenant", "environment", "cost_center", "operation")
CHANGES: Final = ("to_model", "to_provider", "to_tier", "cache_hit_rate", "token_factor", "prices_at")
_RULE: Final = ("name", "candidates", "bar", "task", "source", "min_samples", "unknown", "service", "agent", "model", "tenant")


def _asks(query: Mapping[str, str]) -> bool:
    return not query.keys().isdisjoint((*CHANGES, "scenario"))


def _asks_routing(query: Mapping[str, str]) -> bool:
    return not query.keys().isdisjoint(("no", "candidates"))


@page("/what-if", title="What-if", group="Understand", needs=("whatif.simulate",), slow=_asks)
def what_if(page: Page) -> Response:
    """Reprice recorded calls: asked once the query says what is to be another."""
    scenarios = page.ask("whatif.scenarios", carry=("tenant",), limit=100)["scenarios"]
    return page.render(
        "understand/what_if.html",
        window=page.window(),
        found=page.try_ask("whatif.simulate") if _asks(page.query) else None,
        scenarios=scenarios,
        filters=FILTERS,
        changes=empty_form(OPERATIONS.named("whatif.simulate"), page.query).fields,
        names=CHANGES,
    )


@action("/what-if/save", needs="whatif.save")
def save(page: Page) -> Response:
    """Keep the question with its answer."""
    done = page.submit("whatif.save")
    return page.to(page.url("/what-if"), "The question is kept." if done.answer is not None else f"It is not kept: {done.filled.fault}")


@action("/what-if/{no}/delete", needs="whatif.delete")
def forget(page: Page) -> Response:
    """Take a saved question away."""
    done = page.submit("whatif.delete", no=number_of(page, "question"))
    return page.to(page.url("/what-if"), "The question is taken away." if done.answer is not None else done.filled.fault)


@page("/routing", title="Routing", group="Understand", needs=("routing.list",), slow=_asks_routing)
def routing(page: Page) -> Response:
    """Stored rules; with `no` or `candidates` in the query their answer over the page's time."""
    return _routing(page)


@action("/routing/create", needs="routing.create")
def create(page: Page) -> Response:
    """Store a rule."""
    done = page.submit("routing.create")
    if done.answer is None:
        return _routing(page, done.filled)
    return page.to(page.url("/routing", no=done.answer["no"]), "The rule is stored.")


@action("/routing/{no}/delete", needs="routing.delete")
def delete(page: Page) -> Response:
    """Take a rule away."""
    done = page.submit("routing.delete", no=number_of(page, "rule"))
    return page.to(page.url("/routing"), "The rule is taken away." if done.answer is not None else done.filled.fault)


@action("/routing/scores", needs="quality.import")
def scores(page: Page) -> Response:
    """Take quality scores from a file."""
    done = page.submit("quality.import")
    return page.to(page.url("/routing"), "The scores are taken." if done.answer is not None else f"Not taken: {done.filled.fault}")


def _routing(page: Page, filled: Filled | None = None) -> Response:
    return page.render(
        "understand/routing.html",
        status=400 if filled else 200,
        window=page.window(),
        rules=page.ask("routing.list", carry=(), limit=100)["rules"],
        scores=page.ask("quality.scores", carry=(), limit=100)["scores"] if page.can("quality.scores") else (),
        found=page.try_ask("routing.simulate") if _asks_routing(page.query) else None,
        form=filled or empty_form(OPERATIONS.named("routing.create")),
        rule=_RULE,
        import_form=empty_form(OPERATIONS.named("quality.import"), without=("tenant",)),
    )
