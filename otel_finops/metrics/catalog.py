"""Every metric that the service exports, declared once: the collectors and docs/metrics.md are made from this list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from otel_finops.base.limits import ANOMALY_SERIES_MAX, BUDGET_SERIES_MAX, REPORTED_USD_MAX, SERIES_MAX

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """A metric's name (as scraped, counters without `_total`), kind, own labels and meaning."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str

    @property
    def scraped_name(self) -> str:
        """The name by which queries read it."""
        return {"counter": f"{self.name}_total", "gauge": self.name, "histogram": f"{self.name}_{{sum,count,bucket}}"}[self.kind]


DEFAULT_LABELS: Final = ("provider", "model", "operation", "cost_method")
OPT_IN_LABELS: Final = ("tenant", "agent", "cost_center")
_UNPRICED_LABELS: Final = ("provider", "model", "reason")
_GENAI_LABELS: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_system", "gen_ai_request_model", "gen_ai_response_model")

COST: Final = Metric(
    "finops_cost_usd", "counter", DEFAULT_LABELS, "USD of all charges, gross: what was reversed stands in `finops_reversed_usd_total`."
)
TOKENS: Final = Metric(
    "finops_tokens",
    "counter",
    (*DEFAULT_LABELS, "type"),
    "Tokens of all charges by disjoint type: the prompt is `input_uncached` + `cache_read` + `cache_write_*`, the rest is `output`.",
)
CALLS: Final = Metric("finops_calls", "counter", DEFAULT_LABELS, "Model calls charged, failed and unpriced ones included.")
UNPRICED: Final = Metric(
    "finops_unpriced_calls",
    "counter",
    _UNPRICED_LABELS,
    'Calls booked without a price, and why. Those still unpriced: `finops_calls_total{cost_method="unpriced"}` less its reversals.',
)
REVERSED_COST: Final = Metric(
    "finops_reversed_usd", "counter", DEFAULT_LABELS, "USD of everything negative: reversals and corrections downwards."
)
REVERSED_TOKENS: Final = Metric("finops_reversed_tokens", "counter", (*DEFAULT_LABELS, "type"), "Tokens of reversed charges.")
REVERSED_CALLS: Final = Metric(
    "finops_reversed_calls", "counter", DEFAULT_LABELS, "Calls whose charge was reversed; a new charge follows most of them."
)
CONFLICTS: Final = Metric("finops_conflicts", "counter", (), "Spans that were sent again with other content; the best version stands.")
PENDING: Final = Metric("finops_pending_usd", "gauge", (), "USD quoted for calls that are durable and not settled yet.")
PRICE_AGE: Final = Metric("finops_price_book_age_seconds", "gauge", (), "Age of the price snapshot in use.")
GENAI_COST: Final = Metric(
    "gen_ai_usage_cost_USD",
    "histogram",
    _GENAI_LABELS,
    "OpenTelemetry's `gen_ai.usage.cost`: gross USD (`_sum`) of priced calls (`_count`); the one bucket is `+Inf`: no quantiles.",
)
GENAI_TOKENS: Final = Metric(
    "gen_ai_client_token_usage",
    "histogram",
    (*_GENAI_LABELS, "gen_ai_token_type"),
    "OpenTelemetry's `gen_ai.client.token.usage`: gross tokens (`_sum`) of type `input` (whole prompt, cached tokens included) or `output`"
    " over calls (`_count`); the one bucket is `+Inf`.",
)
DECISIONS: Final = Metric(
    "finops_decisions",
    "counter",
    ("action", "observed"),
    "Decisions on calls, by what was decided; `observed` is `true` where it was only noted and the caller went on (`enforcement.mode`).",
)
POLICY_FAILURES: Final = Metric(
    "finops_policy_failures",
    "counter",
    (),
    "How often a policy's condition could not be evaluated for a call, so that it was skipped; `policies list` says which and why.",
)
LEDGER_READABLE: Final = Metric(
    "finops_ledger_readable", "gauge", (), "1 when this scrape could read the ledger; at 0 all metrics of the ledger are left out."
)
LEDGER_METRICS: Final = (
    COST, TOKENS, CALLS, UNPRICED, REVERSED_COST, REVERSED_TOKENS, REVERSED_CALLS, CONFLICTS, DECISIONS, POLICY_FAILURES, PENDING,
    PRICE_AGE, GENAI_COST, GENAI_TOKENS, LEDGER_READABLE,
)  # fmt: skip

