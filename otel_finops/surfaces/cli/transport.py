"""Where an operation runs: on a database of this machine, or at a service. Nothing behind this seam differs by it."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import typer

from otel_finops.base.errors import BadInput
from otel_finops.surfaces.cli.runtime import (
    CA_FILE_VARIABLE,
    PLAIN_HTTP_VARIABLE,
    TOKEN_FILE_VARIABLE,
    TOKEN_VARIABLE,
    Options,
    options_of,
    settings_of,
)

if TYPE_CHECKING:
    from otel_finops.operations.registry import Input, Json, Operation
    from otel_finops.settings import Settings
    from otel_finops.surfaces.cli.remote import Service

_TOKEN_BYTES_MAX: Final = 4096
"""Longer ones are nobody's token."""


class Transport(Protocol):
    """Runs operations."""

    def run(self, one: Operation, given: Input, key: str | None = None, /) -> Json:
        """The operation's answer; raises what it raises. `key`: idempotency key of a change."""
        ...


class Local:
    """Runs operations on the database that the settings name, as its owner."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def run(self, one: Operation, given: Input, key: str | None = None, /) -> Json:
        """See `Transport`."""
        from otel_finops.audit.trail import origin  # noqa: PLC0415 - `--help` must not load the database rooms
        from otel_finops.identity.principals import LOCAL  # noqa: PLC0415
        from otel_finops.operations.local import open_room  # noqa: PLC0415
        from otel_finops.operations.registry import invoke  # noqa: PLC0415

        with open_room(self._settings) as room:
            return invoke(one, room.context, LOCAL, given, origin=origin("cli"), key=key)


def transport_of(context: typer.Context) -> Transport:
    """Where this command's operations run.

    Raises:
        BadInput: a URL, token or certificate file that cannot be used, or a service and a local ledger at once.
        StartRefused: the settings of a local ledger have faults.
    """
    return service_of(context) or Local(settings_of(context))


def service_of(context: typer.Context) -> Service | None:
    """The service that was asked for; None for a ledger of this machine.

    Raises:
        BadInput: see `transport_of`.
    """
    options = options_of(context)
    url = options.service_url()
    if url is None:
        return None
    from otel_finops.surfaces.cli.remote import Service, address_of  # noqa: PLC0415 - a local ledger needs no HTTP

    token = _token(options)
    plain = options.plain_http or os.environ.get(PLAIN_HTTP_VARIABLE, "").lower() in ("1", "true", "yes", "on")
    ca_file = options.ca_file or os.environ.get(CA_FILE_VARIABLE) or None
    return Service(address_of(url, ca_file, with_token=token is not None, plain_http=plain), token, ask=lambda: _ask(url, plain))


def _token(options: Options) -> str | None:
    """The token, from the file that was named or from the environment; never from the command line, which others can read."""
    file = options.token_file
    if file is None and (token := os.environ.get(TOKEN_VARIABLE)):
        return _checked(token, TOKEN_VARIABLE)
    file = file or os.environ.get(TOKEN_FILE_VARIABLE) or None
    if file is None:
        return None
    try:
        with Path(file).open("rb") as opened:
            return _checked(opened.read(_TOKEN_BYTES_MAX + 1).decode("utf-8", "replace"), file)
    except OSError as fault:
        raise BadInput(f"--token-file: {file} cannot be read: {fault.strerror or type(fault).__name__}") from fault


def _checked(text: str, where: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token or len(token) > _TOKEN_BYTES_MAX:
        raise BadInput(f"{where}: holds no token; a token is one line of letters, digits and signs")
    return token


def _ask(url: str, plain: bool) -> str | None:
    """Ask whoever sits before the terminal for the token, unseen; None where nobody does."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    from otel_finops.surfaces.cli.remote import address_of  # noqa: PLC0415 - as above

    address_of(url, with_token=True, plain_http=plain)
    text = getpass.getpass(f"Token for {url}: ", sys.stderr)
    return _checked(text, "the token") if text.strip() else None
