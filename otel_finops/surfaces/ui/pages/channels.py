"""Channels and routes by which people and machines are told, and what became of each notice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from otel_finops.base.errors import NotFound
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.page import Page, Submitted, action, page

_ROWS: Final = 50
_CHOICES_MAX: Final = 1_000
_BASIC: Final = ("username", "password")
TYPES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "webhook": ("signed JSON to an address of yours", ("url", "key", "headers", *_BASIC)),
    "slack": ("a message to a Slack channel, by its incoming webhook", ("url",)),
    "teams": ("a card to a Teams channel, by its workflow", ("url",)),
    "mail": ("a mail, by the mail server of the settings", ("to",)),
    "sms": ("a short message, by the provider that you name", ("url", "to", "fields", "format", "headers", *_BASIC)),
    "alertmanager": ("alerts to Prometheus' Alertmanager", ("url", "headers", *_BASIC)),
}
"""What each type of channel does, and the fields that it has beside its name, tenant and switch; it cannot do without the first one."""
ROUTE: Final = ("name", "channels", "tenant", "rules", "kinds", "min_severity", "labels", "resolved", "enabled")
_EMPTY_ROUTE: Final[Mapping[str, Any]] = {"rules": [], "kinds": [], "labels": {}}
"""What an emptied field of a route's form means: any."""


# --- channels --------------------------------------------------------------------------------------------------------


@page("/alerts/channels", title="Channels", group="Alerts", needs=("channels.list",))
def channels(page: Page) -> Response:
    """Ways by which notices reach people and machines, and which notices go by which."""
    found = page.ask("channels.list", carry=("tenant", "type", "cursor"), limit=_ROWS)
    routes = page.ask("alert_routes.list", carry=("tenant",), limit=_CHOICES_MAX)["routes"]
    return page.render("channels/channels.html", found=found, routes=routes, names=_names(page), types=TYPES)


def _names(page: Page) -> Mapping[int, str]:
    return {one["no"]: one["name"] for one in page.ask("channels.list", carry=(), limit=_CHOICES_MAX)["channels"]}


@page("/alerts/channels/new", title="New channel", needs=("channels.create",))
def new_channel(page: Page) -> Response:
    """The form of a type."""
    kind = _type(page.query.get("type", "webhook"))
    form = empty_form(OPERATIONS.named("channels.create"), {"type": kind, "enabled": True})
    return _form(page, kind, form.requiring(TYPES[kind][1][0]))


@action("/alerts/channels/new", needs="channels.create")
def make_channel(page: Page) -> Response:
    """Make a channel; the key of a webhook is shown this once."""
    kind = _type(_texts(page).get("type", ""))
    done = page.submit("channels.create")
    if done.answer is None:
        return _form(page, kind, done.filled.requiring(TYPES[kind][1][0]))
    if done.answer["signing_key"]:
        return _key_page(page, done.answer)
    channel = done.answer["channel"]
    return page.to(page.url("/alerts/channels/{no}", no=channel["no"]), f"{channel['name']} is made. Send a test by it.")


@page("/alerts/channels/{no}", title="Channel", needs=("channels.show",))
def channel(page: Page) -> Response:
    """A channel, without what is secret of it."""
    return _channel(page, _number(page))


def _channel(page: Page, no: int, submitted: Submitted | None = None, tested: Json | None = None) -> Response:
    shown = page.ask("channels.show", carry=(), no=no)
    one = shown["channel"]
    known = {name: one[name] for name in ("name", "enabled", "to", "format")}
    form = submitted.filled if submitted else empty_form(OPERATIONS.named("channels.update"), known)
    latest = page.try_ask("deliveries.list", carry=(), channel=no, limit=5)
    return _form(page, one["type"], form, shown=shown, tested=tested, latest=latest)


@action("/alerts/channels/{no}", needs="channels.update")
def change_channel(page: Page) -> Response:
    """Change a channel; what is left empty stays as it is."""
    no = _number(page)
    done = page.submit("channels.update", no=no, **_revision(page))
    if done.answer is None:
        return _channel(page, no, done)
    return page.to(page.url("/alerts/channels/{no}", no=no), "Stored." if done.answer["changed"] else "It was so already.")


@action("/alerts/channels/{no}/delete", needs="channels.delete")
def delete_channel(page: Page) -> Response:
    """Take a channel away."""
    no = _number(page)
    done = page.submit("channels.delete", no=no, **_revision(page))
    if done.answer is None:
        return _channel(page, no, done)
    return page.to(page.url("/alerts/channels"), f"{done.answer['channel']['name']} is gone, with all that was secret of it.")


@action("/alerts/channels/{no}/test", needs="channels.test")
def test_channel(page: Page) -> Response:
    """Send a notice that says it is a test, and say what came of it."""
    no = _number(page)
    done = page.submit("channels.test", no=no)
    if done.answer is None:
        return _channel(page, no, done)
    return _channel(page, no, tested=done.answer["delivery"])


@action("/alerts/channels/{no}/rotate-key", needs="channels.rotate_key")
def rotate_key(page: Page) -> Response:
    """Give a webhook a new key, which is shown this once."""
    no = _number(page)
    done = page.submit("channels.rotate_key", no=no)
    if done.answer is None:
        return _channel(page, no, done)
    return _key_page(page, done.answer)


def _key_page(page: Page, answer: Json) -> Response:
    """Not to be kept by any cache: it shows what is never shown again."""
    response = page.render("channels/key.html", channel=answer["channel"], key=answer["signing_key"])
    response.headers["Cache-Control"] = "no-store"
    return response


