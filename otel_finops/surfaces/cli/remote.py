"""A running service, asked over HTTP: the same operations, and the same faults as if the ledger were here.

A request is repeated where the service says when (429 and 503 with `Retry-After`), and when the connection broke: what changes something
carries a key of its own, by which the service knows a repetition and gives the stored answer. Long runs alone are not repeated after a
broken connection: they go on although nobody waits for them.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import orjson
import urllib3

from otel_finops.base.errors import (
    BadInput,
    Busy,
    FinopsError,
    Forbidden,
    NotFound,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from otel_finops.base.limits import API_BODY_MIB_MAX, MIB
from otel_finops.operations.faults import KINDS
from otel_finops.operations.idempotency import checked_key
from otel_finops.operations.registry import Input, Json, Operation
from otel_finops.operations.requests import PREFIX, Asked, request_of

SENT_FILE_BYTES_MAX: Final = API_BODY_MIB_MAX * MIB // 4 * 3 - MIB
"""A larger file in base64 is no body that any service takes."""
ANSWER_BYTES_MAX: Final = 256 * MIB
"""The cost tree of a trace with most nodes has some 60 MiB; what is larger is no answer of ours."""
TRIES: Final = 4
"""How often a request is sent at most."""
WAIT_S_MAX: Final = 30.0
"""A service that asks for a longer pause is not waited for: the person is told how long it is."""
CONNECT_S: Final = 10.0
READ_S: Final = 900.0
"""A long run (reprice, verify, refresh) answers when it is done."""
_ACCEPT: Final = "application/json, application/problem+json, */*;q=0.5"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_BY_SLUG: Final = {kind.slug: fault for fault, kind in KINDS.items()}
"""Problems by the end of their `type`, as docs/api.md lists them."""
_BY_STATUS: Final[Mapping[int, type[FinopsError]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    413: TooLarge,
    429: TooManyRequests,
    503: Unavailable,
}
"""For problems of other names, and for what a proxy in between answers."""


class Address(NamedTuple):
    """Where a service is and how it is trusted.

    Attributes:
        url: as it was given, without a trailing slash or `/api/v1`.
        ca_file: PEM file of the authorities to trust instead of the system's; None for the system's.
    """

    url: str
    ca_file: str | None = None


def address_of(url: str, ca_file: str | None = None, *, with_token: bool = False, plain_http: bool = False) -> Address:
    """Check where a service is said to be.

    Raises:
        BadInput: no such URL can be asked, or a token would cross a network in clear.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise BadInput("--url: not the address of a service; write https://HOST or http://127.0.0.1:8080")
    if parts.username is not None:
        raise BadInput("--url: no user or password belongs in it; the token comes from OTEL_FINOPS_TOKEN or --token-file")
    if parts.scheme == "http" and with_token and not plain_http and host not in _LOOPBACK:
        raise BadInput(
            f"--url: the token would cross the network to {host} unencrypted; write https://, "
            "or say --plain-http where the network is trusted"
        )
    return Address(url.rstrip("/").removesuffix(PREFIX), ca_file)


