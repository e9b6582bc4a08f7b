"""A page: who looks, what the URL asks for, and the operations behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote, urlencode

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import compile_path

from otel_finops.base.errors import Busy, FinopsError, Forbidden, NotFound, Unavailable
from otel_finops.identity.principals import Principal
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.faults import explained
from otel_finops.operations.registry import Input, Json, Operation, admit, invoke
from otel_finops.surfaces.ui.forms import Filled, Posted, input_of_form
from otel_finops.surfaces.ui.same_as import SameAs, same_as
from otel_finops.surfaces.ui.session import notify, path_of, zone_of_browser
from otel_finops.surfaces.ui.window import DEFAULT_RANGE, TimeWindow, window_of
from otel_finops.surfaces.web.texts import kinds_of, value_of

if TYPE_CHECKING:
    from otel_finops.surfaces.ui.rendering import Renderer

CARRIED: Final = ("range", "from", "to", "zone", "tenant")
"""What a link to another page takes along."""


TENANTS_OFFERED_MAX: Final = 50
WAITING_COUNTED_MAX: Final = 100


class Declared(NamedTuple):
    """A page of the console.

    Attributes:
        path: with `{fields}`.
        title: in the navigation and the window.
        group: under which heading it stands in the navigation; empty: it is reached from other pages alone.
        needs: operations: it is shown to who may run one of them.
        handler: makes it.
        changes: it takes what a form sends (POST), instead of being opened.
        slow: whether what this query asks for takes long: then the page says at once that it works on it, and how long so far.
    """

    path: str
    title: str
    group: str
    needs: tuple[str, ...]
    handler: Callable[[Page], Response]
    changes: bool = False
    slow: Callable[[Mapping[str, str]], bool] = lambda _: False

    @property
    def is_entry(self) -> bool:
        """Whether the navigation lists it."""
        return bool(self.group)


GROUPS: Final = ("Spend", "Agents", "Govern", "Understand", "Account", "Prices", "Alerts", "System")
"""The headings of the navigation, in its order."""
PAGES: Final[list[Declared]] = []
"""All pages and actions; those of one group in the order in which the navigation shows them."""
Handler: TypeAlias = Callable[["Page"], Response]


def page(
    path: str, *, title: str, group: str = "", needs: Sequence[str] = (), slow: Callable[[Mapping[str, str]], bool] = lambda _: False
) -> Callable[[Handler], Handler]:
    """Declare the decorated function as a page; the arguments are those of `Declared`."""

    def declare(handler: Handler) -> Handler:
        PAGES.append(Declared(path, title, group, tuple(needs), handler, slow=slow))
        return handler

    return declare


def action(path: str, *, needs: str) -> Callable[[Handler], Handler]:
    """Declare the decorated function as what a form's POST to `path` does; `needs` is the operation that it runs."""

    def declare(handler: Handler) -> Handler:
        PAGES.append(Declared(path, "", "", (needs,), handler, changes=True))
        return handler

    return declare


class Answer(NamedTuple):
    """What an operation said, or why it did not.

    Attributes:
        value: its answer; None where there is none.
        fault: why not, in words; empty where there is an answer.
    """

    value: Json | None
    fault: str = ""


class Submitted(NamedTuple):
    """What came of a form.

    Attributes:
        answer: the operation's; None where the form has faults.
        filled: the form as it was sent, with its faults beside the fields.
    """

    answer: Json | None
    filled: Filled


