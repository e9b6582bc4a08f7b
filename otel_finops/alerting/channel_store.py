"""Channels and routes as they are stored: made, changed and taken away, each change a further row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from otel_finops.alerting.channel_rows import Kind, followed_routing, history, insert, kind_of, next_no
from otel_finops.alerting.channel_secrets import Secrets, SigningKey
from otel_finops.alerting.channels import Given, checked
from otel_finops.alerting.routes import Channel, ChannelType, Route, Routing
from otel_finops.alerting.sealing import Sealer
from otel_finops.alerting.signature import new_key
from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.base.limits import CHANNELS_MAX, CHANNELS_OF_TENANT_MAX, ROUTES_MAX, ROUTES_OF_TENANT_MAX
from otel_finops.base.outbound import Rules
from otel_finops.base.times import NS_PER_HOUR
from otel_finops.identity.principals import Editor
from otel_finops.settings.channels import Channels
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

Tenants: TypeAlias = Collection[str] | None
T = TypeVar("T")
One = TypeVar("One", Channel, Route)

_LOCK: Final = "SELECT pg_advisory_xact_lock(?)"
_LOCK_NO: Final = 5_270_411_906_031
"""Number of PostgreSQL's advisory lock for who changes channels and routes; any number that nobody else uses."""
_SECRETS: Final = "SELECT sealed FROM channel_secrets WHERE channel_no = ?"
_SEAL: Final = (
    "INSERT INTO channel_secrets (channel_no, sealed) VALUES (?, ?) ON CONFLICT (channel_no) DO UPDATE SET sealed = excluded.sealed"
)
_FORGET: Final = "DELETE FROM channel_secrets WHERE channel_no = ?"
_MOST: Final[Mapping[Kind, tuple[int, int]]] = {
    "channel": (CHANNELS_MAX, CHANNELS_OF_TENANT_MAX),
    "route": (ROUTES_MAX, ROUTES_OF_TENANT_MAX),
}


class RouteEdit(NamedTuple):
    """What is to be another: fields of `Route` by name; `revision`: that was seen, None: whichever it is."""

    fields: Mapping[str, Any]
    revision: int | None = None


