"""Cost centres: who bears what calls cost, with owners and one within the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.cost_center_fields import (
    CODE_TEXT,
    DRY_TEXT,
    PARENT_TEXT,
    REVISION_TEXT,
    TENANT_TEXT,
    DefinitionNumber,
    Deletion,
    ShownCenter,
    owned,
    sees,
    shown_center,
)
from otel_finops.operations.fields import Name, Paged, page_of
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.cost_centers import Book, CostCenter

_ORDER: Final = "cost_centers.list"


class NewCenter(Input):
    """What the cost centre is."""

    code: Name = Field(min_length=1, description=CODE_TEXT)
    name: Name = Field(default="", description="What people call it.")
    owner: Name | None = Field(default=None, description="Who answers for it.")
    department: Name | None = Field(default=None, description="Where it belongs in the company.")
    parent: Name | None = Field(default=None, min_length=1, description=f"{PARENT_TEXT}.")
    tenant: Name | None = Field(default=None, min_length=1, description=TENANT_TEXT)
    dry_run: bool = Field(default=False, description=DRY_TEXT)


class CenterEdit(DefinitionNumber):
    """What is to be another; what is not given stays."""

    name: Name | None = Field(default=None, description="What people call it.")
    owner: Name | None = Field(default=None, description="Who answers for it; an empty text: nobody.")
    department: Name | None = Field(default=None, description="Where it belongs in the company; an empty text: nowhere.")
    parent: Name | None = Field(default=None, description=f"{PARENT_TEXT}; an empty text: of none any longer.")
    revision: int | None = Field(default=None, ge=1, description=REVISION_TEXT)
    dry_run: bool = Field(default=False, description=DRY_TEXT)


class CenterAnswer(Output):
    """The cost centre as it is now."""

    cost_center: ShownCenter
    changed: bool = Field(description="False: it was so already, or this was a dry run.")


class CenterPage(Output):
    """Cost centres, oldest first."""

    cost_centers: list[ShownCenter]
    next_cursor: str | None


@operation(
    "cost_centers.create",
    "cost-centers",
    takes=NewCenter,
    output=CenterAnswer,
    permission="manage",
    feature="chargeback",
    changes=True,
    agents=False,
    summary="Make a cost centre: the code that calls bear, with a name, an owner and a place among others.",
)
def create(context: Context, principal: Principal, given: NewCenter) -> Changed | Unchanged:
    """Reports show calls of its code under it from then on, those of the past too."""
    from otel_finops.insight.cost_centers import CostCenter  # noqa: PLC0415 - `--help` must not load the database rooms

    owned(principal, given.tenant, "A cost centre")
    said = {name: getattr(given, name) for name in ("code", "name", "owner", "department", "parent", "tenant")}
    made = context.chargebacks.create_center(CostCenter(0, **said), principal.editor, dry_run=given.dry_run)
    shown = _shown(principal, context.chargebacks.book(), made)
    answer = {"cost_center": shown, "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, None, shown, made.tenant)


@operation(
    "cost_centers.update",
    "cost-centers/{no}",
    takes=CenterEdit,
    output=CenterAnswer,
    permission="manage",
    feature="chargeback",
    changes=True,
    agents=False,
    summary="Change a cost centre's name, owner, department or place; what is not given stays as it is.",
)
def update(context: Context, principal: Principal, given: CenterEdit) -> Changed | Unchanged:
    """The code stays: calls bear it."""
    changes = {name: value for name in ("name", "owner", "department", "parent") if (value := getattr(given, name)) is not None}
    changes = {name: value or (None if name != "name" else "") for name, value in changes.items()}
    before, after = context.chargebacks.update_center(given.no, changes, principal.editor, given.revision, dry_run=given.dry_run)
    book = context.chargebacks.book()
    shown = _shown(principal, book, after)
    changed = after != before and not given.dry_run
    answer = {"cost_center": shown, "changed": changed}
    return Changed(answer, _shown(principal, book, before), shown, after.tenant) if changed else Unchanged(answer)


@operation(
    "cost_centers.delete",
    "cost-centers/{no}/delete",
    takes=Deletion,
    output=CenterAnswer,
    permission="manage",
    feature="chargeback",
    changes=True,
    agents=False,
    summary="Take a cost centre away; what its calls cost is then shown under the code alone.",
)
def delete(context: Context, principal: Principal, given: Deletion) -> Changed | Unchanged:
    """One with others within it, or to which rules give something, is refused."""
    book = context.chargebacks.book()
    gone = context.chargebacks.delete_center(given.no, principal.editor, given.revision, dry_run=given.dry_run)
    shown = _shown(principal, book, gone)
    answer = {"cost_center": shown, "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, shown, None, gone.tenant)


@operation(
    "cost_centers.list",
    "cost-centers",
    takes=Paged,
    output=CenterPage,
    permission="view",
    feature="chargeback",
    summary="List cost centres with their owners and where they stand among others.",
)
def listed(context: Context, principal: Principal, given: Paged) -> Json:
    """Who is bound to tenants sees what is theirs alone."""
    book = context.chargebacks.book()
    page, cursor = page_of((one for one in book.centers.values() if sees(principal, one)), given, _ORDER, lambda one: (one.no,))
    return {"cost_centers": [_shown(principal, book, one) for one in page], "next_cursor": cursor}


def _shown(principal: Principal, book: Book, one: CostCenter) -> dict[str, Any]:
    """A cost centre as answers show it, with those above it that the principal may see."""
    return shown_center(one, [higher for higher in book.above(one) if sees(principal, higher)])