class Page:
    """One request for a page.

    Args:
        request: as it came.
        principal: who looks.
        context: what operations work on.
        declared: the page.
        renderer: makes HTML of templates.
        posted: what a form sent; None for a page that is opened.

    Attributes:
        path: the fields of the path.
        query: the URL's query, each name once.
        zone: IANA name of the time zone in which days begin and instants are shown.
        asked: what was asked so far, for "same as".
    """

    def __init__(
        self, request: Request, principal: Principal, context: Context, declared: Declared, renderer: Renderer, posted: Posted | None = None
    ) -> None:
        self.request = request
        self.principal = principal
        self.context = context
        self.declared = declared
        self.posted = posted
        self.path: Mapping[str, str] = {name: str(text) for name, text in request.path_params.items()}
        self.query: Mapping[str, str] = {name: text for name, text in request.query_params.items() if text}
        self.zone = self.query.get("zone") or zone_of_browser(request) or context.zone
        self.asked: list[SameAs] = []
        self._renderer = renderer
        self._kept_from: Busy | Unavailable | None = None

    @property
    def is_partial(self) -> bool:
        """Whether a script asks for a part of the page."""
        return self.request.headers.get("hx-request") == "true"

    @property
    def is_waited_for(self) -> bool:
        """Whether whoever asks waits for all of it: a script does, behind a page that says so, and so does who has none."""
        return self.is_partial or "wait" in self.query or self.request.headers.get("sec-fetch-mode") != "navigate"

    @property
    def base(self) -> str:
        """Scheme, host and port by which the service was called."""
        return f"{self.request.url.scheme}://{self.request.headers.get('host', 'localhost')}"

    @property
    def own_path(self) -> str:
        """The path of this page for an address; where a form's faults are shown, that of the page which the form stands on."""
        path = path_of(self.request)
        while self.declared.changes and path != "/" and not _is_opened(path):
            path = path.rpartition("/")[0] or "/"
        return path

    def window(self, default: str = DEFAULT_RANGE) -> TimeWindow:
        """The time that the page shows; `default` is one of `window.RANGES`."""
        return window_of(self.query, self.context.clock.now_ns(), self.zone, default)

    def can(self, name: str) -> bool:
        """Whether the role and the switches let this principal run an operation."""
        one = OPERATIONS.named(name)
        return one.is_on(self.context.features) and self.principal.may(one.permission)

    def tenants(self) -> Sequence[str]:
        """The tenants that he may look at alone: his own, or the dearest of this window for who sees all."""
        if self.principal.tenants is not None:
            return self.principal.tenants
        if not self.can("dashboard.top"):
            return ()
        given = OPERATIONS.named("dashboard.top").input.model_validate({"by": "tenant", "limit": TENANTS_OFFERED_MAX})
        found = invoke(OPERATIONS.named("dashboard.top"), self.context, self.principal, given, origin=self._origin)
        return sorted(row["name"] for row in found["top"] if row["name"])

    def waiting(self) -> int:
        """How many requests wait for this principal's approval, up to a hundred; 0 for who may not approve."""
        if not self.can("approvals.approve"):
            return 0
        one = OPERATIONS.named("approvals.list")
        given = one.input.model_validate({"status": "pending", "limit": WAITING_COUNTED_MAX})
        return len(invoke(one, self.context, self.principal, given, origin=self._origin)["approvals"])

    def ask(self, name: str, /, *, carry: Collection[str] | None = None, **fixed: Any) -> Json:
        """Run an operation that reads.

        Its input is what the URL's path and query hold of its parameters, and the page's window where the query names no instants.

        Args:
            name: of the operation.
            carry: only these parameters are taken from the URL, by their names outside; None: all that the operation knows.
            fixed: values that the page gives (`from_` for `from`); None leaves a parameter away, whatever the URL says.

        Raises:
            FinopsError: as `registry.invoke` raises; BadInput where a value does not fit.
        """
        one = OPERATIONS.named(name)
        admit(one, self.context, self.principal)
        given = self._input(one, carry, {said.rstrip("_"): value for said, value in fixed.items()})
        self.asked.append(same_as(one, given, self.base, token=self.context.settings.auth.mode == "token"))
        return invoke(one, self.context, self.principal, given, origin=self._origin)

    def try_ask(self, name: str, /, *, carry: Collection[str] | None = None, **fixed: Any) -> Answer:
        """The same for a part of a page that can be missing: what it may not see or cannot have is said in its place."""
        try:
            return Answer(self.ask(name, carry=carry, **fixed))
        except ValidationError as fault:
            return Answer(None, explained(fault))
        except FinopsError as fault:
            return Answer(None, str(fault))

    def submit(self, name: str, /, **fixed: Any) -> Submitted:
        """Run an operation with what a form sent.

        Args:
            name: of the operation.
            fixed: values that the page gives instead of the form, e.g. the number in the path.

        Returns:
            Its answer; or, where its input has faults or it refuses what was asked, the form with its faults.

        Raises:
            FinopsError: what no other input would mend: Forbidden, NotFound, Busy.
        """
        one = OPERATIONS.named(name)
        admit(one, self.context, self.principal)
        filled = input_of_form(one, self.posted or Posted({}, {}), {said.rstrip("_"): value for said, value in fixed.items()})
        if filled.given is None:
            return Submitted(None, filled)
        try:
            return Submitted(invoke(one, self.context, self.principal, filled.given, origin=self._origin), filled)
        except (Forbidden, NotFound):
            raise
        except FinopsError as fault:
            self._kept_from = fault if isinstance(fault, Busy | Unavailable) else None
            return Submitted(None, filled.refused(str(fault)))

    def render(self, template: str, /, *, block: str | None = None, status: int = 200, **values: Any) -> Response:
        """HTML of a template, or of one of its blocks; what a form sent stands in it again where the service could not take it now."""
        if self._kept_from is None:
            return self._renderer.response(self, template, values, block=block, status=status)
        response = self._renderer.response(self, template, values, block=block, status=503)
        response.headers["Retry-After"] = after(self._kept_from)
        return response

    def fragment(self, template: str, /, **values: Any) -> str:
        """HTML of a template that is a part of a page."""
        return self._renderer.html(self, template, values)

    def url(self, path: str, /, **changes: Any) -> str:
        """A path of the console with the time, zone and tenant of this page, and with `changes`.

        Args:
            path: with `{fields}`, which `changes` fill.
            changes: to the query (`from_` for `from`); None leaves one away.
        """
        kept = {name: self.query[name] for name in CARRIED if name in self.query}
        return _url(path, kept, changes)

    def here(self, **changes: Any) -> str:
        """This page with another query: `changes` put in, None leaves one away; a cursor counts for one query alone."""
        kept = {name: text for name, text in self.query.items() if name not in ("cursor", "wait")}
        return _url(self.own_path, kept, changes)

    def to(self, path: str, notice: str = "") -> Response:
        """Go on to another page, which says the notice once."""
        response = RedirectResponse(path, 303)
        if notice:
            notify(response, notice)
        return response

    @property
    def _origin(self) -> str:
        return f"console {self.request.client.host if self.request.client else 'unknown'} request {self.request.state.request_id}"

    def _input(self, one: Operation, carry: Collection[str] | None, fixed: Mapping[str, Any]) -> Input:
        kinds = kinds_of(one.input)
        taken: dict[str, Any] = {name: text for name, text in {**self.query, **self.path}.items() if carry is None or name in carry}
        if "from" in kinds and "to" in kinds and "from" not in fixed and "to" not in fixed:
            window = self.window()
            taken = {**taken, "from": window.from_, "to": window.to}
        if "zone" in kinds:
            taken["zone"] = self.zone
        return input_of(one, {**taken, **fixed})


