"""Every list of the API comes in pages: the same parameters everywhere, an order that stands still, cursors that are good for one list."""

from __future__ import annotations

from typing import Any, get_args, get_origin

import pytest
from starlette.testclient import TestClient
from surfaces_world import HARMLESS, NO_INPUT

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.fields import Paged, page_of
from otel_finops.operations.registry import Operation

WHOLE = {
    "alert_routes.show": "one route, and its last fifty changes",
    "alert_rules.kinds": "the kinds that the product knows, ten",
    "alert_rules.show": "one rule, and the definitions that it had",
    "alerts.mutes": "what holds now, set by hand",
    "anomalies.course": "the last days or hours of one group, as many as `last` says",
    "anomalies.explain": "some ten drivers",
    "anomalies.show": "one anomaly, what was said of it, and its dearest traces",
    "approvals.show": "the reasons for one request",
    "audit.verify": "the faults of one walk, the first hundred",
    "budgets.burndown": "the days, or pieces, of one window",
    "budgets.show": "one budget, and the numbers of those right below it",
    "channels.show": "one channel, and its last fifty changes",
    "chargeback.report": "a row for each cost centre, bounded by base.limits; `chargeback.export` writes them to a file",
    "coverage.report": "one report, by service and scope; models are the five with most calls",
    "dashboard.kpis": "three windows",
    "dashboard.top": "the first ones and the sum of the others; `limit` says how many",
    "dashboard.trend": "a piece for each hour, day, week or month of a window that is bounded",
    "decisions.blocked": "sums, one for each action and gate",
    "deliveries.show": "one delivery, and its last fifty attempts",
    "diagnostics.estimate": "what holds for one call",
    "footprint.summary": "groups, dearest first; `limit` says how many",
    "footprint.trend": "a piece for each hour, day, week or month of a window that is bounded",
    "forecast.backtest": "one for each method",
    "forecast.budget": "the days of one window",
    "forecast.spend": "the days of one window, and groups; `limit` says how many",
    "fx.rates": "currencies, some forty",
    "guardrails.report": "one for each guardrail",
    "health": "parts of the service",
    "jobs.list": "what the service does by the clock, some fifteen",
    "ledger.verify": "the faults of one walk, the first hundred",
    "outcomes.report": "groups, bounded by base.limits.GROUPS_MAX",
    "policies.ready": "those that ship with the product, some ten",
    "policies.show": "one policy, and its last fifty changes",
    "policies.simulate": "what each policy says of one call",
    "policies.validate": "the faults of one policy",
    "prices.diff": "a report of changes; `limit` of each kind",
    "prices.show": "the rates of one row",
    "prices.status": "the active list of each source",
    "pricing.explain": "the lines of one call",
    "pricing.quote": "an answer for each call that was given",
    "reconcile.rates": "the bills that were compared, the last time of each",
    "reconcile.report": "the days and models of one bill, bounded by base.limits",
    "reconcile.twins": "examples, the dearest ones",
    "replay.run": "a report by rule; calls are examples, the first ones",
    "retention.status": "classes of data, and the months that are pruned",
    "routing.show": "the candidates of one rule",
    "routing.simulate": "the candidates of one rule, and the models that were recorded",
    "runs.show": "one run, bounded by base.limits",
    "settings.show": "one for each setting",
    "spend.report": "groups, bounded by base.limits.GROUPS_MAX; finer ones are exported",
    "tokens.whoami": "who one is",
    "traces.show": "the nodes of one trace, bounded by base.limits.TREE_NODES_MAX",
    "unit_costs.report": "groups, bounded by base.limits.GROUPS_MAX",
    "usage.show": "one row with its history",
    "waste.report": "findings, dearest first; `limit` says how many",
    "whatif.simulate": "the models that were recorded, and notes",
}
"""Reads that answer with lists and not in pages, and why."""


def lists_of(one: Operation) -> list[str]:
    """Fields of the answer that are lists."""
    return [name for name, field in one.output.model_fields.items() if any(get_origin(kind) is list for kind in _kinds(field.annotation))]


def _kinds(annotation: Any) -> list[Any]:
    return [annotation, *get_args(annotation)]


