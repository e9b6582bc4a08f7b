"""Alerts that stand, what became of others, and the rules that find them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from starlette.responses import Response

from otel_finops.base.errors import NotFound
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.forms import Field, Filled, empty_form, label_of
from otel_finops.surfaces.ui.page import Page, Submitted, action, page

_ROWS: Final = 50
_PLAIN: Final = ("times", "minutes", "score", "failures", "tokens", "calls")
"""Ends of the names of figures that are no money, whatever the others are counted in."""
_IN_TEXT: Final = ("_before", "_after")
"""Ends of the names of prices, which the text says already."""
_PARAM: Final = "param."
"""What the fields of a kind's own parameters begin with."""
BASICS: Final = ("name", "severity", "tenant", "enabled")
TELLING: Final = ("for_seconds", "clear_seconds", "repeat_seconds", "group_by", "resolved", "quiet", "quiet_zone", "quiet_days", "labels")
"""Fields of a rule's form beside its parameters."""


# --- alerts ----------------------------------------------------------------------------------------------------------


@page("/alerts", title="Alerts", group="Alerts", needs=("alerts.list",))
def alerts(page: Page) -> Response:
    """What stands, and what became of alerts."""
    return _alerts(page)


def _alerts(page: Page, muting: str | None = None, form: Filled | None = None, check: Json | None = None) -> Response:
    return page.render(
        "alerts/alerts.html",
        status=400 if form else 200,
        found=page.ask("alerts.list", carry=("tenant", "rule_no", "severity", "phase", "cursor"), limit=_ROWS),
        mutes=page.try_ask("alerts.mutes", carry=()),
        names=_rule_names(page),
        quantities=quantities,
        history=page.try_ask("alerts.history", carry=("tenant", "rule_no", "alert"), cursor=page.query.get("before"), limit=_ROWS),
        muting=muting,
        form=form or empty_form(OPERATIONS.named("alerts.mute")),
        check=check,
        filtered=bool(page.query.keys() & {"phase", "severity", "rule_no"}),
    )


def quantities(alert: Json) -> list[tuple[str, str, str, str]]:
    """The figures of an alert for people: (name, how it is written, amount, currency)."""
    figures = alert["figures"]
    unit = figures.get("unit", "USD")
    told = {name: text for name, text in figures.items() if name != "unit" and not name.endswith(_IN_TEXT)}
    return [(name.replace("_", " "), _written(name, unit), text, unit) for name, text in told.items()]


def _written(name: str, unit: str) -> str:
    """`money`, `count`, or as the name says: `percent`, a share of 1, or as it is."""
    if name in ("percent", "chance"):
        return name
    if name.endswith(_PLAIN):
        return "plain"
    return "money" if unit.isupper() else "count"


def _rule_names(page: Page) -> Mapping[int, str]:
    found = page.try_ask("alert_rules.list", carry=(), limit=1000).value
    return {one["no"]: one["name"] for one in found["rules"]} if found else {}


@action("/alerts/mutes", needs="alerts.mute")
def mute(page: Page) -> Response:
    """Hear nothing of an alert, or of a rule, for a while."""
    done = page.submit("alerts.mute")
    if done.answer is None:
        return _alerts(page, _thing(page), done.filled)
    return page.to(page.url("/alerts"), f"Nobody is told of it until {done.answer['mute']['until'][:16].replace('T', ' ')} UTC.")


@action("/alerts/mutes/end", needs="alerts.unmute")
def unmute(page: Page) -> Response:
    """Hear of it again."""
    done = page.submit("alerts.unmute")
    if done.answer is None:
        return _alerts(page, _thing(page), done.filled)
    return page.to(page.url("/alerts"), "It is told of again with the next check.")


def _thing(page: Page) -> str:
    texts = page.posted.texts if page.posted else {}
    return texts.get("alert") or texts.get("rule_no", "")


@action("/alerts/check", needs="alerts.check")
def check(page: Page) -> Response:
    """Check all rules now, or say what would be told."""
    tries = page.posted is not None and page.posted.texts.get("do") == "try"
    done = page.submit("alerts.check", dry_run=tries)
    if done.answer is None:
        return _alerts(page, form=done.filled)
    return _alerts(page, check=done.answer) if tries else page.to(page.url("/alerts"), f"Checked: {done.answer['run']['said']}.")


# --- rules -----------------------------------------------------------------------------------------------------------


@page("/alerts/rules", title="Rules", group="Alerts", needs=("alert_rules.list",))
def rules(page: Page) -> Response:
    """What is looked at, and how it fares."""
    found = page.ask("alert_rules.list", limit=_ROWS)
    kinds = page.ask("alert_rules.kinds", carry=())["kinds"]
    return page.render("alerts/rules.html", found=found, kinds=kinds, looks_at={one["kind"]: one["looks_at"] for one in kinds})


@page("/alerts/rules/new", title="New alert rule", needs=("alert_rules.create",))
def new_rule(page: Page) -> Response:
    """The form of a kind."""
    kind = _kind(page, page.query.get("kind", "budget"))
    return _form(page, kind, empty_form(OPERATIONS.named("alert_rules.create"), {"kind": kind["kind"]}), {})


