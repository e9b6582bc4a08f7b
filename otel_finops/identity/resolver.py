"""The seam to a host application: what its own credentials stand for, as a function or an HTTP endpoint of the settings says.

Whatever is not answered in time and in order lets nobody in. Answers hold for a short time and in bounded number, by the digest of the
credential; who asks for the same one meanwhile waits for the same answer. Only the place that the settings name is ever asked.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from threading import Lock, Thread
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, Unavailable
from otel_finops.base.limits import (
    NAME_CHARS_MAX,
    RESOLVED_REMEMBERED_MAX,
    RESOLVER_ANSWER_BYTES_MAX,
    RESOLVER_CALLS_MAX,
    TOKEN_TENANTS_MAX,
)
from otel_finops.identity.outside import Disorder, Endpoint, function_at
from otel_finops.identity.tokens import digest_of
from otel_finops.settings.tree import Auth, RoleName, Tenants

_log: Final = logging.getLogger(__name__)

_UNKNOWN_S: Final = 5.0
"""So long a refusal is remembered: a credential that was just made works soon, a wrong one that is sent again and again costs little."""
_RETRY_AFTER_S: Final = 2.0
_UNKNOWN_STATUSES: Final = frozenset((401, 403))


class Resolved(BaseModel):
    """What a credential stands for, as the resolver answers it.

    Attributes:
        who: a name for the audit trail.
        tenants: whose data its bearer sees and sends; `("*",)` for all.
        role: what he may do.
        seconds: the answer holds no longer than this; None for as long as the settings say.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    who: Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]+$")]
    tenants: Annotated[Tenants, Field(max_length=TOKEN_TENANTS_MAX)]
    role: RoleName
    seconds: Annotated[float, Field(ge=0)] | None = None


Ask: TypeAlias = Callable[[str], Mapping[str, Any] | None]
"""The function that a host application provides: a credential to what it stands for, None when it is not known."""


class _Remembered(NamedTuple):
    until: float
    resolved: Resolved | None


