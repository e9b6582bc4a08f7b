"""Whole sets of policies as YAML, to be kept beside the code whose calls they govern."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.limits import POLICIES_MAX, POLICY_FILE_BYTES_MAX
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.faults import explained
from otel_finops.operations.fields import Name
from otel_finops.operations.policy_fields import Definition, sees, shown_policies
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.scope_fields import must_own
from otel_finops.operations.shapes import Count

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.policy_store import Done, Edit

_VERSION: Final = "1"
_FAULTS_SHOWN: Final = 20
_DEPTH_MAX: Final = 8
"""Of lists and maps within each other: a rate of a policy of the list of the document is four deep."""
_DEEDS: Final = {"create": "created", "update": "updated", "delete": "deleted", "keep": "unchanged"}
_FIELDS: Final = (
    "name", "description", "scope", "min_cost_usd", "condition", "action", "downgrade_to", "rate", "retry_after_s", "priority", "enabled",
)  # fmt: skip
_USUAL: Final[Mapping[str, Any]] = {"description": "", "scope": {}, "priority": 100, "enabled": True}
"""What is left out of a file where it is so."""


class ExportQuery(Input):
    """Whose policies."""

    tenant: Name | None = Field(default=None, description="Only those for calls of this tenant alone.")


class PolicyFile(Output):
    """Policies as a file."""

    document: str = Field(description="YAML, as policies.import takes it.")
    policies: Count = Field(description="How many are in it.")


@operation(
    "policies.export",
    "policies/export",
    takes=ExportQuery,
    output=PolicyFile,
    permission="view",
    feature="policies",
    summary="Write all policies as YAML, in the order in which they are asked.",
)
def export(context: Context, principal: Principal, given: ExportQuery) -> Json:
    """Those for calls of the principal's tenants alone, users and sessions as people call them."""
    import yaml  # noqa: PLC0415 - the command line loads it for nothing else

    wanted = [one for one in context.policies.all() if sees(principal, one) and given.tenant in (None, one.tenant)]
    rows = [_written(one) for one in shown_policies(context, wanted)]
    document = yaml.safe_dump({"version": int(_VERSION), "policies": rows}, sort_keys=False, allow_unicode=True, width=120)
    return {"document": document, "policies": len(rows)}


def _written(shown: Mapping[str, Any]) -> dict[str, Any]:
    """A policy without what is as usual."""
    return {name: shown[name] for name in _FIELDS if shown[name] is not None and shown[name] != _USUAL.get(name)}


class ImportInput(Input):
    """A set of policies."""

    document: Annotated[str, Field(max_length=POLICY_FILE_BYTES_MAX)] = Field(
        description="YAML (or JSON): `version: 1` and `policies`, a list of definitions as policies.create takes them."
    )
    replace: bool = Field(default=False, description="Take away all other policies that one may change.")
    dry_run: bool = Field(default=False, description="Check everything and say what would be done; nothing is stored.")


class ImportedPolicy(Output):
    """What became of one policy."""

    deed: Literal["created", "updated", "unchanged", "deleted"]
    no: int | None = Field(description="Null for one that would only be made.")
    name: str
    tenant: str | None


class Imported(Output):
    """What became of all of them."""

    created: Count
    updated: Count
    unchanged: Count
    deleted: Count
    policies: list[ImportedPolicy]
    changed: bool = Field(description="False: all was so already, or this was a dry run.")


@operation(
    "policies.import",
    "policies/import",
    takes=ImportInput,
    output=Imported,
    permission="manage",
    feature="policies",
    changes=True,
    agents=False,
    summary="Make a set of policies stand, all of it or nothing.",
)
def import_set(context: Context, principal: Principal, given: ImportInput) -> Changed | Unchanged:
    """A policy of a name and tenant that stands already is changed; what a definition leaves out is as usual, not as it was."""
    edits = list(_edits(principal, given.document))
    done = context.policies.put(edits, principal.editor, replace=given.replace, dry_run=given.dry_run)
    answer = _answer(done, dry_run=given.dry_run)
    if not answer["changed"]:
        return Unchanged(answer)
    before = {one.before.name: one.before.revision for one in done if one.before is not None and one.deed != "keep"}
    after = {one.after.name: one.after.revision for one in done if one.after is not None and one.deed != "keep"}
    tenants = {policy.tenant for one in done for policy in (one.before, one.after) if policy is not None}
    return Changed(answer, before, after, tenants.pop() if len(tenants) == 1 else None)


def _answer(done: Sequence[Done], *, dry_run: bool) -> dict[str, Any]:
    rows = []
    for one in done:
        policy = one.after or one.before
        assert policy is not None, "something became of it"
        no = None if dry_run and one.deed == "create" else policy.no
        rows.append({"deed": _DEEDS[one.deed], "no": no, "name": policy.name, "tenant": policy.tenant})
    counts = {name: sum(1 for row in rows if row["deed"] == name) for name in _DEEDS.values()}
    return {**counts, "policies": rows, "changed": not dry_run and any(counts[name] for name in ("created", "updated", "deleted"))}


def _edits(principal: Principal, document: str) -> Iterator[Edit]:
    """The definitions of a document; all faults in one message."""
    edits: list[Edit] = []
    faults: list[str] = []
    for at, said in enumerate(_definitions(document)):
        try:
            one = Definition.model_validate(said)
            must_own(principal, one.scope, "A policy")
            edits.append(one.edit())
        except ValidationError as fault:
            faults.append(f"policies.{at}: {explained(fault)}")
        except (BadInput, NotFound) as fault:
            faults.append(f"policies.{at}: {fault}")
    if faults:
        more = f"; and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        raise BadInput("; ".join(faults[:_FAULTS_SHOWN]) + more)
    yield from edits


def _definitions(document: str) -> list[Any]:
    """The list of a document, every scalar as it is written: amounts are never read as binary fractions.

    Raises:
        BadInput: it is no such document; the message has the line.
    """
    read = read_document(document)
    if not isinstance(read, dict) or read.keys() - {"version", "policies"} or not isinstance(read.get("policies"), list):
        raise BadInput("document: write `version: 1` and `policies:`, a list, and nothing else")
    if read.get("version") != _VERSION:
        raise BadInput(f"document: version {_VERSION} is what is understood here")
    if len(read["policies"]) > POLICIES_MAX:
        raise BadInput(f"document: at most {POLICIES_MAX} policies")
    return list(read["policies"])


def _check_events(events: Iterator[Any]) -> None:
    """Refuse what would take long, or grow, before it is made into anything: a parser needs quadratic time for deep nesting."""
    import yaml  # noqa: PLC0415 - the command line loads it for nothing else

    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise BadInput("document: write everything out; anchors and aliases are not followed")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH_MAX:
            raise BadInput(f"document: lists and maps lie at most {_DEPTH_MAX} deep within each other")


def read_document(document: str) -> Any:
    """A document of lists, maps and texts.

    Raises:
        BadInput: it is no YAML; the message has the line.
    """
    import yaml  # noqa: PLC0415 - the command line loads it for nothing else

    loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        _check_events(yaml.parse(document, loader))
        return yaml.load(document, loader)  # noqa: S506 - the base loader makes texts, lists and maps alone
    except yaml.MarkedYAMLError as fault:
        place = fault.problem_mark
        where = "" if place is None else f", line {place.line + 1}, column {place.column + 1}"
        raise BadInput(f"document: no YAML{where}: {fault.problem or fault.context}") from None
    except (yaml.YAMLError, ValueError):
        raise BadInput("document: no YAML that can be read") from None