class Service:
    """Runs operations at a service.

    Args:
        address: see `address_of`.
        token: shown as a bearer token; None to show none.
        ask: asked once for a token when the service wants one and none was given; None: the refusal stands.
        sleep: waits seconds; tests replace it.
    """

    def __init__(
        self,
        address: Address,
        token: str | None = None,
        *,
        ask: Callable[[], str | None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._address = address
        self._token = token
        self._ask = ask
        self._sleep = sleep
        try:
            self._pool = urllib3.PoolManager(
                retries=False, cert_reqs="CERT_REQUIRED", ca_certs=address.ca_file, timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S)
            )
            if address.ca_file is not None:
                open(address.ca_file, "rb").close()
        except OSError as fault:
            raise BadInput(f"--ca-file: {address.ca_file} cannot be read: {fault.strerror or type(fault).__name__}") from fault

    def run(self, one: Operation, given: Input, key: str | None = None, /) -> Json:
        """The operation's answer.

        Args:
            key: idempotency key of a change; one is made where none is given.

        Raises:
            FinopsError: what the service refused, as the operation itself would raise it here; Unavailable when it cannot be reached.
        """
        given = _with_file(given)
        if one.changes:
            key = secrets.token_hex(16) if key is None else checked_key(key)
        with self.answer(request_of(one, given), key=key, repeatable=not one.is_run(given)) as response:
            try:
                answer = orjson.loads(_body(response))
            except orjson.JSONDecodeError:
                answer = None
        if not isinstance(answer, dict):
            raise BadInput(f"{self._address.url} answers, but not as an otel_finops service does; is the URL right?")
        return answer

    @contextmanager
    def answer(self, asked: Asked, *, key: str | None = None, repeatable: bool = True) -> Iterator[urllib3.BaseHTTPResponse]:
        """The good answer to a request, its body not read yet (`response.stream()`); the connection is given back afterwards.

        Args:
            key: of a change, by which the service knows a repetition.
            repeatable: it may be sent again when the connection breaks before the answer begins.

        Raises:
            FinopsError: see `run`.
        """
        headers = {
            "accept": _ACCEPT,
            "accept-encoding": "gzip",
            "user-agent": "otel-finops",
        }
        headers |= self._bearer()
        if asked.body is not None:
            headers["content-type"] = "application/json"
        if key is not None:
            headers["idempotency-key"] = key
        response = self._answered(asked, headers, repeatable)
        if response.status == 401 and self._token is None and (token := self._ask()) is not None:
            response.drain_conn()
            response.release_conn()
            self._token = token
            response = self._answered(asked, {**headers, **self._bearer()}, repeatable)
        try:
            if response.status != 200:
                raise self._fault(response)
            yield response
        except (urllib3.exceptions.HTTPError, OSError) as fault:
            raise self._away(fault, headers) from fault
        finally:
            response.close()
            response.release_conn()

    def _bearer(self) -> dict[str, str]:
        return {} if self._token is None else {"authorization": f"Bearer {self._token}"}

    def _answered(self, asked: Asked, headers: Mapping[str, str], repeatable: bool) -> urllib3.BaseHTTPResponse:
        """The answer of the service, of whatever status, after as many tries as it asks for."""
        for number in range(1, TRIES + 1):
            last = number == TRIES
            try:
                response = self._send(asked, headers)
            except (urllib3.exceptions.HTTPError, OSError) as fault:
                if last or not repeatable or not isinstance(fault, urllib3.exceptions.ProtocolError):
                    raise self._away(fault, headers) from fault
                continue
            wait_s = _pause(response, repeated=number > 1)
            if last or wait_s is None or wait_s > WAIT_S_MAX:
                return response
            response.drain_conn()
            response.release_conn()
            self._sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    def _send(self, asked: Asked, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        return self._pool.request(
            asked.method,
            f"{self._address.url}{asked.path}",
            fields=dict(asked.query) if asked.body is None else None,
            body=None if asked.body is None else orjson.dumps(asked.body),
            headers=dict(headers),
            redirect=False,
            preload_content=False,
        )

    def _fault(self, response: urllib3.BaseHTTPResponse) -> FinopsError:
        """What a refusal would be if the operation had run here."""
        try:
            problem = orjson.loads(_body(response))
        except orjson.JSONDecodeError:
            problem = None
        if not isinstance(problem, dict) or "status" not in problem:
            return self._stranger(response.status)
        detail = str(problem.get("detail") or problem.get("title") or f"refused with status {response.status}")
        kind = _BY_SLUG.get(str(problem.get("type", "")).rpartition(":")[2]) or _BY_STATUS.get(response.status)
        wait_s = _retry_after(response) or 1.0
        if kind is not None and issubclass(kind, Busy | Unavailable):
            return kind(detail, retry_after_s=wait_s)
        if kind is Unauthenticated:
            return Unauthenticated(f"{detail} The token comes from OTEL_FINOPS_TOKEN or --token-file FILE.")
        if kind is None and response.status >= 500:
            return FinopsError(f"{problem.get('title', 'Fault')} at {self._address.url}: {detail} ({problem.get('instance', '')})")
        return (kind or BadInput)(detail)

    def _stranger(self, status: int) -> FinopsError:
        """The fault of an answer that is not the service's: a proxy's, or another program's."""
        said = f"{self._address.url} answered {status}, but not as an otel_finops service does"
        if status in (502, 503, 504):
            return Unavailable(f"{said}: what stands before the service cannot reach it")
        moved = 300 <= status < 400
        return BadInput(f"{said}: {'redirects are not followed, name the place itself' if moved else 'is the URL right?'}")

    def _away(self, fault: Exception, headers: Mapping[str, str]) -> FinopsError:
        """The fault of a connection that was not made, or broke."""
        url = self._address.url
        if isinstance(fault, urllib3.exceptions.SSLError):
            distrusted = "CERTIFICATE_VERIFY_FAILED" in str(fault)
            said = "name its authority's file by --ca-file" if distrusted else "does it speak TLS there, or http://?"
            return BadInput(f"{url}: no trusted TLS connection ({_reason(fault)}); {said}")
        if isinstance(fault, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
            return Unavailable(
                f"{url} cannot be reached ({_reason(fault)}): is `otel-finops serve` running there? "
                "For a ledger on this machine leave --url and OTEL_FINOPS_URL away."
            )
        done = " It may have been done: look before you ask again." if "idempotency-key" in headers else " Ask again."
        return Unavailable(f"{url}: the connection broke ({_reason(fault)}).{done}")


def _pause(response: urllib3.BaseHTTPResponse, *, repeated: bool) -> float | None:
    """Seconds after which the request is to be sent again; None when its answer stands. A repeated change may find itself under way."""
    if response.status == 409 and repeated:
        return 1.0
    return _retry_after(response) if response.status in (429, 503) else None


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _body(response: urllib3.BaseHTTPResponse) -> bytes:
    parts, size = [], 0
    for part in response.stream(MIB, decode_content=True):
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise TooLarge(f"The answer has more than {ANSWER_BYTES_MAX // MIB} MiB; ask for less of it.")
        parts.append(part)
    return b"".join(parts)


def _reason(fault: BaseException) -> str:
    """The operating system's or TLS's own words, which bear no header and no address."""
    seen: BaseException | None = fault
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        args = [arg for arg in seen.args if isinstance(arg, BaseException)]
        seen = args[0] if args else (seen.__cause__ or seen.__context__)
    return "timed out" if isinstance(fault, urllib3.exceptions.TimeoutError) else type(fault).__name__


def _with_file(given: Input) -> Input:
    """An import that names a file of this machine, with what the file holds: the service cannot read it.

    Raises:
        BadInput: it cannot be read, or is larger than a request may be.
    """
    name = getattr(given, "from_", None)
    if not isinstance(name, str) or "://" in name or getattr(given, "content", "") is not None:
        return given
    file = Path(name)
    try:
        with file.open("rb") as opened:
            held = opened.read(SENT_FILE_BYTES_MAX + 1)
    except OSError as fault:
        raise BadInput(f"{file.name}: cannot be read: {fault.strerror or type(fault).__name__}") from fault
    if len(held) > SENT_FILE_BYTES_MAX:
        size = f"larger than {SENT_FILE_BYTES_MAX // MIB} MiB"
        raise BadInput(f"{file.name}: {size}, which no request may be; import it where the service runs")
    said = given.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return type(given).model_validate({**said, "from": file.name, "content": base64.b64encode(held).decode()})