@action("/alerts/rules/new", needs="alert_rules.create")
def make_rule(page: Page) -> Response:
    """Make a rule, or say what it would find."""
    kind = _kind(page, page.posted.texts.get("kind", "") if page.posted else "")
    params = _params(page)
    done = page.submit("alert_rules.create", params=params, dry_run=_tries(page))
    if done.answer is None or _tries(page):
        return _form(page, kind, done.filled, params, found=done.answer)
    return page.to(page.url("/alerts/rules/{no}", no=done.answer["rule"]["no"]), f"Made: it finds {_found(done.answer)} now.")


@page("/alerts/rules/{no}", title="Alert rule", needs=("alert_rules.show",))
def rule(page: Page) -> Response:
    """A rule, how it fares, what it was."""
    return _rule(page, int(_number(page)))


def _rule(page: Page, no: int, submitted: Submitted | None = None) -> Response:
    shown = page.ask("alert_rules.show", carry=(), no=no)
    one = shown["rule"] or shown["history"][0]
    params = one["params"] if submitted is None else _params(page)
    form = submitted.filled if submitted else empty_form(OPERATIONS.named("alert_rules.update"), {**one, "quiet": one["quiet"] or "none"})
    return _form(page, _kind(page, one["kind"]), form, params, found=submitted and submitted.answer, shown=shown, rule=one)


@action("/alerts/rules/{no}", needs="alert_rules.update")
def change_rule(page: Page) -> Response:
    """Change a rule, or say what it would find then."""
    no = int(_number(page))
    done = page.submit("alert_rules.update", no=no, params=_params(page), dry_run=_tries(page), **_cleared(page), **_revision(page))
    if done.answer is None or _tries(page):
        return _rule(page, no, done)
    return page.to(page.url("/alerts/rules/{no}", no=no), f"Stored: it finds {_found(done.answer)} now.")


@action("/alerts/rules/{no}/delete", needs="alert_rules.delete")
def delete_rule(page: Page) -> Response:
    """Take a rule away."""
    no = int(_number(page))
    done = page.submit("alert_rules.delete", no=no, **_revision(page))
    if done.answer is None:
        return _rule(page, no, done)
    return page.to(page.url("/alerts/rules"), f"{done.answer['rule']['name']} is gone; its history stays.")


def _form(
    page: Page,
    kind: Json,
    form: Filled,
    params: Mapping[str, Any],
    *,
    found: Json | None = None,
    shown: Json | None = None,
    rule: Json | None = None,
) -> Response:
    fields = list(_param_fields(kind, params, form.fields["params"].fault))
    faulty = [field.name for field in form.fields.values() if field.fault]
    return page.render(
        "alerts/rule.html",
        status=400 if form.fault or faulty else 200,
        faulty=faulty,
        kind=kind,
        kinds=page.ask("alert_rules.kinds", carry=())["kinds"],
        form=form,
        params=fields,
        marked=any(field.fault for field in fields),
        found=found,
        basics=[name for name in BASICS if name in form.fields],
        telling=TELLING,
        shown=shown,
        rule=rule,
        stands=shown is None or shown["rule"] is not None,
        may=page.can("alert_rules.update"),
    )


def _param_fields(kind: Json, params: Mapping[str, Any], fault: str) -> Iterator[Field]:
    """The kind's own parameters; a fault that the operation puts down to one of them stands beside it."""
    for one in kind["params"]:
        name = one["name"]
        value = params.get(name, one["usual"])
        text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        mine = fault.removeprefix(f"{name}: ") if fault.startswith(f"{name}: ") else ""
        yield Field(_PARAM + name, label_of(name), _means(one), "text", value=text, fault=mine)


def _means(parameter: Json) -> str:
    return f"{parameter['means']} Usual: {parameter['usual']}." if parameter["usual"] else parameter["means"]


def _params(page: Page) -> dict[str, str]:
    texts = page.posted.texts if page.posted else {}
    return {name.removeprefix(_PARAM): text.strip() for name, text in texts.items() if name.startswith(_PARAM)}


def _cleared(page: Page) -> dict[str, Any]:
    """Fields of the form that were emptied, where empty means none, not as before."""
    texts = page.posted.texts if page.posted else {}
    nothing: dict[str, Any] = {"labels": {}, "quiet": "none"}
    return {name: value for name, value in nothing.items() if name in texts and not texts[name].strip()}


def _revision(page: Page) -> dict[str, int]:
    text = page.posted.texts.get("revision", "") if page.posted else ""
    return {"revision": int(text)} if text.isascii() and text.isdigit() else {}


def _tries(page: Page) -> bool:
    return page.posted is not None and page.posted.texts.get("do") == "try"


def _kind(page: Page, name: str) -> Json:
    found = [one for one in page.ask("alert_rules.kinds", carry=())["kinds"] if one["kind"] == name]
    if not found:
        raise NotFound(f"There is no kind of alert rules called {name[:40]!r}.")
    return dict(found[0])


def _number(page: Page) -> str:
    text = page.path["no"]
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise NotFound(f"There is no rule {text[:20]!r}.")
    return text


_DIGITS_MAX: Final = 15


def _found(answer: Json) -> str:
    if answer["fault"]:
        return f"nothing: {answer['fault']}"
    return f"{answer['found']} {'thing' if answer['found'] == 1 else 'things'}"