class Resolver:
    """Asks, in time, and remembers for a while. Safe to use from many threads.

    Args:
        ask: the host application's function, or the client of its endpoint.
        clock: for how long answers hold.
        timeout_s: how long an answer is waited for.
        hold_s: how long an answer holds.
    """

    def __init__(self, ask: Ask, clock: Clock, *, timeout_s: float, hold_s: float) -> None:
        self._ask = ask
        self._clock = clock
        self._timeout_s = timeout_s
        self._hold_s = hold_s
        self._lock = Lock()
        self._known: OrderedDict[str, _Remembered] = OrderedDict()
        self._refused: OrderedDict[str, _Remembered] = OrderedDict()
        self._asked: dict[str, Future[Resolved | None]] = {}
        self._in_trouble = False

    def __call__(self, credential: str, /) -> Resolved | None:
        """What the credential stands for; None: the host application does not know it.

        Raises:
            Unavailable: it did not answer in time, or not in order.
            Busy: too many are being asked for already.
        """
        digest = digest_of(credential)
        with self._lock:
            remembered = self._remembered(digest)
            if remembered is not None:
                return remembered.resolved
            answer = self._asked.get(digest)
            if answer is None:
                answer = self._begin(digest, credential)
        try:
            return answer.result(self._timeout_s)
        except Late:
            self._tell("it did not answer in time")
            raise Unavailable("Who you are cannot be told now; try again.", retry_after_s=_RETRY_AFTER_S) from None

    def _remembered(self, digest: str) -> _Remembered | None:
        for memory in (self._known, self._refused):
            found = memory.get(digest)
            if found is not None and found.until > self._clock.monotonic():
                memory.move_to_end(digest)
                return found
        return None

    def _begin(self, digest: str, credential: str) -> Future[Resolved | None]:
        """Ask on a thread of its own: a function that never returns keeps nobody waiting longer than that, nor the process alive."""
        if len(self._asked) >= RESOLVER_CALLS_MAX:
            raise Busy("Too many credentials are being looked up; try again.", retry_after_s=_RETRY_AFTER_S)
        answer = self._asked[digest] = Future[Resolved | None]()
        Thread(target=self._run, args=(digest, credential, answer), name="resolver", daemon=True).start()
        return answer

    def _run(self, digest: str, credential: str, answer: Future[Resolved | None]) -> None:
        try:
            resolved = _in_order(self._ask(credential))
        except Exception as fault:  # noqa: BLE001 - a function of somebody else's: whatever it raises, nobody is let in
            self._tell(_reason(fault))
            with self._lock:
                self._asked.pop(digest, None)
            answer.set_exception(Unavailable("Who you are cannot be told now; try again.", retry_after_s=_RETRY_AFTER_S))
            return
        with self._lock:
            self._remember(digest, resolved)
            self._asked.pop(digest, None)
            self._in_trouble = False
        answer.set_result(resolved)

    def _remember(self, digest: str, resolved: Resolved | None) -> None:
        """Refusals apart from the others, so that guesses push no good answer out."""
        memory = self._refused if resolved is None else self._known
        hold_s = min(self._hold_s, _UNKNOWN_S) if resolved is None else self._hold_s
        if resolved is not None and resolved.seconds is not None:
            hold_s = min(hold_s, resolved.seconds)
        memory[digest] = _Remembered(self._clock.monotonic() + hold_s, resolved)
        memory.move_to_end(digest)
        while len(memory) > RESOLVED_REMEMBERED_MAX:
            memory.popitem(last=False)

    def _tell(self, reason: str) -> None:
        """Once for each time of trouble; never what was asked or answered."""
        with self._lock:
            known, self._in_trouble = self._in_trouble, True
        if not known:
            _log.warning("the resolver of credentials (auth.resolver) fails, nobody is let in by it: %s", reason)


def resolver_of(auth: Auth, clock: Clock) -> Resolver | None:
    """What the settings name; None when they name nothing.

    Raises:
        StartRefused: there is no such function.
    """
    if not auth.resolver:
        return None
    ask = (
        HttpResolver(auth.resolver, auth.resolver_headers, auth.resolver_timeout)
        if "://" in auth.resolver
        else function_at(auth.resolver, "auth.resolver")
    )
    return Resolver(ask, clock, timeout_s=auth.resolver_timeout, hold_s=auth.resolver_cache)


class HttpResolver:
    """Asks an endpoint: `POST {"credential": ...}`, answered 200 with who, tenants and role, or 401 or 403 for one that is not known."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self._endpoint = Endpoint(
            url, headers, timeout_s=timeout_s, calls_max=RESOLVER_CALLS_MAX, answer_bytes_max=RESOLVER_ANSWER_BYTES_MAX
        )

    def __call__(self, credential: str, /) -> Mapping[str, Any] | None:
        """See `Ask`; raises whatever goes wrong."""
        status, text = self._endpoint.post(json.dumps({"credential": credential}).encode())
        if status in _UNKNOWN_STATUSES:
            return None
        if status != 200:
            raise Disorder(f"it answered {status}")
        return json.loads(text)  # type: ignore[no-any-return]


def _in_order(answer: object) -> Resolved | None:
    if answer is None:
        return None
    if not isinstance(answer, Mapping):
        raise Disorder("its answer is no object with who, tenants and role")
    return Resolved.model_validate(dict(answer))


def _reason(fault: Exception) -> str:
    """What went wrong without what was sent or answered."""
    if isinstance(fault, Disorder):
        return str(fault)
    if isinstance(fault, ValidationError):
        places = sorted({str(error["loc"][0]) for error in fault.errors(include_input=False, include_url=False) if error["loc"]})
        return f"its answer is not in order: {', '.join(places)}"
    return type(fault).__name__
