"""Requests to addresses that somebody gave us: the one guard that keeps the service from being sent where only it can reach.

An address is taken apart strictly, its name is resolved once, every address that comes of it is judged, and the connection goes to the
very address that was judged, with the original name for TLS. Redirects are not followed, proxies of the environment are not used.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from threading import Thread, Timer
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.errors import AddressRefused, NoAnswer
from otel_finops.base.limits import OUTBOUND_ADDRESSES_TRIED, OUTBOUND_URL_CHARS_MAX

Network: TypeAlias = IPv4Network | IPv6Network
IpAddress: TypeAlias = IPv4Address | IPv6Address
Resolve: TypeAlias = Callable[[str, int], Sequence[IpAddress]]
"""All addresses of a name; raises OSError where it has none."""

_URL: Final = re.compile(r"(https?)://([^/?#]*)([/?][^#]*)?", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_PLAIN: Final = re.compile(r"[!-~]+")
_ODD: Final = frozenset('\\<>"{}|^`')
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_NAME_CHARS_MAX: Final = 253

_NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(ip_network(text) for text in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    "168.63.129.16/32",  # looks public, and is what a cloud tells its own machines
    "2001::/23",  # protocols' own, Teredo among them
    "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20",
))  # fmt: skip
"""IANA's registries of special-purpose addresses, and what carries another address inside; of IPv6 within `_UNICAST`."""
_UNICAST: Final = IPv6Network("2000::/3")
"""All that is given out of IPv6; loopback, local, mapped and translated addresses lie outside."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
"""The one translation that hosts without IPv4 need to reach public addresses of it: judged by the address inside."""
_ISATAP: Final = (0x00005EFE, 0x02005EFE)


class Rules(NamedTuple):
    """Where requests may go.

    Attributes:
        networks: of one's own, allowed although they are not public; plain http will do there.
        refused: public networks that are not to be reached all the same, e.g. one's own behind a firewall.
        ports: to which one may connect.
    """

    networks: tuple[Network, ...] = ()
    refused: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({443})

    @classmethod
    def of(cls, networks: Iterable[str], refused: Iterable[str], ports: Iterable[int]) -> Rules:
        """The same from texts, such as those of the settings (section `outbound`)."""
        return cls(tuple(map(ip_network, networks)), tuple(map(ip_network, refused)), frozenset(ports))

    def without_networks(self) -> Rules:
        """The same for those who may not reach one's own networks."""
        return self._replace(networks=())


class Place(NamedTuple):
    """An address, taken apart.

    Attributes:
        scheme: `http` or `https`.
        host: a name without a final dot, lower case, or an IP address without brackets.
        port: given, or the scheme's.
        target: path and query, `/` at least.
    """

    scheme: str
    host: str
    port: int
    target: str


class Answer(NamedTuple):
    """What came back, whatever its status; `cut`: the body was longer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False


def place_of(url: str, rules: Rules) -> Place:
    """An address as it may be asked, as far as that can be told without resolving its name.

    Raises:
        AddressRefused: it is no such address; the message says why and repeats nothing of it.
    """
    if len(url) > OUTBOUND_URL_CHARS_MAX or not _PLAIN.fullmatch(url) or _ODD & set(url):
        raise AddressRefused(
            f"not a URL: write https://HOST/PATH with at most {OUTBOUND_URL_CHARS_MAX} visible ASCII characters; encode others as %XX, "
            "and names as xn--"
        )
    parts = _URL.fullmatch(url)
    if parts is None:
        raise AddressRefused("not a URL: write https://HOST/PATH, without a fragment (#)")
    scheme, authority, target = parts[1].lower(), parts[2], parts[3] or "/"
    if "@" in authority:
        raise AddressRefused("a URL with a user or password shows them in logs: give them as headers")
    host_port = _AUTHORITY.fullmatch(authority)
    if host_port is None:
        raise AddressRefused("not a host: write a name, or an IP address (IPv6 in brackets), and a port where it is not the usual one")
    place = Place(
        scheme, _host(host_port[1]), int(host_port[2] or (443 if scheme == "https" else 80)),
        target if target.startswith("/") else f"/{target}",
    )  # fmt: skip
    if place.port not in rules.ports:
        raise AddressRefused(f"port {place.port} is not among those that the settings allow (outbound.ports)")
    literal = _literal(place.host)
    if literal is not None:
        check_address(literal, place.scheme, rules)
    return place


def check_address(address: IpAddress, scheme: str, rules: Rules) -> None:
    """Refuse an IP address to which nothing is to be sent.

    Raises:
        AddressRefused: it is not public and in none of the networks of the settings, or would be spoken to in clear.
    """
    if any(address in network for network in rules.networks):
        return
    if not is_public(address) or any(one in network for network in rules.refused for one in (address, _reached(address))):
        raise AddressRefused(
            "it leads to an address that is not public; where that is meant, its network must be in the settings (outbound.networks)"
        )
    if scheme != "https":
        raise AddressRefused("http is read by everybody on the way: write https; http will do for networks of the settings alone")


def is_public(address: IpAddress) -> bool:
    """Whether an IP address is one that the whole internet can reach, in a form that hides no other one."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if address in _NAT64:
            return is_public(_reached(address))
        if address not in _UNICAST or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return False
    return not any(address in network for network in _NOT_PUBLIC)


def _reached(address: IpAddress) -> IpAddress:
    """Where an address leads: what lies behind NAT64 is the address inside."""
    return IPv4Address(int(address) & 0xFFFFFFFF) if isinstance(address, IPv6Address) and address in _NAT64 else address


