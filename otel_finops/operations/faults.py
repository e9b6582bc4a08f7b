"""Input that an operation's model refuses, in words that every surface shows alike."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

_SHOWN_FAULTS_MAX: Final = 20


def explained(error: ValidationError) -> str:
    """Every fault of the input with its field; the values themselves are not repeated."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)[:_SHOWN_FAULTS_MAX]
    return printable(
        "; ".join(f"{'.'.join(map(str, fault['loc']))[:80] or 'input'}: {_message(fault['type'], fault['msg'])}" for fault in faults)
    )


def _message(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such parameter"
    if kind == "missing":
        return "must be given"
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def printable(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()