_BUDGET_LABELS: Final = ("budget", "tenant")
BUDGET_LIMIT: Final = Metric(
    "finops_budget_limit_usd",
    "gauge",
    _BUDGET_LABELS,
    "What may be spent in the budget's window, what it was given from the one before included; other currencies at today's rate.",
)
BUDGET_SPENT: Final = Metric(
    "finops_budget_spent_usd",
    "gauge",
    _BUDGET_LABELS,
    "Booked, pending and reserved in the window that runs; other currencies at today's rate.",
)
BUDGET_RATIO: Final = Metric(
    "finops_budget_utilization_ratio", "gauge", _BUDGET_LABELS, "Spent of the limit, 1 is all of it; of budgets in tokens and calls too."
)
BUDGET_FORECAST: Final = Metric(
    "finops_budget_forecast_usd",
    "gauge",
    _BUDGET_LABELS,
    "What the budget's window comes to at its end, as last forecast; other currencies at today's rate. None while nothing was ever spent.",
)
BUDGETS_LEFT_OUT: Final = Metric("finops_budgets_left_out", "gauge", (), "Budgets that have no series, since there are too many.")
BUDGET_METRICS: Final = (BUDGET_LIMIT, BUDGET_SPENT, BUDGET_RATIO, BUDGET_FORECAST, BUDGETS_LEFT_OUT)

CAPTURE_RATE: Final = Metric(
    "finops_capture_rate",
    "gauge",
    ("bill", "tenant", "provider"),
    "Booked of billed when the bill was last held against the ledger: 1 is all of it, more is too much.",
)
BILL_METRICS: Final = (CAPTURE_RATE,)

ANOMALY_SCORE: Final = Metric(
    "finops_anomaly_score",
    "gauge",
    ("scope", "tenant", "name", "step"),
    "Robust standard deviations by which the last day or hour lies above what was expected: of the one that is over, or of the running one"
    " where that is more already.",
)
ANOMALY_METRICS: Final = (ANOMALY_SCORE,)