def input_of(one: Operation, given: Mapping[str, Any]) -> Input:
    """The input of an operation out of texts and values by parameter; what it does not know, and None, is left away.

    Raises:
        ValidationError: the declaration refuses it.
    """
    kinds = kinds_of(one.input)
    known = {name: value for name, value in given.items() if name in kinds and value is not None}
    values = {name: value_of(value, kinds[name]) if isinstance(value, str) else value for name, value in known.items()}
    return one.input.model_validate_json(orjson.dumps(values), strict=True)


def after(fault: Busy | Unavailable) -> str:
    """In how many seconds to come again, for `Retry-After`."""
    return str(max(1, math.ceil(fault.retry_after_s)))


def _is_opened(path: str) -> bool:
    return any(compile_path(one.path)[0].match(path) for one in PAGES if not one.changes)


def _url(path: str, kept: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    query = {**kept, **{name.rstrip("_"): value for name, value in changes.items() if f"{{{name}}}" not in path}}
    said = {name: value for name, value in query.items() if value not in (None, "")}
    filled = path.format(**{name: quote(str(value), safe="") for name, value in changes.items() if f"{{{name}}}" in path})
    return "/" + filled.lstrip("/\\") + (f"?{urlencode(said)}" if said else "")  # `//` would lead to another site
