"""Exports: the ledger, the rows that a filter selects, and spend, as files of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import ConfigDict, Field

from otel_finops.base.errors import BadInput, Forbidden
from otel_finops.genai.usage import OTHER_UNITS, TOKEN_UNITS
from otel_finops.identity.principals import Principal
from otel_finops.identity.roles import Permission
from otel_finops.operations.context import Context
from otel_finops.operations.fields import TenantScoped, Windowed, given_filters
from otel_finops.operations.focus import focus_columns
from otel_finops.operations.registry import Input, Output, operation
from otel_finops.operations.spend import Group, SpendQuery, report
from otel_finops.operations.streams import Column, Kind, LedgerFormat, Stream, Streamed
from otel_finops.operations.usage import RowFilters
from otel_finops.trees.queries import Tenants

SUBJECTS_PERMISSION: Final[Permission] = "manage"
"""Lists show users and sessions in clear to everyone who may view, a page at a time; a file of all of them leaves the house."""


SUBJECT_KEYS: Final = frozenset(("user", "session"))


def _columns(kind: Kind, *names: str) -> list[Column]:
    return [Column(name, kind, tuple(name.split("."))) for name in names]


ENTRY_COLUMNS: Final[Sequence[Column]] = (
    *_columns("text", "entry_id", "kind", "reverses", "counted_in.trace_id", "counted_in.span_id"),
    *_columns("integer", "revision"),
    *_columns("text", "realm", "tenant", "trace_id", "span_id", "parent_span_id", "role", "operation", "provider"),
    *_columns("text", "request_model", "response_model"),
    *_columns("integer", *(f"usage.{unit}" for unit in (*TOKEN_UNITS, *OTHER_UNITS))),
    *_columns("text", "usage_source", "usage_rule", "service_tier", "region"),
    *_columns("flag", "streaming"),
    *_columns("text", "error_type"),
    *_columns("money", "cost_usd"),
    *_columns("json", "cost_lines"),
    *_columns("text", "cost_method", "price_key", "price_match", "price_version"),
    *_columns("flag", "partial"),
    *_columns("text", "unpriced_reason"),
    *_columns("money", "reported_usd"),
    *_columns("text", "reported_source"),
    *_columns("money", "billed_usd", "list_usd", "contracted_usd", "effective_usd"),
    *_columns("text", "account", "coverage_id", "agent", "step", "tool", "workflow", "user", "session", "cost_center", "purpose"),
    *_columns("text", "service", "environment"),
    *_columns("instant", "started_at"),
    *_columns("number", "duration_ms"),
    *_columns("instant", "recorded_at"),
    *_columns("flag", "late"),
    *_columns("text", "reservation_id"),
    *_columns("json", "tags"),
    *_columns("integer", "block.shard", "block.seq"),
    *_columns("text", "x_role_rule", "x_region_kind", "x_speed"),
)
"""A ledger row as a table's columns, in the order of the contract: nested fields by their path, lines and tags as JSON."""


class Entry(Output):
    """A row of the ledger as docs/ledger.md tells of it, field by field."""

    model_config = ConfigDict(extra="allow")


class Subjects(Input):
    """Whether people are shown by name."""

    subjects: bool = Field(
        default=False, description=f"Users and sessions in clear instead of as references; needs the permission {SUBJECTS_PERMISSION}."
    )


class UsageExport(Windowed, TenantScoped, RowFilters, Subjects, Streamed):
    """Which rows, and how they are written."""


@operation(
    "usage.export",
    "usage/export",
    takes=UsageExport,
    output=Entry,
    permission="view",
    feature="exports",
    agents=False,
    streams=True,
    summary="Write ledger rows to a file of any size, by the filters of the list.",
)
def usage(context: Context, principal: Principal, given: UsageExport) -> Stream:
    """The rows tenant by tenant, earliest start first, as the ledger is at this moment."""
    clear = _shown(principal, given.subjects)
    rows = context.exports.usage(given.tenants(principal), given.window(), given_filters(given, RowFilters), clear=clear)
    return Stream("usage", ENTRY_COLUMNS, rows)


class LedgerExport(TenantScoped, Subjects, Streamed):
    """What is written, and how."""

    format: LedgerFormat = Field(  # type: ignore[assignment]  # one more than others have
        default="jsonl", description="jsonl, csv, parquet, or focus: CSV with a row for each meter and day, as focus.export writes it."
    )
    net: bool = Field(default=False, description="One row for every span that stands, corrections and reversals folded in.")
    canonical: bool = Field(
        default=False,
        description="With net, as jsonl: the form that two ledgers of the same spans share. Shows users and sessions in clear.",
    )


@operation(
    "ledger.export",
    "ledger/export",
    takes=LedgerExport,
    output=Entry,
    permission="view",
    feature="exports",
    agents=False,
    streams=True,
    summary="Write the ledger to a file of any size.",
)
def ledger(context: Context, principal: Principal, given: LedgerExport) -> Stream:
    """All entries in the order in which each shard booked them, or what stands, as the ledger is at this moment."""
    if given.canonical and not (given.net and given.format == "jsonl"):
        raise BadInput("canonical: goes with net and with the format jsonl")
    clear, tenants = _shown(principal, given.subjects or given.canonical), given.tenants(principal)
    if given.format == "focus":
        return _focus(context, tenants)
    if given.canonical:
        return Stream("ledger-canonical", (), context.exports.canonical(tenants), sorted_keys=True)
    if given.net:
        return Stream("ledger-net", ENTRY_COLUMNS, context.exports.net(tenants, clear=clear))
    return Stream("ledger", ENTRY_COLUMNS, context.exports.entries(tenants, clear=clear))


def _focus(context: Context, tenants: Tenants) -> Stream:
    """All that stands, by the day; what corrects a closed month by itself."""
    if not context.features.focus:
        raise BadInput("format: focus is switched off (setting features.focus); write jsonl, csv or parquet")
    return Stream("focus-1.2", focus_columns("1.2"), context.focus.charges(tenants, (None, None), "day", "1.2"))


def _shown(principal: Principal, subjects: bool) -> bool:
    if subjects and not principal.may(SUBJECTS_PERMISSION):
        raise Forbidden(f"a file that shows users and sessions in clear needs the permission {SUBJECTS_PERMISSION}")
    return subjects


class SpendExport(SpendQuery, Streamed):
    """What to sum, and how it is written."""


@operation(
    "spend.export",
    "spend/export",
    takes=SpendExport,
    output=Group,
    permission="view",
    feature="exports",
    agents=False,
    streams=True,
    summary="Write a spend report to a file.",
)
def spend(context: Context, principal: Principal, given: SpendExport) -> Stream:
    """The groups of `spend.report`, the most expensive first, with a column for each key of `group_by`."""
    _shown(principal, not SUBJECT_KEYS.isdisjoint(given.groups()))
    answer = report.handler(context, principal, given)
    keys = [Column(name, "text", ("key", name)) for name in given.groups()]
    amounts = [*_columns("money", "cost_usd"), *_columns("integer", "calls", "tokens", "unpriced_calls")]
    converted = [Column(f"cost_{answer['currency'].lower()}", "money", ("cost",))] if answer.get("currency") else []
    return Stream("spend", (*keys, *amounts, *converted), iter([answer["groups"]]))
