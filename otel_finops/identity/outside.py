"""Asking somebody outside whom the settings name: a function of the host application, or an HTTP endpoint."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import urllib3

from otel_finops.base.errors import StartRefused


class Disorder(Exception):
    """An answer that is none; the text is safe to log."""


class Endpoint:
    """A URL that takes JSON by POST.

    What is sent travels to this URL alone: redirects are not followed, and proxies of the environment are not used.

    Args:
        timeout_s: for all of one request.
        calls_max: connections that are kept.
        answer_bytes_max: a longer answer is refused.
    """

    def __init__(self, url: str, headers: Mapping[str, str], *, timeout_s: float, calls_max: int, answer_bytes_max: int) -> None:
        self._url = url
        self._headers = {**headers, "content-type": "application/json", "accept": "application/json", "user-agent": "otel-finops"}
        self._timeout_s = timeout_s
        self._answer_bytes_max = answer_bytes_max
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=calls_max, retries=False)

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; of any other status than 200 the body is not read.

        Raises:
            Disorder: it is too large; otherwise whatever goes wrong.
        """
        timeout = urllib3.Timeout(total=self._timeout_s)
        answer = self._pool.request(
            "POST", self._url, body=body, headers=self._headers, timeout=timeout, redirect=False, preload_content=False
        )
        try:
            text = answer.read(self._answer_bytes_max + 1, decode_content=False) if answer.status == 200 else b""
        finally:
            answer.close()
        if len(text) > self._answer_bytes_max:
            raise Disorder(f"its answer is larger than {self._answer_bytes_max} bytes")
        return answer.status, text


def function_at(name: str, setting: str) -> Callable[..., Any]:
    """The function of this name, PACKAGE.MODULE:FUNCTION, which a setting gives.

    Raises:
        StartRefused: there is no such function.
    """
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as fault:
        raise StartRefused(f"{setting}: {name} cannot be loaded ({type(fault).__name__}): install it where otel-finops runs") from fault
    if not callable(found):
        raise StartRefused(f"{setting}: {name} is no function")
    return found  # type: ignore[no-any-return]
