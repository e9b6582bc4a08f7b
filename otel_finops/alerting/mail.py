"""Notices as mail, by the server that the settings name."""

from __future__ import annotations

import hashlib
import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from threading import Timer
from typing import Final, NamedTuple

from otel_finops.alerting.messages import headline, plain_text
from otel_finops.alerting.notices import Notice
from otel_finops.base.limits import MAIL_S_MAX
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.settings.channels import Channels

_PERMANENT: Final = range(500, 600)


class Undelivered(Exception):
    """A mail that the server did not take; the text is safe to show.

    Attributes:
        code: of SMTP; None where there was no answer.
        final: it will not take it later either.
    """

    def __init__(self, text: str, code: int | None = None, *, final: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.final = final


class Taken(NamedTuple):
    """The server took it for at least one recipient; `refused`: those for whom it did not."""

    refused: tuple[str, ...]


def message_of(notice: Notice, sender: str, to: Sequence[str], public_url: str) -> EmailMessage:
    """A notice as a mail: the same in every attempt, and in one thread with all that is said of the same alert."""
    message = EmailMessage()
    domain = sender.rpartition("@")[2]
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Subject"] = headline(notice)
    message["Date"] = format_datetime(datetime.fromtimestamp(notice.at_ns // NS_PER_SECOND, UTC))
    message["Message-ID"] = f"<{_digest(notice.notice_id)}@{domain}>"
    message["References"] = f"<{_digest(notice.alert_key)}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    link = public_url + notice.link if public_url and notice.link else ""
    message.set_content(plain_text(notice, link))
    return message


def send(
    message: EmailMessage, settings: Channels, timeout_s: float, tls: ssl.SSLContext | None = None, whole_s: float = MAIL_S_MAX
) -> Taken:
    """Hand a mail to the server.

    Args:
        timeout_s: for each step.
        whole_s: for all of them: a server that takes its time with each is cut off before somebody else begins anew.
        tls: certificates that are trusted; None: the system's.

    Raises:
        Undelivered: it did not take it.
    """
    context = tls or ssl.create_default_context()
    try:
        with _connected(settings, timeout_s, context) as server, _cut_after(server, whole_s):
            if settings.smtp_security == "starttls":
                server.starttls(context=context)
            _log_in(server, settings)
            return Taken(tuple(server.send_message(message)))
    except smtplib.SMTPException as fault:
        raise _undelivered(fault) from fault
    except (OSError, ValueError) as fault:
        raise Undelivered(f"the mail server gave no answer ({_told(fault)})") from fault


@contextmanager
def _cut_after(server: smtplib.SMTP, whole_s: float) -> Iterator[None]:
    """End a conversation from another thread when it takes too long, whatever is being read."""

    def cut() -> None:
        with suppress(OSError, AttributeError):  # it is over already
            socket.socket.shutdown(server.sock, socket.SHUT_RDWR)  # type: ignore[arg-type]

    cutter = Timer(whole_s, cut)
    cutter.daemon = True
    cutter.start()
    try:
        yield
    finally:
        cutter.cancel()


def _connected(settings: Channels, timeout_s: float, context: ssl.SSLContext) -> smtplib.SMTP:
    place = settings.smtp_host, settings.smtp_port
    if settings.smtp_security == "tls":
        return smtplib.SMTP_SSL(*place, timeout=timeout_s, context=context)
    return smtplib.SMTP(*place, timeout=timeout_s)


def _log_in(server: smtplib.SMTP, settings: Channels) -> None:
    if not settings.smtp_user:
        return
    try:
        server.login(settings.smtp_user, settings.smtp_password)
    except smtplib.SMTPServerDisconnected as fault:  # what some servers say of a wrong password
        raise Undelivered("the mail server ended the connection when it was told user and password (channels.smtp_user)") from fault


def _undelivered(fault: smtplib.SMTPException) -> Undelivered:
    """What the server said, without its words: they may repeat what it was told."""
    if isinstance(fault, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in fault.recipients.values()]
        final = all(code in _PERMANENT for code in codes)
        return Undelivered("the mail server refused all recipients", max(codes, default=None), final=final)
    if isinstance(fault, smtplib.SMTPNotSupportedError):
        return Undelivered("the mail server knows no STARTTLS, or no way of logging in that is known here (channels.smtp_security)")
    if isinstance(fault, smtplib.SMTPAuthenticationError):
        return Undelivered("the mail server did not take user and password (channels.smtp_user)", fault.smtp_code)
    if isinstance(fault, smtplib.SMTPResponseException):
        return Undelivered(f"the mail server answered {fault.smtp_code}", fault.smtp_code, final=fault.smtp_code in _PERMANENT)
    return Undelivered("the mail server ended the connection")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _told(fault: Exception) -> str:
    return (isinstance(fault, OSError) and fault.strerror) or type(fault).__name__
