"""Rules about money name users as applications do, rows by reference: here the two meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from otel_finops.pricing.cascade import Cascade
from otel_finops.store.unit_of_work import Transaction

_FIND: Final = "SELECT clear, ref FROM subjects WHERE realm = ? AND kind = 'user' AND clear IN ({})"


Rules: TypeAlias = Cascade | Callable[[Transaction], Cascade]
"""The rules about money, or what reads those of now."""


def reader_of(rules: Rules) -> Callable[[Transaction], Cascade]:
    """What gives the rules that a transaction sees."""
    return (lambda transaction: rules) if isinstance(rules, Cascade) else rules


def bound_cascade(transaction: Transaction, cascade: Cascade, realms: Iterable[str]) -> Cascade:
    """The cascade for sightings of these realms, whose users are references; itself where no rule names a user.

    An erased user is nobody any more: what was booked stays, a later call of his is another user's.
    """
    users = sorted(cascade.users)
    if not users:
        return cascade
    refs: dict[str, list[str]] = {}
    for realm in sorted(realms):
        for clear, ref in transaction.select_in(_FIND, users, before=(realm,)):
            refs.setdefault(clear, []).append(ref)
    return cascade.bound(refs)
