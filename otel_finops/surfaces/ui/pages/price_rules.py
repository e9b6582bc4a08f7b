"""What has no price and how that is mended, house rules, and watched prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from otel_finops.base.errors import NotFound
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.page import Answer, Page, action, page

_ROWS: Final = 50
_LOOKED_UP: Final = 200
_FOUND_MAX: Final = 12
"""Rows that a search looks at, and names that it offers: the shortest are those without a region or a host before them."""
_OPERATIONS: Final = {"alias": "pricing.alias", "override": "pricing.override"}
FIELDS: Final = {
    "alias": ("name", "key", "provider", "why", "from", "to", "reprice"),
    "override": ("model", "prices", "provider", "why", "from", "to", "account", "accept", "reprice"),
}
"""Fields of a form by the kind of rule, in their order."""


# --- what has no price -----------------------------------------------------------------------------------------------


@page("/prices/unpriced", title="Unpriced", group="Prices", needs=("pricing.unpriced",))
def unpriced(page: Page) -> Response:
    """Models whose calls have no price, and what mends it."""
    return page.render("price_rules/unpriced.html", window=page.window("90d"), found=_unpriced(page), by_prices=_BY_PRICES)


_BY_PRICES: Final = ("unknown_model", "no_provider", "missing_rate")
"""Reasons that an alias or a price of one's own mends."""


def _unpriced(page: Page) -> Json:
    window = page.window("90d")
    return page.ask("pricing.unpriced", limit=_ROWS, from_=window.from_, to=window.to)


@page("/prices/unpriced/repair", title="Give it a price", needs=("pricing.alias", "pricing.override"))
def repair(page: Page) -> Response:
    """One model without a price: what it could be an alias of, or a price of one's own, with what either would book."""
    alias = empty_form(OPERATIONS.named("pricing.alias"), _offered(page, "alias"))
    override = empty_form(OPERATIONS.named("pricing.override"), _offered(page, "override"))
    preview = _tried(page, alias) if page.query.get("key") else None
    return _repair(page, {"alias": alias, "override": override}, preview)


def _offered(page: Page, kind: str) -> Mapping[str, Any]:
    """What the form of a repair holds before anybody typed into it."""
    model, key = page.query.get("model", ""), page.query.get("key")
    reason = f"{model} stands for {key}" if kind == "alias" and key else f"{model} had no price" if model else ""
    return {"model": model, "name": model, "key": key, "provider": page.query.get("provider"), "why": reason, "reprice": True}


def _tried(page: Page, form: Filled) -> Answer:
    """What the alias would book; nothing is stored."""
    given = {name: form.fields[name].value for name in ("name", "key", "provider", "why")}
    said = {name: text or None for name, text in given.items()}
    return page.try_ask("pricing.alias", carry=(), **said, from_=None, to=None, reprice=True, dry_run=True)


def _repair(page: Page, forms: Mapping[str, Filled], preview: Answer | None, kind: str = "alias") -> Response:
    model = forms["alias"].fields["name"].value or forms["override"].fields["model"].value
    provider = forms["alias"].fields["provider"].value
    held = _held(page, model, provider or None) if model else []
    search = page.query.get("search")
    found = page.try_ask("prices.models", carry=("search",), limit=_LOOKED_UP).value if search else None
    return page.render(
        "price_rules/repair.html",
        status=400 if any(form.fault or _faulty(form) for form in forms.values()) else 200,
        model=model,
        provider=provider,
        held=held,
        suggestions=list(dict.fromkeys(key for one in held for key in one["suggestions"])),
        found=sorted((one["key"] for one in found["models"]), key=len)[:_FOUND_MAX] if found else [],
        forms=forms,
        fields=FIELDS,
        preview=preview,
        kind=kind,
    )


def _held(page: Page, model: str, provider: str | None) -> list[Json]:
    """The model's calls without a price of all time, by reason."""
    found = page.ask("pricing.unpriced", carry=(), model=model, provider=provider, from_=None, to=None, limit=_ROWS)
    return list(found["models"])


def _faulty(form: Filled) -> bool:
    return any(field.fault for field in form.fields.values())


@action("/prices/unpriced/repair/{kind}", needs="pricing.alias")
def mend(page: Page) -> Response:
    """Say what a repair would book, or book it."""
    kind = page.path["kind"]
    done = page.submit(_operation(kind), dry_run=_tries(page))
    if done.answer is not None and not _tries(page):
        return page.to(page.url("/prices/unpriced"), _booked(done.answer))
    other = {"alias": "override", "override": "alias"}[kind]
    name = {"alias": "name", "override": "model"}
    said = {name[other]: done.filled.fields[name[kind]].value, "provider": done.filled.fields["provider"].value, "reprice": True}
    forms = {kind: done.filled, other: empty_form(OPERATIONS.named(_operation(other)), said)}
    return _repair(page, forms, None if done.answer is None else Answer(done.answer), kind)


