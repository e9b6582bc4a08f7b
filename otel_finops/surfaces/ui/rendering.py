"""HTML out of templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context as TemplateContext
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from otel_finops.surfaces.ui import formats
from otel_finops.surfaces.ui.page import GROUPS, PAGES, Declared, Page
from otel_finops.surfaces.ui.session import NOTICE_COOKIE, notice_of, theme_of
from otel_finops.surfaces.ui.static_files import StaticFiles
from otel_finops.surfaces.ui.window import RANGES

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load and run: our own files, nothing inline, nothing from elsewhere."""


_HEADERS: Final = {"Content-Security-Policy": POLICY, "Cross-Origin-Opener-Policy": "same-origin"}
"""Beside those of every answer: what was opened from a page of another site has no hold on that one, nor that one on it."""
_FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "money": formats.money,
    "exact": formats.exact,
    "short_money": formats.short_money,
    "count": formats.count,
    "tokens": formats.tokens,
    "percent": formats.percent,
    "part": formats.part,
    "duration": formats.duration,
}


class Renderer:
    """Makes responses of templates.

    Args:
        static: the files that templates name.
        version: of the product.
        listeners: where spans are taken, by name.
    """

    def __init__(self, static: StaticFiles, version: str, listeners: Mapping[str, str]) -> None:
        self._templates = Environment(
            loader=PackageLoader("otel_finops.surfaces.ui"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {"static": static.url, "version": version, "listeners": listeners, "ranges": RANGES}
        self._templates.filters |= {name: _in_locale(function) for name, function in _FILTERS.items()} | {"json": _json}

    def response(self, page: Page, template: str, values: Mapping[str, Any], *, block: str | None = None, status: int = 200) -> Response:
        """A page, or one block of it, with the headers of every page."""
        html = self.html(page, template, values, block=block)
        response = HTMLResponse(html, status, headers=_HEADERS)
        if NOTICE_COOKIE in page.request.cookies and block is None:
            response.delete_cookie(NOTICE_COOKIE, httponly=True, samesite="strict")
        return response

    def html(self, page: Page, template: str, values: Mapping[str, Any], *, block: str | None = None) -> str:
        """The text of a template, or of one block of it."""
        loaded = self._templates.get_template(template)
        given = {**self._surroundings(page), **values}
        return loaded.render(given) if block is None else "".join(loaded.blocks[block](loaded.new_context(given)))

    def _surroundings(self, page: Page) -> dict[str, Any]:
        locale = formats.locale_of(page.request.headers.get("accept-language", ""))
        return {
            "page": page,
            "navigation": navigation(page),
            "notice": notice_of(page.request),
            "theme": theme_of(page.request),
            "locale": locale,
            "when": partial(formats.when, zone=page.zone, locale=locale),
            "day": partial(formats.day, zone=page.zone, locale=locale),
            "ago": lambda instant: formats.ago(instant, page.context.clock.now_ns(), locale),
            "change": partial(formats.change, locale=locale),
        }


def navigation(page: Page) -> Sequence[tuple[str, Sequence[Declared]]]:
    """The headings with the pages below them that this principal may open."""
    groups: dict[str, list[Declared]] = {group: [] for group in GROUPS}
    for declared in PAGES:
        if declared.is_entry and (not declared.needs or any(page.can(name) for name in declared.needs)):
            groups[declared.group].append(declared)
    return [(group, entries) for group, entries in groups.items() if entries]


def _in_locale(function: Callable[..., Any]) -> Callable[..., Any]:
    """A format as a filter, in the viewer's locale."""

    @pass_context
    def shown(context: TemplateContext, value: Any, *given: Any) -> Any:
        return function(value, *given, locale=context["locale"])

    return shown


def _json(value: Any) -> str:
    """JSON for an attribute, which the template escapes; exact amounts stay texts."""
    return orjson.dumps(value, default=lambda one: str(one) if isinstance(one, Decimal | Markup) else None).decode()
