"""Who may ask the API and this console, and who may send spans."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.governing import number_of
from otel_finops.surfaces.ui.page import Page, action, page

KINDS: Final = ("tokens", "senders")


@page("/tokens", title="Tokens", group="System", needs=("tokens.list",))
def tokens(page: Page) -> Response:
    """API tokens and senders' tokens."""
    return _shown(page)


@action("/tokens/create", needs="tokens.create")
def create_token(page: Page) -> Response:
    """A new API token; its secret is shown this once."""
    return _create(page, "tokens")


@action("/senders/create", needs="senders.create")
def create_sender(page: Page) -> Response:
    """A new sender's token; its secret is shown this once."""
    return _create(page, "senders")


@action("/tokens/{no}/revoke", needs="tokens.revoke")
def revoke_token(page: Page) -> Response:
    """End an API token at once."""
    return _revoke(page, "tokens")


@action("/senders/{no}/revoke", needs="senders.revoke")
def revoke_sender(page: Page) -> Response:
    """End a sender's token at once."""
    return _revoke(page, "senders")


@action("/tokens/{no}/rotate", needs="tokens.rotate")
def rotate_token(page: Page) -> Response:
    """A successor of an API token; the old one holds for the overlap."""
    return _rotate(page, "tokens")


@action("/senders/{no}/rotate", needs="senders.rotate")
def rotate_sender(page: Page) -> Response:
    """A successor of a sender's token; the old one holds for the overlap."""
    return _rotate(page, "senders")


def _create(page: Page, kind: str) -> Response:
    done = page.submit(f"{kind}.create")
    if done.answer is None:
        return _shown(page, {kind: done.filled}, status=400)
    return _shown(page, secret=done.answer["secret"] or "", made=done.answer["made"]["name"])


def _revoke(page: Page, kind: str) -> Response:
    done = page.submit(f"{kind}.revoke", no=number_of(page, "token"))
    return page.to(page.url("/tokens"), "The token is revoked." if done.answer is not None else done.filled.fault)


def _rotate(page: Page, kind: str) -> Response:
    done = page.submit(f"{kind}.rotate", no=number_of(page, "token"))
    if done.answer is None:
        return page.to(page.url("/tokens"), done.filled.fault)
    return _shown(page, secret=done.answer["secret"] or "", made=done.answer["made"]["name"])


def _shown(page: Page, filled: dict[str, Filled] | None = None, *, secret: str = "", made: str = "", status: int = 200) -> Response:
    lists = {kind: page.ask(f"{kind}.list", carry=("state",), limit=200)["tokens"] for kind in KINDS}
    forms = {kind: empty_form(OPERATIONS.named(f"{kind}.create")) for kind in KINDS} | (filled or {})
    return page.render("tokens/tokens.html", status=status, lists=lists, forms=forms, secret=secret, made=made)
