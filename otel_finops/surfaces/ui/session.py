"""What the console keeps in the browser: the token by which somebody signed in, how he likes to look at things, and one notice."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from otel_finops.base.errors import BadInput, Forbidden
from otel_finops.base.zones import zone_of

TOKEN_COOKIE: Final = "otel_finops_token"  # noqa: S105 - a name
NOTICE_COOKIE: Final = "otel_finops_notice"
THEME_COOKIE: Final = "otel_finops_theme"
ZONE_COOKIE: Final = "otel_finops_zone"
THEMES: Final = ("light", "dark")
_NOTICE_S: Final = 60
_NOTICE_CHARS_MAX: Final = 500


def token_of(request: Request) -> str | None:
    """The token by which the browser's user signed in."""
    return request.cookies.get(TOKEN_COOKIE) or None


def sign_in(response: Response, request: Request, token: str) -> None:
    """Keep the token until the browser is closed; no script can read it, and pages of other sites cannot have it sent with a change.

    Where the browser came by TLS, it shows it by TLS alone: a proxy before us that ends TLS is told by the `Origin` that the browser saw.
    """
    by_tls = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    response.set_cookie(TOKEN_COOKIE, token, httponly=True, samesite="lax", secure=by_tls)


def sign_out(response: Response) -> None:
    """Forget the token."""
    response.delete_cookie(TOKEN_COOKIE, httponly=True, samesite="lax")


def notify(response: Response, text: str) -> None:
    """Have the next page say something once."""
    response.set_cookie(NOTICE_COOKIE, quote(text[:_NOTICE_CHARS_MAX]), max_age=_NOTICE_S, httponly=True, samesite="strict")


def notice_of(request: Request) -> str:
    """What the last page wanted to be said; empty for nothing."""
    return unquote(request.cookies.get(NOTICE_COOKIE, ""))


def theme_of(request: Request) -> str:
    """The theme that was chosen; empty: the system's."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else ""


def zone_of_browser(request: Request) -> str:
    """The browser's time zone, as its script told; empty where it did not, or there is no such zone."""
    told = request.cookies.get(ZONE_COOKIE, "")
    try:
        zone_of(told)
    except BadInput:
        return ""
    return told


def must_be_own(request: Request) -> None:
    """Refuse a change that a page of another site had the browser send.

    Browsers say it by `Sec-Fetch-Site`; older ones by `Origin`, which must name the host that was asked. A request that says neither
    comes from no browser that protects its user.

    Raises:
        Forbidden: it is not known to come from a page of this console.
    """
    site, origin = request.headers.get("sec-fetch-site") or None, request.headers.get("origin")
    own_origin = origin is not None and urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    if own_origin if site is None else site == "same-origin" and (origin is None or own_origin):
        return
    raise Forbidden("This change was not sent by a page of this console, so nothing was done. Open the page here and try again.")


def must_be_opened(request: Request) -> None:
    """Refuse what a page of another site has the browser load into itself, as a picture, a script or a frame: its user sees nothing of it,
    and it would take the places of what takes long. Links from other sites open pages as ever.

    Raises:
        Forbidden: nobody opened it.
    """
    said = request.headers
    if said.get("sec-fetch-site", "") in ("", "same-origin", "none"):
        return
    if said.get("sec-fetch-mode") != "navigate" or said.get("sec-fetch-dest", "document") != "document":
        raise Forbidden("A page of another site had this loaded into itself. Open it here, by a link or by its address.")


def path_of(request: Request) -> str:
    """The path that was asked for as it stands in an address; what it holds is data, too."""
    return quote("/" + str(request.scope["path"]).lstrip("/"), safe="/:@!$&'()*+,;=~")


def local_path(text: str | None) -> str:
    """A path of this console to go on to; `/` for anything that leads elsewhere."""
    if not text or not text.startswith("/") or text.startswith(("//", "/\\")) or any(ord(one) < 32 or one == "\\" for one in text):
        return "/"
    return text
