"""Scopes in inputs and answers: for which calls a budget, a policy or a pool is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from otel_finops.base.errors import BadInput, Forbidden
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.identity.principals import Principal
from otel_finops.operations.fields import pairs_of

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.scopes import Scope


def _values(given: Any) -> Any:
    """`tenant=acme,model=gpt-*`, a JSON object as text, or an object."""
    if isinstance(given, str):
        twice = "names a dimension twice; all of them must agree with a call, so one value each"
        given = pairs_of(given, unsaid="write DIMENSION=VALUE,DIMENSION=VALUE", twice=twice)
    if not isinstance(given, Mapping) or not all(isinstance(said, str) for pair in given.items() for said in pair):
        raise ValueError("write DIMENSION=VALUE,DIMENSION=VALUE, or a JSON object of texts by dimension")
    if any("\0" in said for pair in given.items() for said in pair):
        raise ValueError("names hold no NUL")
    return dict(given)


_SCHEMA: Final = {
    "anyOf": [{"type": "object", "additionalProperties": {"type": "string"}}, {"type": "string"}],
    "example": {"tenant": "acme", "model": "gpt-*"},
}
ScopeValues: TypeAlias = Annotated[dict[str, str], BeforeValidator(_values), WithJsonSchema(_SCHEMA)]
"""As an input: values by dimension; which dimensions there are, `governance.scopes.Scope.of` says."""
ShownScope: TypeAlias = Annotated[
    dict[str, str], Field(description="Values by dimension; a call must agree with all of them. Empty: every call.")
]
SCOPE_TEXT: Final = (
    "For which calls: DIMENSION=VALUE,DIMENSION=VALUE or a JSON object. Dimensions are tenant, user, cost_center, provider, model (`*` "
    "stands for anything), agent, purpose, service, environment, session, trace and tag:KEY; a call must agree with all that are given. "
    "Nothing: every call."
)


def must_own(principal: Principal, scope: Mapping[str, str], what: str) -> None:
    """Refuse what is for calls that are not all the principal's.

    Args:
        scope: values by dimension.
        what: e.g. `A budget`.

    Raises:
        NotFound: it is for another tenant's calls.
        Forbidden: it is for those of several, and he is bound to some.
    """
    tenant = scope.get("tenant")
    if tenant is not None:
        principal.must_see(tenant.strip())
    elif principal.tenants is not None:
        raise Forbidden(
            f"{what} without a tenant is for the calls of all tenants, which needs a token for all; name yours in scope.tenant."
        )


def on_record(shown: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    """What of a definition goes on record for ever: as it is shown, but users and sessions as references, who can be erased."""
    return {**shown, "scope": dict(scope.parts)}


def shown_owner(tenant: str) -> str | None:
    """Whose something is, as answers say it: null where it is everybody's."""
    return None if tenant == ANY_TENANT else tenant


def owner_of(principal: Principal, named: str | None) -> str:
    """Whose something is to be: the tenant that is named, else the only one that the principal sees, `*` for whoever sees all.

    Raises:
        NotFound: another tenant is named.
        BadInput: none is, and he sees several.
    """
    if named is not None:
        principal.must_see(named)
        return named
    if principal.tenants is None:
        return ANY_TENANT
    if len(principal.tenants) == 1:
        return principal.tenants[0]
    raise BadInput("tenant: must be given, one of those that the token is for")