READS = [one for one in OPERATIONS if not one.changes and not one.streams]
LISTS = [one for one in READS if issubclass(one.input, Paged)]


@pytest.mark.parametrize("one", READS, ids=lambda one: one.name)
def test_what_answers_with_a_list_comes_in_pages_or_has_a_reason(one: Operation) -> None:
    paged = issubclass(one.input, Paged)
    assert paged == ("next_cursor" in one.output.model_fields), "a page takes limit and cursor (Paged) and answers next_cursor"
    if lists_of(one) and not paged:
        assert one.name in WHOLE, f"{one.name} answers with {lists_of(one)}: make its input a Paged, or say in WHOLE why it is no list"


def test_no_reason_outlives_its_operation() -> None:
    assert not {name for name in WHOLE if name not in {one.name for one in READS} or issubclass(OPERATIONS.named(name).input, Paged)}


@pytest.mark.parametrize("one", LISTS, ids=lambda one: one.name)
def test_pages_of_one_row_are_the_whole_list_in_order(api: TestClient, one: Operation) -> None:
    fields = HARMLESS.get(one.name, NO_INPUT).fields
    path = "/api/v1/" + one.path.format(**{name: fields[name] for name in one.path_fields})
    params = {name: value for name, value in fields.items() if name not in one.path_fields}
    rows = lists_of(one)[-1]
    whole = api.get(path, params={**params, "limit": 50}).json()[rows]
    found, cursor = [], None
    for _ in range(len(whole) + 1):
        page = api.get(path, params={**params, "limit": 1, **({"cursor": cursor} if cursor else {})}).json()
        found += page[rows]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        if len(found) == 50:
            break
    assert found[: len(whole)] == whole


@pytest.mark.parametrize("one", LISTS, ids=lambda one: one.name)
def test_pages_are_refused_with_how_to_mend_it(api: TestClient, one: Operation) -> None:
    fields = HARMLESS.get(one.name, NO_INPUT).fields
    path = "/api/v1/" + one.path.format(**{name: fields[name] for name in one.path_fields})
    params = {name: value for name, value in fields.items() if name not in one.path_fields}
    for bad, said in (
        ({"limit": 1001}, "limit: must be less than or equal to 1000"),
        ({"limit": 0}, "limit: must be greater than or equal to 1"),
        ({"limit": 10**30}, "limit: must be"),
        ({"limit": -1}, "limit: must be"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "WyJhbm90aGVyLm9yZGVyIiwxXQ=="}, "cursor"),  # ["another.order",1]
        ({"cursor": "x" * 201}, "cursor: String should have at most 200 characters"),
    ):
        answer = api.get(path, params={**params, **bad})
        assert answer.status_code == 400, bad
        assert said in answer.json()["detail"]


@pytest.mark.parametrize("one", [one for one in LISTS if "sort" in one.input.model_fields], ids=lambda one: one.name)
def test_lists_are_sorted_by_named_fields_alone(api: TestClient, one: Operation) -> None:
    allowed = get_args(one.input.model_fields["sort"].annotation)
    assert allowed
    assert all(isinstance(word, str) for word in allowed)
    for word in allowed:
        assert api.get(f"/api/v1/{one.path}?sort={word}").status_code == 200
    for word in ("password", "cost_pico", "cost;drop", "1", ""):
        answer = api.get(f"/api/v1/{one.path}", params={"sort": word})
        assert (answer.status_code, answer.json()["detail"][:14]) == (400, "sort: must be ")


def test_rows_that_come_meanwhile_shift_no_page() -> None:
    """Of rows in memory: 9 and 7 are on the first page, then 10 and 6 come; the second page goes on behind 7."""
    first, cursor = page_of([3, 9, 5, 7], Paged(limit=2), "rows", lambda row: (-row,))
    assert first == [9, 7]
    second, cursor = page_of([3, 9, 5, 7, 10, 6], Paged(limit=2, cursor=cursor), "rows", lambda row: (-row,))
    assert second == [6, 5]
    assert page_of([3, 9, 5, 7, 10, 6], Paged(limit=2, cursor=cursor), "rows", lambda row: (-row,)) == ([3], None)
    assert page_of([], Paged(), "rows", lambda row: (row,)) == ([], None)
