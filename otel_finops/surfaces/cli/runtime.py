"""What every command shares: where it works (settings, or a service), its output, and the exit codes of docs/cli.md."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec

import typer

from otel_finops.base.errors import BadInput, Busy, FinopsError, Unavailable
from otel_finops.surfaces.cli.texts import safe_lines

if TYPE_CHECKING:
    from otel_finops.settings import Settings

OK: Final = 0
CHECK_FAILED: Final = 1
BAD_INPUT: Final = 2
BUSY: Final = 3
BROKEN_PIPE: Final = 141
"""128 + SIGPIPE, as other programs end when the reader of their output has gone."""

Arguments = ParamSpec("Arguments")


URL_VARIABLE: Final = "OTEL_FINOPS_URL"
TOKEN_VARIABLE: Final = "OTEL_FINOPS_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FILE_VARIABLE: Final = "OTEL_FINOPS_TOKEN_FILE"  # noqa: S105
CA_FILE_VARIABLE: Final = "OTEL_FINOPS_CA_FILE"
PLAIN_HTTP_VARIABLE: Final = "OTEL_FINOPS_PLAIN_HTTP"


class Options(NamedTuple):
    """What was given before the command's name."""

    config: str | None = None
    database: str | None = None
    url: str | None = None
    token_file: str | None = None
    ca_file: str | None = None
    plain_http: bool = False

    def service_url(self) -> str | None:
        """The service that was asked for; None for a local database. What was said on the command line counts before the environment.

        Raises:
            BadInput: both a service and a local ledger were named.
        """
        local = self.database is not None or self.config is not None
        if self.url is not None and local:
            raise BadInput("--url names a service and --database or --config a local ledger: give one of them")
        return self.url if self.url is not None or local else os.environ.get(URL_VARIABLE) or None


def options_of(context: typer.Context) -> Options:
    """What was given before the command's name."""
    return context.find_object(Options) or Options()


def settings_of(context: typer.Context, *, serves: bool = False) -> Settings:
    """The settings of this run: `--config`, the environment, and `--database` above both.

    Args:
        serves: the command is a service itself, so that it does not matter whether the environment names another one.

    Raises:
        BadInput: a service was asked for, which this command cannot ask.
        StartRefused: the settings have faults.
    """
    from otel_finops.settings import load  # noqa: PLC0415 - `--help` needs no settings

    options = options_of(context)
    if options.url is not None or (not serves and options.service_url() is not None):
        how = "leave --url away" if options.url is not None else f"unset {URL_VARIABLE}, or name the ledger with --database"
        raise BadInput(f"`{context.command_path}` works on this machine and cannot be asked of a service: {how}")
    environ = dict(os.environ)
    if options.database is not None:
        environ["OTEL_FINOPS_DATABASE__URL"] = options.database
    return load(options.config, environ)


def guarded(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Turn what a command raises into one line on standard error and its exit code."""

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:
            _leave_the_pipe()
            raise typer.Exit(BROKEN_PIPE) from None
        except (Busy, Unavailable) as fault:
            holder = f" (held by {fault.holder})" if isinstance(fault, Busy) and fault.holder else ""
            fail(f"{fault}{holder}", BUSY)
        except FinopsError as fault:
            fail(str(fault), BAD_INPUT)
        except ValueError as fault:
            fail(_refusal(fault), BAD_INPUT)

    return run


def _refusal(fault: ValueError) -> str:
    """What an operation's model refuses, in the API's words.

    Raises:
        ValueError: the fault itself, when it is another one: that is a mistake of ours.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - `--help` validates nothing

    from otel_finops.operations.faults import explained  # noqa: PLC0415

    if not isinstance(fault, ValidationError):
        raise fault
    return explained(fault)


def fail(message: str, code: int) -> None:
    """Say on standard error what is wrong, and end.

    Raises:
        typer.Exit: always.
    """
    print(f"otel-finops: {safe_lines(message)}", file=sys.stderr)
    raise typer.Exit(code)


def write_lines(lines: Iterable[str]) -> None:
    """Write texts that end with a line break to standard output, each at once when somebody may be waiting for it."""
    out = sys.stdout
    for line in lines:
        out.write(line)


def write_json(value: Any) -> None:
    """Write a value as one line of JSON, as the API answers it."""
    import orjson  # noqa: PLC0415 - `--help` does not need it

    sys.stdout.write(orjson.dumps(value).decode() + "\n")


def _leave_the_pipe() -> None:
    """Let the interpreter's last flush go nowhere instead of raising again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