def _form(
    page: Page,
    kind: str,
    form: Filled,
    *,
    shown: Json | None = None,
    tested: Json | None = None,
    latest: Any = None,
) -> Response:
    faulty = form.fault or any(field.fault for field in form.fields.values())
    return page.render(
        "channels/channel.html",
        status=400 if faulty else 200,
        type=kind,
        types=TYPES,
        form=form,
        fields=[name for name in ("name", *TYPES[kind][1], "tenant", "enabled") if name in form.fields],
        shown=shown,
        tested=tested,
        latest=latest,
    )


def _type(name: str) -> str:
    if name not in TYPES:
        raise NotFound(f"There is no type of channels called {name[:40]!r}; there are {', '.join(TYPES)}.")
    return name


def _number(page: Page, what: str = "channel") -> int:
    text = page.path["no"]
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise NotFound(f"There is no {what} {text[:20]!r}.")
    return int(text)


_DIGITS_MAX: Final = 15


def _texts(page: Page) -> Mapping[str, str]:
    return page.posted.texts if page.posted else {}


def _revision(page: Page) -> dict[str, int]:
    text = _texts(page).get("revision", "")
    return {"revision": int(text)} if text.isascii() and text.isdigit() else {}


# --- routes ----------------------------------------------------------------------------------------------------------


@page("/alerts/routes/new", title="New route", needs=("alert_routes.create",))
def new_route(page: Page) -> Response:
    """Which notices go by which channels."""
    return _route_form(page, empty_form(OPERATIONS.named("alert_routes.create"), {"channels": page.query.get("channel")}))


@action("/alerts/routes/new", needs="alert_routes.create")
def make_route(page: Page) -> Response:
    """Make a route."""
    done = page.submit("alert_routes.create")
    if done.answer is None:
        return _route_form(page, done.filled)
    return page.to(
        page.url("/alerts/channels"), f"{done.answer['route']['name']} is made: its channels carry what routes say, nothing else."
    )


@page("/alerts/routes/{no}", title="Route", needs=("alert_routes.show",))
def route(page: Page) -> Response:
    """A route, and how it came to be so."""
    return _route(page, _number(page, "route"))


def _route(page: Page, no: int, submitted: Submitted | None = None) -> Response:
    shown = page.ask("alert_routes.show", carry=(), no=no)
    form = submitted.filled if submitted else empty_form(OPERATIONS.named("alert_routes.update"), shown["route"])
    return _route_form(page, form, shown)


@action("/alerts/routes/{no}", needs="alert_routes.update")
def change_route(page: Page) -> Response:
    """Change a route."""
    no, texts = _number(page, "route"), _texts(page)
    emptied = {name: value for name, value in _EMPTY_ROUTE.items() if name in texts and not texts[name].strip()}
    done = page.submit("alert_routes.update", no=no, **emptied, **_revision(page))
    if done.answer is None:
        return _route(page, no, done)
    return page.to(
        page.url("/alerts/channels"), f"{done.answer['route']['name']} is {'stored' if done.answer['changed'] else 'as it was'}."
    )


@action("/alerts/routes/{no}/delete", needs="alert_routes.delete")
def delete_route(page: Page) -> Response:
    """Take a route away."""
    no = _number(page, "route")
    done = page.submit("alert_routes.delete", no=no, **_revision(page))
    if done.answer is None:
        return _route(page, no, done)
    return page.to(page.url("/alerts/channels"), f"{done.answer['route']['name']} is gone.")


def _route_form(page: Page, form: Filled, shown: Json | None = None) -> Response:
    faulty = form.fault or any(field.fault for field in form.fields.values())
    return page.render(
        "channels/route.html",
        status=400 if faulty else 200,
        form=form,
        fields=[name for name in ROUTE if name in form.fields],
        shown=shown,
        names=_names(page),
    )


# --- deliveries ------------------------------------------------------------------------------------------------------


@page("/alerts/deliveries", title="Deliveries", group="Alerts", needs=("deliveries.list",))
def deliveries(page: Page) -> Response:
    """What became of notices."""
    found = page.ask("deliveries.list", carry=("status", "channel", "rule", "notice_id", "cursor"), limit=_ROWS)
    filtered = bool(page.query.keys() & {"status", "channel", "rule", "notice_id"})
    return page.render("channels/deliveries.html", found=found, names=_names(page), filtered=filtered)


@page("/alerts/deliveries/{no}", title="Delivery", needs=("deliveries.show",))
def delivery(page: Page) -> Response:
    """A notice on its way by one channel, and every attempt."""
    return _delivery(page, _number(page, "delivery"))


def _delivery(page: Page, no: int, fault: str = "") -> Response:
    shown = page.ask("deliveries.show", carry=(), no=no)
    return page.render("channels/delivery.html", status=400 if fault else 200, shown=shown, one=shown["delivery"], fault=fault)


@action("/alerts/deliveries/{no}/retry", needs="deliveries.retry")
def retry(page: Page) -> Response:
    """Have a delivery that was given up attempted anew."""
    no = _number(page, "delivery")
    done = page.submit("deliveries.retry", no=no)
    if done.answer is None:
        return _delivery(page, no, done.filled.fault)
    return page.to(page.url("/alerts/deliveries/{no}", no=no), "It waits to be attempted again.")


@action("/alerts/deliveries/run", needs="deliveries.run")
def run(page: Page) -> Response:
    """Attempt now what is due."""
    done = page.submit("deliveries.run")
    said = done.answer or {"delivered": 0, "again": 0, "failed": 0}
    told = f"{said['delivered']} delivered, {said['again']} to be tried again, {said['failed']} given up."
    return page.to(page.url("/alerts/deliveries"), done.filled.fault or told)
