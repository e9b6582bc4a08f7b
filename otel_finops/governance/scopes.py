"""Scopes: which calls a budget, a policy, a pool or a window is for. Every named dimension must agree; none named is every call."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import NAME_CHARS_MAX, SCOPE_DIMENSIONS_MAX
from otel_finops.governance.calls import DIMENSIONS, GovernedCall, fits
from otel_finops.pricing.providers import canonical

_TAG: Final = "tag:"
_HEX: Final = frozenset("0123456789abcdef")
_TRACE_CHARS: Final = 32
T = TypeVar("T", bound=Hashable)


class Scope(NamedTuple):
    """Dimensions and the values that a call must have there, in the order of their names.

    Attributes:
        parts: (dimension, value); the value of `model` may hold `*` for anything and is lower case, that of `provider` is a family,
            those of `user` and `session` are references of subjects, several of them (of several realms) parted by spaces.
    """

    parts: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Scope:
        """The scope in its one form.

        Raises:
            BadInput: a dimension that there is not, or a value that can be none; the message begins with its place.
        """
        if len(values) > SCOPE_DIMENSIONS_MAX:
            raise BadInput(f"scope: at most {SCOPE_DIMENSIONS_MAX} dimensions together")
        return cls(tuple(sorted((name, _checked(name, value)) for name, value in values.items())))

    @property
    def tenant(self) -> str | None:
        """The one tenant whose calls it is for; None: those of several."""
        return dict(self.parts).get("tenant")

    def matches(self, call: GovernedCall) -> bool:
        """Whether it is for this call; a dimension that the call says nothing of does not agree."""
        return all(_agrees(name, value, call.said(name)) for name, value in self.parts)

    def contains(self, other: Scope) -> bool:
        """Whether every call of the other is one of this one's, as far as the texts tell."""
        theirs = dict(other.parts)
        return all(name in theirs and _covers(name, value, theirs[name]) for name, value in self.parts)


class ScopeIndex(Generic[T]):
    """Things by their scopes: a call finds those it is for by look-ups, one for each kind of scope that there is.

    A kind is the set of dimensions that must be equal; models with `*` are compared one by one among what is left.
    """

    def __init__(self, things: Iterable[tuple[Scope, T]]) -> None:
        self._kinds: dict[tuple[str, ...], dict[tuple[str | None, ...], list[tuple[str | None, T]]]] = {}
        for scope, thing in things:
            for names, values, pattern in _keys(scope):
                self._kinds.setdefault(names, {}).setdefault(values, []).append((pattern, thing))

    def replaced(self, gone: Iterable[tuple[Scope, T]], come: Iterable[tuple[Scope, T]]) -> ScopeIndex[T]:
        """Another index without some of the things and with others; it costs what they cost, however many there are."""
        kinds, own = dict(self._kinds), set[tuple[str, ...]]()

        def held(names: tuple[str, ...]) -> dict[tuple[str | None, ...], list[tuple[str | None, T]]]:
            if names not in own:
                kinds[names] = dict(kinds.get(names, {}))
                own.add(names)
            return kinds[names]

        for scope, thing in gone:
            for names, values, pattern in _keys(scope):
                kind = held(names)
                if left := [one for one in kind.pop(values) if one != (pattern, thing)]:
                    kind[values] = left
        for scope, thing in come:
            for names, values, pattern in _keys(scope):
                kind = held(names)
                kind[values] = [*kind.get(values, ()), (pattern, thing)]
        index = ScopeIndex[T](())
        index._kinds = {names: kind for names, kind in kinds.items() if kind}
        return index

    def of(self, call: GovernedCall) -> Iterator[T]:
        """Everything whose scope is for this call, in no order, each once."""
        for names, held in self._kinds.items():
            said = tuple(_said(call, name) for name in names)
            for pattern, thing in held.get(said, ()):
                if pattern is None or (call.model is not None and fits(pattern, call.model)):
                    yield thing


def most_at_once(scope: Scope, others: Iterable[Scope]) -> int:
    """How many of the others can be for one and the same call of a scope, at most.

    Of those that name the same dimensions a call agrees with one value of each alone; models with `*` are taken to overlap.
    """
    kinds: dict[tuple[bool, tuple[str, ...]], dict[tuple[str, ...], int]] = {}
    for other in others:
        if _may_meet(scope, other):
            for names, values, pattern in _keys(other):
                counts = kinds.setdefault((pattern is not None, names), {})
                counts[values] = counts.get(values, 0) + 1
    return sum(max(counts.values()) for counts in kinds.values())


def _may_meet(scope: Scope, other: Scope) -> bool:
    """Whether a call can agree with both, as far as the texts tell."""
    theirs = dict(other.parts)
    return all(_may_both(name, value, theirs[name]) for name, value in scope.parts if name in theirs)


def _may_both(name: str, value: str, other: str) -> bool:
    if name == "model" and "*" in value and "*" in other:
        return True
    if name in ("user", "session"):
        return not set(value.split(" ")).isdisjoint(other.split(" "))
    return _agrees(name, value, other) or _agrees(name, other, value)


def _checked(name: str, value: str) -> str:
    if name not in DIMENSIONS and not (name.startswith(_TAG) and len(name) > len(_TAG)):
        raise BadInput(f"scope.{name[:NAME_CHARS_MAX]}: there is no such dimension; take one of {', '.join(DIMENSIONS)}, or tag:KEY")
    value = value.strip()
    if not value or len(value) > NAME_CHARS_MAX:
        raise BadInput(f"scope.{name}: 1 to {NAME_CHARS_MAX} characters; leave the dimension out for anything")
    if name == "provider":
        return canonical(value)
    if name == "model":
        return value.lower()
    if name == "trace" and (len(value) != _TRACE_CHARS or not _HEX.issuperset(value.lower())):
        raise BadInput("scope.trace: 32 hexadecimal digits")
    return value.lower() if name == "trace" else value


def _said(call: GovernedCall, name: str) -> str | None:
    said = call.said(name)
    return said if said is None or name != "model" else said.lower()


def _agrees(name: str, value: str, said: str | None) -> bool:
    if said is None:
        return False
    if name == "model":
        return fits(value, said)
    return said in value.split(" ") if name in ("user", "session") else said == value


def _covers(name: str, value: str, other: str) -> bool:
    """Whether each call that agrees with the other value agrees with this one."""
    if name in ("user", "session"):
        return set(other.split(" ")) <= set(value.split(" "))
    return _agrees(name, value, other)


def _keys(scope: Scope) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], str | None]]:
    """Where a scope is found: names and values that must be equal, and the pattern of the model; once for each reference of a subject."""
    pattern = next((value for name, value in scope.parts if name == "model" and "*" in value), None)
    rows: list[list[tuple[str, str]]] = [[]]
    for name, value in scope.parts:
        if name != "model" or pattern is None:
            values = value.split(" ") if name in ("user", "session") else [value]
            rows = [[*row, (name, one)] for row in rows for one in values]
    for row in rows:
        yield tuple(name for name, _ in row), tuple(value for _, value in row), pattern
