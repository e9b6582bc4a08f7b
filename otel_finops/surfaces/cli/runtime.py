"""What every command shares: its settings, its output, and the exit codes of design 4.2."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, ParamSpec

import typer
from pydantic import ValidationError

from otel_finops.base.errors import Busy, FinopsError, Unavailable
from otel_finops.operations.faults import explained, printable
from otel_finops.settings import Settings, load

OK: Final = 0
CHECK_FAILED: Final = 1
BAD_INPUT: Final = 2
BUSY: Final = 3
BROKEN_PIPE: Final = 141
"""128 + SIGPIPE, as other programs end when the reader of their output has gone."""

Arguments = ParamSpec("Arguments")


class Options(NamedTuple):
    """What was given before the command's name."""

    config: str | None = None
    database: str | None = None


def settings_of(context: typer.Context) -> Settings:
    """The settings of this run: `--config`, the environment, and `--database` above both.

    Raises:
        StartRefused: they have faults.
    """
    options = context.find_object(Options) or Options()
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
        except ValidationError as fault:
            fail(explained(fault), BAD_INPUT)
        except (Busy, Unavailable) as fault:
            holder = f" (held by {fault.holder})" if isinstance(fault, Busy) and fault.holder else ""
            fail(f"{fault}{holder}", BUSY)
        except FinopsError as fault:
            fail(str(fault), BAD_INPUT)

    return run


def fail(message: str, code: int) -> None:
    """Say on standard error what is wrong, and end.

    Raises:
        typer.Exit: always.
    """
    print(f"otel-finops: {printable(message)}", file=sys.stderr)
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