def _operation(kind: str) -> str:
    if kind not in _OPERATIONS:
        raise NotFound("There are aliases and overrides; there is no other repair.")
    return _OPERATIONS[kind]


def _tries(page: Page) -> bool:
    """Whether the form asks only what would be done; whoever names nothing is told first."""
    return page.posted is None or page.posted.texts.get("do") != "book"


def _booked(answer: Json) -> str:
    rule, repriced = answer["rule"], answer["repriced"]
    said = f"Rule {rule['rule']} holds: {rule['model']} {'stands for ' + rule['key'] if rule['key'] else 'has a price of your own'}."
    if repriced is None:
        return said
    left = f" {repriced['still_unpriced']} calls still have no price." if repriced["still_unpriced"] else ""
    more = f" Not all were repriced: {repriced['stopped']}" if repriced["stopped"] else ""
    return f"{said} {repriced['calls']} past calls were booked at {repriced['cost_usd']} USD.{left}{more}"


# --- house rules -----------------------------------------------------------------------------------------------------


@page("/prices/rules", title="Rules", group="Prices", needs=("pricing.rules",))
def rules(page: Page) -> Response:
    """Overrides, contract prices and aliases."""
    return _rules(page)


def _rules(page: Page, ending: int | None = None, form: Filled | None = None) -> Response:
    return page.render(
        "price_rules/rules.html",
        status=400 if form else 200,
        found=page.ask("pricing.rules", limit=_ROWS),
        ending=ending,
        form=form or empty_form(OPERATIONS.named("pricing.end")),
    )


@page("/prices/rules/new", title="New price rule", needs=("pricing.override", "pricing.alias"))
def new_rule(page: Page) -> Response:
    """A form for a price of one's own, or for another name."""
    kind = page.query.get("kind", "override")
    given = {**page.query, "name": page.query.get("model")}
    return _new_rule(page, kind, empty_form(OPERATIONS.named(_operation(kind)), given))


@action("/prices/rules/new/{kind}", needs="pricing.override")
def make_rule(page: Page) -> Response:
    """Say what a rule would do, or make it."""
    kind = page.path["kind"]
    done = page.submit(_operation(kind), dry_run=_tries(page))
    if done.answer is None or _tries(page):
        return _new_rule(page, kind, done.filled, done.answer)
    return page.to(page.url("/prices/rules"), _booked(done.answer))


def _new_rule(page: Page, kind: str, form: Filled, preview: Json | None = None) -> Response:
    status = 400 if form.fault or _faulty(form) else 200
    return page.render(
        "price_rules/new.html", status=status, kind=kind, form=form, fields=FIELDS[kind], preview=preview and Answer(preview)
    )


@action("/prices/rules/{rule}/end", needs="pricing.end")
def end_rule(page: Page) -> Response:
    """End a rule, or withdraw it."""
    number = _number(page.path["rule"])
    done = page.submit("pricing.end", rule=number)
    if done.answer is None:
        return _rules(page, number, done.filled)
    withdrawn = done.answer["rule"]["ended"]["at"] is None
    return page.to(page.url("/prices/rules"), f"Rule {number} is {'withdrawn' if withdrawn else 'ended'}. What it priced stays as it is.")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise NotFound(f"There is no rule {text[:20]!r}.")
    return int(text)


_DIGITS_MAX: Final = 15


# --- watched prices --------------------------------------------------------------------------------------------------


@page("/prices/watches", title="Price watch", group="Prices", needs=("prices.watches",))
def watches(page: Page) -> Response:
    """Watched models and the changes of their prices."""
    return _watched(page)


def _watched(page: Page, form: Filled | None = None) -> Response:
    found = page.ask("prices.watches", carry=("cursor",), limit=_ROWS)
    return page.render(
        "price_rules/watches.html",
        status=400 if form else 200,
        found=found,
        names={one["no"]: one for one in found["watches"]},
        changes=page.try_ask("prices.changes", carry=("days", "no"), limit=_ROWS),
        form=form or empty_form(OPERATIONS.named("prices.watch"), {"tenant": page.query.get("tenant")}),
    )


@action("/prices/watches", needs="prices.watch")
def watch(page: Page) -> Response:
    """Watch a model."""
    done = page.submit("prices.watch")
    if done.answer is None:
        return _watched(page, done.filled)
    return page.to(page.url("/prices/watches"), f"{done.answer['model']} is watched.")


@action("/prices/watches/{no}/end", needs="prices.unwatch")
def unwatch(page: Page) -> Response:
    """Watch a model no longer."""
    done = page.submit("prices.unwatch", no=_number(page.path["no"]))
    if done.answer is None:
        return _watched(page)
    return page.to(page.url("/prices/watches"), f"{done.answer['model']} is watched no longer.")