class ChannelStore:
    """Makes and changes channels and routes. Safe to use from many threads and processes: changes are made one after the other.

    Args:
        sealer: encrypts what is secret.
        settings, rules: what a channel may be, and where it may lead.
    """

    def __init__(self, store: Store, clock: Clock, sealer: Sealer, settings: Channels, rules: Rules) -> None:
        self._store = store
        self._clock = clock
        self._sealer = sealer
        self._settings = settings
        self._rules = rules
        self._followed = followed_routing(store, clock)

    def all(self) -> Routing:
        """All that stand, as they are stored at this moment."""
        with self._store.read() as transaction:
            return self._followed.seen_by(transaction)

    def history(self, kind: Kind, no: int) -> list[tuple[Channel | Route, bool]]:
        """Every definition of a channel or route, newest first, and whether that revision took it away; none for a number nobody has."""
        with self._store.read() as transaction:
            return history(transaction, kind, no)

    def secrets(self, channel: Channel) -> Secrets:
        """What is secret of a channel, to send by it.

        Raises:
            BadInput: it cannot be decrypted; the message says how to mend it.
        """
        with self._store.read() as transaction:
            return self._secrets(transaction, channel.no)

    def create_channel(
        self, type_: ChannelType, tenant: str | None, given: Given, editor: Editor, *, dry_run: bool = False
    ) -> tuple[Channel, str | None]:
        """Make a channel; it, and the key of a webhook's signatures, which nobody is shown again.

        Raises:
            BadInput: there can be none like this.
        """

        def create(transaction: Transaction, held: Routing) -> tuple[Channel, str | None]:
            blank = Channel(0, "", type_, tenant, made_ns=self._clock.now_ns(), made_by=editor.who, of_all=editor.tenants is None)
            channel, secrets = checked(blank, Secrets(), given, self._settings, self._rules_for(blank), editor.tenants)
            key = None
            if type_ == "webhook" and not secrets.keys:
                key = new_key()
                secrets = secrets._replace(keys=(SigningKey(key),))
            _check_room(held, channel, editor)
            channel = channel._replace(no=next_no(transaction, "channel"))
            if not dry_run:
                self._seal(transaction, channel, secrets)
            return self._stored(transaction, held, "create", channel, editor), key

        return self._changing(create, dry_run)

    def update_channel(self, no: int, given: Given, editor: Editor, *, dry_run: bool = False) -> tuple[Channel, Channel, bool]:
        """Change a channel; as it was, as it is, and whether anything secret of it is another.

        Raises:
            NotFound: no such channel stands for whoever changes it.
            Forbidden: somebody made it who sees all tenants, and who changes it does not.
            Conflict: it is of another revision than was seen.
            BadInput: as `create_channel`.
        """

        def update(transaction: Transaction, held: Routing) -> tuple[Channel, Channel, bool]:
            before = _of(held.channels, "channel", no, editor, given.revision)
            was = self._secrets(transaction, no, or_none="url" in given.fields)
            after, secrets = checked(before, was, given, self._settings, self._rules_for(before), editor.tenants)
            moved = secrets != was
            if moved and not dry_run:
                self._seal(transaction, after, secrets)
            return before, before if after == before and not moved else self._stored(transaction, held, "update", after, editor), moved

        return self._changing(update, dry_run)

    def rotate_key(self, no: int, editor: Editor, *, dry_run: bool = False) -> tuple[Channel, str]:
        """Give a webhook another key; the former one signs beside it for the hours of the settings. The channel, and the new key.

        Raises:
            NotFound, Forbidden: as `update_channel`.
            BadInput: it is no webhook.
        """

        def rotate(transaction: Transaction, held: Routing) -> tuple[Channel, str]:
            channel = _of(held.channels, "channel", no, editor, None)
            if channel.type != "webhook":
                raise BadInput(f"no: channel {no} is of the type {channel.type}, which signs nothing")
            secrets, key = self._secrets(transaction, no), new_key()
            until_ns = self._clock.now_ns() + round(self._settings.key_overlap_hours * NS_PER_HOUR)
            former = [SigningKey(one.key, until_ns) for one in secrets.keys if one.until_ns is None]
            if not dry_run:
                self._seal(transaction, channel, secrets._replace(keys=(SigningKey(key), *former)))
            return self._stored(transaction, held, "update", channel, editor), key

        return self._changing(rotate, dry_run)

    def delete_channel(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Channel:
        """Take a channel away, and all that is secret of it; as it was. What waits in it is not delivered.

        Raises:
            NotFound, Forbidden, Conflict: as `update_channel`.
        """

        def delete(transaction: Transaction, held: Routing) -> Channel:
            before = _of(held.channels, "channel", no, editor, revision)
            insert(transaction, "delete", before, editor.who, self._clock.now_ns())
            transaction.execute(_FORGET, (no,))
            return before

        return self._changing(delete, dry_run)

    def create_route(self, tenant: str | None, edit: RouteEdit, editor: Editor, *, dry_run: bool = False) -> Route:
        """Make a route; raises BadInput for what can be none."""

        def create(transaction: Transaction, held: Routing) -> Route:
            route = Route(0, "", tenant, made_ns=self._clock.now_ns(), made_by=editor.who, of_all=editor.tenants is None)
            route = route._replace(**edit.fields)
            _check_channels(held, route, editor)
            _check_room(held, route, editor)
            return self._stored(transaction, held, "create", route._replace(no=next_no(transaction, "route")), editor)

        return self._changing(create, dry_run)

    def update_route(self, no: int, edit: RouteEdit, editor: Editor, *, dry_run: bool = False) -> tuple[Route, Route]:
        """Change a route; as it was and as it is. Raises what `update_channel` raises."""

        def update(transaction: Transaction, held: Routing) -> tuple[Route, Route]:
            before = _of(held.routes, "route", no, editor, edit.revision)
            after = before._replace(**edit.fields)
            _check_channels(held, after, editor)
            return before, before if after == before else self._stored(transaction, held, "update", after, editor)

        return self._changing(update, dry_run)

    def delete_route(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Route:
        """Take a route away; as it was. Raises what `delete_channel` raises."""

        def delete(transaction: Transaction, held: Routing) -> Route:
            before = _of(held.routes, "route", no, editor, revision)
            insert(transaction, "delete", before, editor.who, self._clock.now_ns())
            return before

        return self._changing(delete, dry_run)

    def _changing(self, change: Callable[[Transaction, Routing], T], dry_run: bool) -> T:
        """Change while nobody else does; of a dry run nothing stays."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            if transaction.engine_name == "postgresql":
                transaction.execute(_LOCK, (_LOCK_NO,))  # SQLite has one writer anyway
            done = change(transaction, self._followed.seen_by(transaction))
            transaction.after_commit(self._followed.look_again)
        return done

    def _rules_for(self, channel: Channel) -> Rules:
        return self._rules if channel.of_all else self._rules.without_networks()

    def _secrets(self, transaction: Transaction, no: int, *, or_none: bool = False) -> Secrets:
        rows = transaction.execute(_SECRETS, (no,))
        if not rows:
            return Secrets()
        try:
            return Secrets.of(self._sealer.unseal(no, rows[0][0]))
        except BadInput:
            if or_none:
                return Secrets()  # they are said anew
            raise

    def _seal(self, transaction: Transaction, channel: Channel, secrets: Secrets) -> None:
        transaction.execute(_SEAL, (channel.no, self._sealer.seal(channel.no, secrets.packed())))

    def _stored(self, transaction: Transaction, held: Routing, action: str, one: One, editor: Editor) -> One:
        others = held.channels if kind_of(one) == "channel" else held.routes
        same = next((other for other in others.values() if (other.name, other.tenant) == (one.name, one.tenant)), None)
        if same is not None and same.no != one.no:
            raise BadInput(f"name: {kind_of(one)} {same.no} is called so already")
        now_ns = self._clock.now_ns()
        revision = insert(transaction, action, one, editor.who, now_ns)
        return one._replace(revision=revision, changed_ns=now_ns, changed_by=editor.who)


def is_seen(one: Channel | Route, tenants: Tenants) -> bool:
    """Whether a channel or route belongs to these tenants alone, None for everybody."""
    return tenants is None or one.tenant in tenants


def missing(kind: Kind, no: int) -> NotFound:
    """The refusal of a number that nothing has, or nothing that one may see."""
    return NotFound(f"There is no {kind} {no}.")


def _of(held: Mapping[int, One], kind: Kind, no: int, editor: Editor, revision: int | None) -> One:
    one = held.get(no)
    if one is None or not is_seen(one, editor.tenants):
        raise missing(kind, no)
    if one.of_all and editor.tenants is not None:
        raise Forbidden(f"The {kind} {no} was made by {one.made_by}, who sees all tenants; only such may change it.")
    if revision not in (None, one.revision):
        raise Conflict(f"The {kind} {no} is of revision {one.revision}, changed by {one.changed_by}; look at it again.")
    return one


def _check_room(held: Routing, one: Channel | Route, editor: Editor) -> None:
    kind = kind_of(one)
    standing: Collection[Channel | Route] = held.channels.values() if kind == "channel" else held.routes.values()
    most, of_tenant = _MOST[kind]
    if len(standing) >= most:
        raise BadInput(f"there are {len(standing)} {kind}s already; delete some")
    if editor.tenants is not None and sum(1 for other in standing if not other.of_all and other.tenant == one.tenant) >= of_tenant:
        raise BadInput(f"there are {of_tenant} {kind}s of this tenant already; delete some")


def _check_channels(held: Routing, route: Route, editor: Editor) -> None:
    """Refuse channels that are not there, and those that carry nothing that goes this way."""
    if not route.channels:
        raise BadInput("channels: say which channels notices go to, by their numbers (`channels list`)")
    for no in route.channels:
        channel = held.channels.get(no)
        if channel is None or not is_seen(channel, editor.tenants):
            raise BadInput(f"channels: there is no channel {no}")
        if route.tenant is not None and channel.tenant not in (None, route.tenant):
            raise BadInput(f"channels: channel {no} is another tenant's than the route")
