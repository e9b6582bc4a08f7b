"""What the pages of budgets, policies and credits share: numbers of paths, scopes as texts, forms, what a change changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import orjson

from otel_finops.base.errors import NotFound
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.forms import Filled
from otel_finops.surfaces.ui.page import Page

_DIGITS_MAX: Final = 15
"""Numbers of what is stored stay below 2**53."""
_NOTATION: Final = frozenset(',="{')
_OF_RECORD: Final = frozenset(("revision", "changed_at", "changed_by", "made_at", "made_by", "status", "why", "failures", "deleted"))
"""Fields that every change changes."""


def number_of(page: Page, what: str) -> int:
    """The number in the page's path.

    Args:
        what: it is of, for the message, e.g. `budget`.

    Raises:
        NotFound: it is none.
    """
    text = page.path["no"]
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise NotFound(f"There is no {what} {text[:20]!r}.")
    return int(text)


def scope_text(scope: Mapping[str, str]) -> str:
    """A scope as its field takes it: `tenant=acme,model=gpt-*`, or JSON where a value has a sign of that notation in it."""
    texts = [*scope, *scope.values()]
    if any(text != text.strip() or not _NOTATION.isdisjoint(text) for text in texts):
        return orjson.dumps(scope).decode()
    return ",".join(f"{name}={text}" for name, text in scope.items())


def sole_tenant(page: Page) -> str | None:
    """The tenant that is looked at, or the only one that the principal sees: whose a new definition most likely is."""
    if "tenant" in page.query:
        return page.query["tenant"]
    tenants = page.principal.tenants
    return tenants[0] if tenants is not None and len(tenants) == 1 else None


def typed(page: Page, name: str) -> str:
    """What a form sent in a field; an empty text where it has none."""
    return "" if page.posted is None else page.posted.texts.get(name, "").strip()


def dressed(filled: Filled, like: Filled) -> Filled:
    """A filled form with the labels and helps of another: what changes a thing is asked as what makes it."""
    fields = {
        name: field._replace(value=filled.fields[name].value, fault=filled.fields[name].fault) if name in filled.fields else field
        for name, field in like.fields.items()
    }
    return filled._replace(fields=fields)


def labelled(form: Filled, labels: Mapping[str, str], required: Collection[str] = ()) -> Filled:
    """A form with words for its fields that say more than their names, and with fields that people must fill in."""
    fields = {
        name: field._replace(label=labels.get(name, field.label), required=field.required or name in required)
        for name, field in form.fields.items()
    }
    return form._replace(fields=fields)


class Change(NamedTuple):
    """One change of a definition.

    Attributes:
        now: the definition as the change left it.
        fields: (name, before, after) of what is another; empty where it was made.
        deleted: the change took it away.
    """

    now: Json
    fields: Sequence[tuple[str, Any, Any]]
    deleted: bool = False


def changes_of(revisions: Sequence[Json], *, complete: bool) -> list[Change]:
    """What each change changed.

    Args:
        revisions: definitions, newest first, with `deleted` on the one that took it away.
        complete: whether the last one is the first that there ever was.
    """
    found = [Change(newer, _differences(older, newer), newer.get("deleted", False)) for newer, older in pairwise(revisions)]
    return [*found, Change(revisions[-1], ())] if complete and revisions else found


def _differences(before: Json, after: Json) -> list[tuple[str, Any, Any]]:
    pairs = [(name, (was, now)) for (name, was), (_, now) in zip(_flat(before), _flat(after), strict=True)]
    return [(name, was, now) for name, (was, now) in pairs if was != now]


def _flat(one: Json) -> Iterable[tuple[str, Any]]:
    """The fields that a definition says; a period's one by one."""
    for name, value in one.items():
        if name in _OF_RECORD:
            continue
        if name == "period" and isinstance(value, Mapping):
            yield from value.items()
        else:
            yield name, scope_text(value) if name == "scope" else value