RECEIVED: Final = Metric(
    "finops_received_spans", "counter", (), "Spans of recorded requests = journalled + duplicate + rejected + ignored, at every scrape."
)
JOURNALLED: Final = Metric("finops_journalled_spans", "counter", (), "Spans made durable, further versions of a span included.")
DUPLICATE: Final = Metric("finops_duplicate_spans", "counter", (), "Spans that were in the journal already.")
REJECTED: Final = Metric("finops_rejected_spans", "counter", ("reason",), "Spans refused by a partial success.")
IGNORED: Final = Metric(
    "finops_ignored_spans", "counter", (), "Spans that bear this ledger's own mark (`finops.hop`), or came while metering was off."
)
RECEIVED_LOGS: Final = Metric(
    "finops_received_log_records",
    "counter",
    (),
    "Log records of answered requests = journalled + duplicate + rejected + ignored, at every scrape.",
)
JOURNALLED_LOGS: Final = Metric("finops_journalled_log_records", "counter", (), "Log records that show a call, made durable.")
DUPLICATE_LOGS: Final = Metric("finops_duplicate_log_records", "counter", (), "Log records whose call was in the journal already.")
REJECTED_LOGS: Final = Metric("finops_rejected_log_records", "counter", ("reason",), "Log records refused by a partial success.")
IGNORED_LOGS: Final = Metric(
    "finops_ignored_log_records", "counter", (), "Log records that show no model call, which are most, or came while metering was off."
)
IGNORED_REQUESTS: Final = Metric("finops_ignored_requests", "counter", ("signal",), "Requests of signals that are accepted and not used.")
REFUSED: Final = Metric(
    "finops_refused_requests",
    "counter",
    ("fault",),
    "Requests answered with an error; their spans and log records are not counted as received, senders try again.",
)
FORWARDED: Final = Metric(
    "finops_forwarded_spans",
    "counter",
    ("fate",),
    "Spans by what became of them at the next hop: `passed`, `refused` by it for good, or `skipped` because it was away too long"
    " or the queue was full.",
)
FORWARD_DROPPED: Final = Metric(
    "finops_forward_dropped_values",
    "counter",
    (),
    "Attributes and other values of OTLP/JSON requests that protobuf cannot hold (`intValue` 12.5): spans travelled on without them.",
)
SPOOLED: Final = Metric("finops_spooled_requests", "gauge", (), "Requests that wait on disk for the next hop.")
SPOOLED_BYTES: Final = Metric("finops_spooled_bytes", "gauge", (), "Bytes of the requests that wait on disk for the next hop.")
REPORTS: Final = Metric(
    "finops_reported_costs",
    "counter",
    ("verdict",),
    "Charges of calls for which a span states a cost: it `stands` as `reported`, is `outside_band` of the computed price, or is"
    " `not_trusted` as somebody only reckoned it (docs/pricing.md).",
)
REPORT_DIFFERENCE: Final = Metric(
    "finops_reported_difference_usd",
    "counter",
    ("verdict", "sign"),
    "USD by which stated costs of these charges are `above` or `below` the computed price.",
)
BAD_REPORTS: Final = Metric(
    "finops_refused_reported_costs",
    "counter",
    (),
    f"Spans and log records whose stated cost is none: negative, no number, or above {REPORTED_USD_MAX:,} USD.",
)
COMMIT: Final = Metric("finops_commit_seconds", "histogram", (), "Duration of a group commit of the journal.")
SETTLED: Final = Metric("finops_settled_traces", "counter", (), "Traces settled, late ones again.")
QUEUE: Final = Metric("finops_queue_batches", "gauge", (), "Batches that wait for the group commit.")
IN_FLIGHT: Final = Metric("finops_in_flight_bytes", "gauge", (), "Request bytes held by all listeners.")
SETTLE_LAG: Final = Metric("finops_settle_lag_seconds", "gauge", (), "How long the trace that waits longest is overdue for settling.")
TRACES_DUE: Final = Metric("finops_traces_due", "gauge", (), "Traces that are due for settling.")
PARKED: Final = Metric("finops_traces_parked", "gauge", (), "Traces that cannot be settled and are put aside; the log names them.")
PRICE_CHANGES: Final = Metric(
    "finops_watched_price_changes",
    "gauge",
    (),
    "Price changes of watched models in the last days (setting prices.watch_days), those announced for later included (docs/pricing.md).",
)
RESERVE: Final = Metric(
    "finops_store_reserve_bytes", "gauge", (), "Room kept on a SQLite database's disk; 0 when it was given up because the disk is full."
)
QUARANTINED: Final = Metric(
    "finops_quarantined_spans", "gauge", (), "Spans of this ledger that cannot be recorded and are held in quarantine (docs/ledger.md)."
)
DELIVERIES: Final = Metric(
    "finops_deliveries_waiting", "gauge", (), "Notices that wait to be delivered by a channel, those that are tried again among them."
)
DELIVERY_AGE: Final = Metric("finops_deliveries_oldest_seconds", "gauge", (), "How long the first of them has waited; 0 where none does.")
SELF_METRICS: Final = (
    RECEIVED, JOURNALLED, DUPLICATE, REJECTED, IGNORED,
    RECEIVED_LOGS, JOURNALLED_LOGS, DUPLICATE_LOGS, REJECTED_LOGS, IGNORED_LOGS, IGNORED_REQUESTS, REFUSED, FORWARDED,
    FORWARD_DROPPED, REPORTS, REPORT_DIFFERENCE, BAD_REPORTS,
    COMMIT, SETTLED,
    QUEUE, IN_FLIGHT, SETTLE_LAG, TRACES_DUE, PARKED, PRICE_CHANGES, RESERVE, QUARANTINED, SPOOLED, SPOOLED_BYTES,
    DELIVERIES, DELIVERY_AGE,
)  # fmt: skip


