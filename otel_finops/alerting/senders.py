"""One attempt to tell a notice by a channel, and what came of it."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.alerting import mail
from otel_finops.alerting.channel_secrets import Secrets
from otel_finops.alerting.messages import request_of
from otel_finops.alerting.notices import Notice
from otel_finops.alerting.routes import Channel
from otel_finops.base.clock import Clock
from otel_finops.base.errors import AddressRefused, NoAnswer
from otel_finops.base.outbound import Answer, Outbound, Rules
from otel_finops.settings.channels import Channels

Outcome: TypeAlias = Literal["delivered", "again", "failed"]

_FINAL: Final = frozenset({400, 405, 406, 410, 411, 413, 414, 415, 422, 501, 505})
"""Statuses that say that the very same request will not be taken later either; all others may be over when somebody mends something."""
_BUSY: Final = (429, 503)
_SHOWN_CHARS: Final = 200
_WAIT_S_MAX: Final = 3_600.0
"""Whoever asks us to wait for longer is asked again after an hour all the same."""


class Attempt(NamedTuple):
    """What came of an attempt.

    Attributes:
        outcome: `again`: it may succeed later; `failed`: it will not.
        said: in words; never a secret.
        code: status of HTTP or SMTP; None: there was no answer.
        wait_s: no attempt before; 0: nobody asked us to wait.
    """

    outcome: Outcome
    said: str
    code: int | None = None
    wait_s: float = 0.0


class Senders:
    """Tells notices. Safe to use from many threads.

    Args:
        settings: the mail server, and where links lead.
        outbound: the guard under which addresses are asked.
        rules: where requests may go; channels of people who are bound to tenants reach no network of one's own.
        timeout_s: for each step of a mail.
    """

    def __init__(self, settings: Channels, outbound: Outbound, rules: Rules, clock: Clock, timeout_s: float) -> None:
        self._settings = settings
        self._outbound = outbound
        self._rules = rules
        self._clock = clock
        self._timeout_s = timeout_s

    def tell(self, channel: Channel, secrets: Secrets, notice: Notice) -> Attempt:
        """Try once."""
        return self._mailed(channel, notice) if channel.type == "mail" else self._asked(channel, secrets, notice)

    def _asked(self, channel: Channel, secrets: Secrets, notice: Notice) -> Attempt:
        request = request_of(channel, secrets, notice, self._settings.public_url, self._clock.now_ns())
        rules = self._rules if channel.of_all else self._rules.without_networks()
        try:
            answer = self._outbound.send("POST", request.url, rules, request.headers, request.body)
        except AddressRefused as refused:
            return Attempt("failed", f"not sent: {refused}")
        except NoAnswer as fault:
            return Attempt("again", str(fault))
        return _judged(answer, secrets, shown=channel.of_all and channel.tenant is None)

    def _mailed(self, channel: Channel, notice: Notice) -> Attempt:
        if not self._settings.smtp_host:
            return Attempt("failed", "not sent: the settings name no mail server (channels.smtp_host)")
        message = mail.message_of(notice, self._settings.smtp_from, channel.to, self._settings.public_url)
        try:
            taken = mail.send(message, self._settings, self._timeout_s)
        except mail.Undelivered as fault:
            return Attempt("failed" if fault.final else "again", str(fault), fault.code)
        but = f", but not for {', '.join(taken.refused)}" if taken.refused else ""
        return Attempt("delivered", f"the mail server took it{but}", 250)


def _judged(answer: Answer, secrets: Secrets, *, shown: bool) -> Attempt:
    """What an answer says; of its words a few are kept for those who mend the channel.

    Args:
        shown: only who sees all tenants made the channel and sees what comes of it; others are told the status alone, so that nobody reads
            by us what he cannot read.
    """
    if 200 <= answer.status < 300:
        return Attempt("delivered", f"answered {answer.status}", answer.status)
    if 300 <= answer.status < 400:
        said = f"answered {answer.status}, a redirect, which is not followed: give the address that it leads to"
        return Attempt("failed", said, answer.status)
    words = _words(answer.body, secrets) if shown else ""
    said = f"answered {answer.status}{': ' if words else ''}{words}"
    wait_s = _wait_s(answer.headers.get("retry-after", "")) if answer.status in _BUSY else 0.0
    return Attempt("failed" if answer.status in _FINAL else "again", said, answer.status, wait_s)


def _words(body: bytes, secrets: Secrets) -> str:
    """The beginning of an answer in one line, without what is secret of the channel."""
    text = "".join(char if char.isprintable() else " " for char in body.decode("utf-8", "replace"))
    return secrets.hidden_in(" ".join(text.split()))[:_SHOWN_CHARS]


def _wait_s(text: str) -> float:
    """Seconds that an answer asks us to wait; a date is not gone by, our own delay will do."""
    return min(float(text), _WAIT_S_MAX) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0
