"""Every exception of the product, in one tree. A sender's bad span is a value (`Rejection`), never an exception.

    FinopsError
    ├── BadInput            what a person or a client gave is wrong; the message says how to mend it
    │   ├── Undecodable     a request body that is no OTLP
    │   ├── TooLarge        over a limit of `base/limits.py`; sending it again will not help
    │   │   └── UrlTooLong  the same of path and query
    │   ├── WrongType       a body in another form than the API takes
    │   ├── Unauthenticated no credential, or one that is not known
    │   ├── Forbidden       a credential that may not do this
    │   ├── NotFound        no such thing, or another tenant's
    │   ├── Conflict        not possible as things stand: asked for before and not done yet, or decided already
    │   ├── AddressRefused  a URL to which nothing may be sent
    │   └── KeyReused       an idempotency key that belongs to another input
    ├── Busy                try again after `retry_after_s`: a queue is full or a lease is held
    │   └── TooManyRequests one caller asks more often than the settings allow
    ├── Unavailable         try again after `retry_after_s`: the store or the next hop is away
    │   └── NoAnswer        nobody answered at a URL that somebody gave
    ├── StartRefused        settings, ports or a database with which the service must not start
    └── BrokenLedger        stored entries contradict each other

Messages reach senders and users: they never carry SQL, paths of ours, credentials or another tenant's data.
"""

from __future__ import annotations


class FinopsError(Exception):
    """Anything that the product raises on purpose."""


class BadInput(FinopsError):
    """What was given is wrong; the message says what, where and how to mend it."""


class Undecodable(BadInput):
    """A request body that is no OTLP."""


class TooLarge(BadInput):
    """Over a limit; sending it again will not help."""


class UrlTooLong(TooLarge):
    """Path and query are over their limit."""


class WrongType(BadInput):
    """A body in another form than the API takes."""


class Unauthenticated(BadInput):
    """No credential, or one that is not known."""


class Forbidden(BadInput):
    """A known credential that may not do this."""


class NotFound(BadInput):
    """No such thing for this principal; another tenant's things are not found either."""


class Conflict(BadInput):
    """Not possible as things stand: the same change was asked for before and is not done yet, or its answer is not known; or what is to be
    decided on is decided already."""


class KeyReused(BadInput):
    """An idempotency key that was sent before with another operation or input."""


class AddressRefused(BadInput):
    """A URL to which nothing may be sent: none, or one that leads where only the service can reach."""


class Busy(FinopsError):
    """Cannot be done now: a queue is full, or somebody else holds the lease (`holder`)."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0, holder: str | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.holder = holder


class TooManyRequests(Busy):
    """One caller asks more often than the settings allow."""


class Unavailable(FinopsError):
    """The store or the next hop is away; nothing was lost, the same request may succeed later."""

    def __init__(self, message: str, *, retry_after_s: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NoAnswer(Unavailable):
    """Nobody answered at a URL that somebody gave, or too late; the message names its host alone."""


class StartRefused(FinopsError):
    """Settings, ports or a database with which the service must not start; the message lists all faults."""


class BrokenLedger(FinopsError):
    """Stored entries contradict each other; `ledger verify` says where. Nothing is written on top of them."""
