"""The trail of changes: who changed what, and the proof that nothing of it was altered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Instant, Name, Paged, TenantScoped, place_cursor
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.shapes import At, Count
from otel_finops.trees.queries import Tenants

if TYPE_CHECKING:  # the room loads a database toolkit, which `--help` must not wait for
    from otel_finops.audit.reading import AuditQuery

_ORDER = "audit"
_HEAD_CHARS_MAX = 1024 * 1024


class _Chains(TenantScoped):
    """Selects chains: one a tenant, and `*` for what concerns the whole service."""

    tenant: Name | None = Field(default=None, description="Only this tenant's chain; `*`: that of the whole service.")

    def chains(self, principal: Principal) -> Tenants:
        """Whose chains are read; None for all."""
        if self.tenant == ANY_TENANT:
            return (ANY_TENANT,) if principal.tenants is None else ()
        return self.tenants(principal)


class AuditFilters(_Chains, Paged):
    """Which entries."""

    who: Name | None = Field(default=None, description="Only what this principal did.")
    what: Name | None = Field(default=None, description="Only this operation, e.g. prices.refresh, or a whole room, e.g. prices.")
    outcome: Literal["begun", "done", "unchanged", "failed"] | None = Field(default=None, description="Only with this outcome.")
    from_: Instant | None = Field(default=None, alias="from", description="At this instant or later; a date is midnight UTC.")
    to: Instant | None = Field(default=None, description="Before this instant.")

    def query(self, principal: Principal) -> AuditQuery:
        """What is read for a principal: one row more than the page has, to see whether there is a next one."""
        from otel_finops.audit.reading import AuditQuery  # noqa: PLC0415 - as above

        begin, end = (None if text is None else parse_ns(text) for text in (self.from_, self.to))
        place = self.place(_ORDER)
        before_no = place[0] if place else None
        return AuditQuery(self.chains(principal), self.who, self.what, self.outcome, begin, end, before_no, self.limit + 1)


class AuditRow(Output):
    """An entry of the trail."""

    tenant: str = Field(description="Whose chain it stands in; `*`: the whole service's.")
    seq: int = Field(description="Its place in the chain, from 1.")
    at: At
    who: str
    what: str = Field(description="The operation, or the job of the service.")
    origin: str = Field(description="From where: surface, address, request.")
    outcome: str = Field(description="done: a change was made. Of runs: begun is the intent; done, unchanged and failed are how it ended.")
    began: int | None = Field(description="Of a run's outcome: the number of its intent.")
    before: Any
    after: Any = Field(description="Of a run's intent: what was asked for. Secrets are left out; what is very long is cut, with a digest.")
    hash: str = Field(description="SHA-256 that the next entry follows on, hex.")


class AuditPage(Output):
    """Entries, newest first."""

    entries: list[AuditRow]
    next_cursor: str | None


@operation(
    "audit.list",
    "audit",
    takes=AuditFilters,
    output=AuditPage,
    permission="manage",
    feature="audit",
    agents=False,
    summary="List what was changed, newest first: who, what, before, after, when and from where.",
)
def listed(context: Context, principal: Principal, given: AuditFilters) -> Json:
    """A page of the chains of the principal's tenants; the whole service's is for those who see all of them."""
    found = context.audit.entries(given.query(principal))
    page = found[: given.limit]
    return {
        "entries": [{**one.said, "hash": one.hash.hex()} for one in page],
        "next_cursor": place_cursor(_ORDER, [page[-1].no]) if len(found) > len(page) else None,
    }


class AuditCheck(_Chains):
    """Which chains to walk, and what to hold them against."""

    head: str | None = Field(
        default=None, max_length=_HEAD_CHARS_MAX, description="A signed head that `audit head` printed earlier, as JSON."
    )
    public_key: str | None = Field(default=None, max_length=64, description="Hex of the key that must have signed the head.")


class AuditFaultRow(Output):
    """The first place at which a chain breaks."""

    tenant: str
    seq: int
    message: str


class AuditVerdict(Output):
    """Outcome of walking the trail."""

    ok: bool
    chains: Count
    entries: Count
    pruned: Count = Field(description="Entries that retention took away from the beginnings of chains.")
    head_compared: bool
    broken: Count = Field(description="Chains that are broken.")
    faults: list[AuditFaultRow] = Field(description="The first of each broken chain; at most a hundred.")


@operation(
    "audit.verify",
    "audit/verify",
    takes=AuditCheck,
    output=AuditVerdict,
    permission="manage",
    feature="audit",
    agents=False,
    by_body=True,
    summary="Walk the trail of changes and name the first entry that was changed, lost or inserted.",
)
def verify(context: Context, principal: Principal, given: AuditCheck) -> Json:
    """The verdict on the chains of the principal's tenants."""
    report = context.audit.verify(given.chains(principal), given.head, given.public_key)
    return {
        "ok": not report.broken,
        "chains": report.chains,
        "entries": report.entries,
        "pruned": report.pruned,
        "head_compared": given.head is not None,
        "broken": report.broken,
        "faults": [{"tenant": fault.tenant, "seq": fault.seq, "message": fault.what} for fault in report.faults],
    }