class Outbound:
    """Sends requests under the guard. Safe to use from many threads.

    Args:
        timeout_s: for all of one request: name, connection, request, answer.
        answer_bytes_max: no more of an answer's body is read.
        resolve: how names become addresses.
        tls: certificates that are trusted; None: the system's.
    """

    def __init__(
        self, *, timeout_s: float, answer_bytes_max: int, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._answer_bytes_max = answer_bytes_max
        self._resolve = resolve or resolved
        self._tls = tls

    def send(self, method: str, url: str, rules: Rules, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Ask an address; the answer may be of any status.

        Raises:
            AddressRefused: it is none to which anything may be sent.
            NoAnswer: nobody answered in time; asked again, somebody may.
        """
        until = time.monotonic() + self._timeout_s
        place = place_of(url, rules)
        addresses = self._addresses(place, rules, until)
        fault: OSError | None = None
        for address in addresses[:OUTBOUND_ADDRESSES_TRIED]:
            try:
                sock = socket.create_connection((str(address), place.port), timeout=_left(until))
            except OSError as refused:
                fault = refused
                continue
            return self._asked(_Connection(place, sock, self._context(place)), method, place, headers, body, until)
        raise NoAnswer(f"nobody answers at {place.host} port {place.port} ({_told(fault)})")

    def _addresses(self, place: Place, rules: Rules, until: float) -> list[IpAddress]:
        """All addresses of a place, each of them judged; one that is refused refuses all, since nobody says which of them is meant."""
        literal = _literal(place.host)
        found = [literal] if literal is not None else self._looked_up(place, until)
        for address in found:
            check_address(address, place.scheme, rules)
        return found

    def _looked_up(self, place: Place, until: float) -> list[IpAddress]:
        """Resolve a name on a thread of its own: the system's resolver knows no deadline."""
        found: list[Sequence[IpAddress] | OSError | UnicodeError] = []

        def look_up() -> None:
            try:
                found.append(self._resolve(place.host, place.port))
            except (OSError, UnicodeError) as fault:
                found.append(fault)

        thread = Thread(target=look_up, name="resolve", daemon=True)
        thread.start()
        thread.join(_left(until))
        if not found or isinstance(found[0], OSError | UnicodeError) or not found[0]:
            raise NoAnswer(f"the name {place.host} cannot be resolved" + ("" if found else " in time"))
        return list(found[0])

    def _asked(
        self, connection: _Connection, method: str, place: Place, headers: Mapping[str, str], body: bytes | None, until: float
    ) -> Answer:
        """Ask over a connection; whoever drips his answer is cut off when the time is over."""
        cutter = Timer(_left(until), connection.cut)
        cutter.daemon = True
        cutter.start()
        try:
            connection.connect()
            connection.request(method, place.target, body, {"user-agent": "otel-finops", **headers})
            answer = connection.getresponse()
            text = answer.read(self._answer_bytes_max + 1)
            if connection.is_cut:
                raise TimeoutError
        except (OSError, http.client.HTTPException, ValueError) as fault:
            late = connection.is_cut or isinstance(fault, TimeoutError)
            raise NoAnswer(f"{place.host} gave no answer ({'it took too long' if late else _told(fault)})") from fault
        finally:
            cutter.cancel()
            connection.close()
        said = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, said, text[: self._answer_bytes_max], len(text) > self._answer_bytes_max)

    def _context(self, place: Place) -> ssl.SSLContext | None:
        if place.scheme == "http":
            return None
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket that is connected already, to an address that was judged.

    Args:
        sock: connected, with a time-out.
        tls: None for plain http.
    """

    def __init__(self, place: Place, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        self.default_port = 443 if tls else 80
        super().__init__(place.host, place.port)
        self._raw = sock
        self._tls = tls
        self.is_cut = False

    def connect(self) -> None:
        """Speak TLS where that is asked for, by the name of the URL."""
        self.sock = self._raw
        if self._tls is not None:
            secure = self._tls.wrap_socket(self._raw, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = secure  # before the handshake, so that it can be cut
            secure.do_handshake()

    def cut(self) -> None:
        """End it from another thread, whatever is being read."""
        self.is_cut = True
        with suppress(OSError):  # it is over already
            socket.socket.shutdown(self.sock or self._raw, socket.SHUT_RDWR)

    def close(self) -> None:
        """End it."""
        super().close()
        self._raw.close()


def resolved(host: str, port: int) -> list[IpAddress]:
    """What the system says of a name; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(_ip(str(address[0])) for _, _, _, _, address in found))


def _ip(text: str) -> IpAddress:
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def _host(text: str) -> str:
    """A host in the one form in which it is used: what a resolver might read as a number is an IP address in its usual form, or nothing."""
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise AddressRefused("not an IPv6 address between the brackets") from None
    name = text.removesuffix(".").lower()
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(name))
        except ValueError:
            raise AddressRefused("not an IPv4 address: write four decimal numbers without leading zeros, e.g. 192.0.2.1") from None
    if len(name) > _NAME_CHARS_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressRefused("not a host name: labels of letters, digits and hyphens, with dots between them")
    return name


def _literal(host: str) -> IpAddress | None:
    """The IP address that a host is; None for a name."""
    return _ip(host) if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) else None


def _left(until: float) -> float:
    """Seconds until then, a moment at least."""
    return max(0.001, until - time.monotonic())


def _told(fault: Exception | None) -> str:
    """A fault in words that name nobody."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {fault.verify_message}"
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return type(fault).__name__
