"""Scopes as people write them, with clear ids of users and sessions, and as they are stored, with references."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from otel_finops.base.protocols import DEFAULT_REALM
from otel_finops.governance.scopes import Scope
from otel_finops.ledger.subjects import SubjectKind, Subjects, refs_of
from otel_finops.store.unit_of_work import Transaction

SUBJECT_DIMENSIONS: Final[tuple[SubjectKind, ...]] = ("session", "user")


def stored_scope(transaction: Transaction, subjects: Subjects, values: Mapping[str, str]) -> Scope:
    """The scope of these values, references made where there are none yet.

    References exist per realm. A tenant's users have one in the realm of his own credential and one in that of credentials for several
    tenants; a user of nobody in particular has that of `default`, and those of every realm that knows such a user by now.

    Raises:
        BadInput: as `Scope.of`.
    """
    scope = Scope.of(values)
    said = dict(scope.parts)
    realms = (DEFAULT_REALM,) if scope.tenant is None else (DEFAULT_REALM, scope.tenant)
    for kind in SUBJECT_DIMENSIONS:
        if (clear := said.get(kind)) is not None:
            refs = {subjects.refs(transaction, realm, kind, (clear,))[clear] for realm in sorted(set(realms))}
            if scope.tenant is None:
                refs.update(refs_of(transaction, kind, (clear,)))
            said[kind] = " ".join(sorted(refs))
    return Scope(tuple(sorted(said.items())))


def clear_scopes(transaction: Transaction, subjects: Subjects, scopes: Iterable[Scope]) -> list[dict[str, str]]:
    """The values of scopes as people wrote them, in the same order; who was erased keeps the references."""
    held = [dict(scope.parts) for scope in scopes]
    refs = {ref for said in held for kind in SUBJECT_DIMENSIONS if kind in said for ref in said[kind].split(" ")}
    clear = subjects.clear(transaction, refs) if refs else {}
    for said in held:
        for kind in SUBJECT_DIMENSIONS:
            if kind in said:
                said[kind] = next((clear[ref] for ref in said[kind].split(" ") if ref in clear), said[kind])
    return held