def _table(metrics: Iterable[Metric]) -> Iterable[str]:
    yield "| metric | kind | labels | meaning |"
    yield "|---|---|---|---|"
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        yield f"| `{metric.scraped_name}` | {metric.kind} | {labels} | {metric.meaning} |"


_INTRODUCTION: Final = f"""\
# Metrics

`GET /metrics` answers the Prometheus text format, or OpenMetrics with exemplars (label `trace_id`) when the `Accept` header asks
for `application/openmetrics-text`. This page is generated: `python -m otel_finops.metrics.catalog > docs/metrics.md`.

## From the ledger

Counters count booked entries only; what is durable and not settled yet is `finops_pending_usd`. They are sums that the ledger keeps,
so they survive a restart, and they never go down: everything negative is added to the `finops_reversed_*` counter with the same
labels. The ledger's balance is therefore `sum(finops_cost_usd_total) - sum(finops_reversed_usd_total)`. A reattribution moves
counters only where a label that it changes is switched on.

The labels {", ".join(f"`{label}`" for label in OPT_IN_LABELS)} are off and can be switched on; `model` is the response's model, else
the request's. Trace, span, user and session ids are never labels. A metric has at most {SERIES_MAX:,} series: the label values that
the ledger saw first own theirs, all later ones share one whose every label is `other`. Changing the labels begins new series.
`finops_tokens_total` has six types, so it reaches the bound at a sixth of the label values.

Values are exact sums written as 64-bit floating point numbers, which is what Prometheus stores. Not known is the empty label value.
"""
_GENAI_NOTE: Final = """\
The `gen_ai_*` names are there for boards that exist already. Both the request's and the response's model label hold the ledger's
`model`, `gen_ai_system` repeats `gen_ai_provider_name`, and fixed labels (for boards that filter on `telemetry_sdk_name`, say) can be set.
"""
_BUDGET_INTRODUCTION: Final = f"""\
## Of budgets

Of every budget that is enabled, by number, at most {BUDGET_SERIES_MAX:,} (fewer where `metrics.series_max` is less). `budget` is its
name, `tenant` whose it is, empty where it is for calls of several. They are left out while `finops_ledger_readable` is 0, and with the
feature `budgets` off. Forecasts are made by the job `forecast_budgets`, every ten minutes, and left out with the feature `forecast` off.
"""
_BILL_INTRODUCTION: Final = """\
## Of bills

Of every imported bill (docs/insight.md), as the clock last held it against the ledger; `tenant` is empty where a bill is for all tenants.
Bills on which nothing was billed have no series. None are there with the feature `reconciliation` off.
"""
_ANOMALY_INTRODUCTION: Final = f"""\
## Of anomalies

Of everything together and of each tenant, model, agent and cost centre (`scope`, `name`), by day and by hour (`step`), as the job
`find_anomalies` last saw them: at most {ANOMALY_SERIES_MAX:,} (fewer where `metrics.series_max` is less), the highest scores. `tenant`,
and the names of agents and cost centres, are empty until these labels are switched on; scopes that are not told apart then have one
series, the highest score. None are there with the feature `anomalies` off.
"""
_SELF_INTRODUCTION: Final = """\
## About the service itself

They belong to one process and begin at zero with it. `process_*` metrics (CPU, resident memory, open files) stand beside them on Linux.
"""


def render_docs() -> str:
    """docs/metrics.md as it must stand."""
    parts = (
        _INTRODUCTION,
        *_table(LEDGER_METRICS),
        "",
        _GENAI_NOTE,
        _BUDGET_INTRODUCTION,
        *_table(BUDGET_METRICS),
        "",
        _BILL_INTRODUCTION,
        *_table(BILL_METRICS),
        "",
        _ANOMALY_INTRODUCTION,
        *_table(ANOMALY_METRICS),
        "",
        _SELF_INTRODUCTION,
        *_table(SELF_METRICS),
    )
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(render_docs(), end="")
