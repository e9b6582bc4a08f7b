"""What the operations on channels, routes and deliveries ask of alerting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from otel_finops.trees.queries import Tenants

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.alerting.channel_rows import Kind
    from otel_finops.alerting.channel_store import RouteEdit
    from otel_finops.alerting.channels import Given
    from otel_finops.alerting.deliver import Round
    from otel_finops.alerting.delivery_log import Delivery, Query, Tried
    from otel_finops.alerting.notices import Severity
    from otel_finops.alerting.routes import Channel, ChannelType, Route, Routing
    from otel_finops.identity.principals import Editor


class Channels(Protocol):
    """Channels, routes to them, and what became of notices.

    Raises:
        BadInput: what cannot be stored; the message begins with the field and repeats nothing secret.
        NotFound: there is no such thing for who asks or changes.
        Forbidden: only who sees all tenants may change it.
        Conflict: it is of another revision than was seen, or in another state.
        Busy, Unavailable: the store cannot answer now.
    """

    def all(self) -> Routing:
        """All channels and routes, as they are stored at this moment."""
        ...

    def history(self, kind: Kind, no: int, tenants: Tenants) -> Sequence[tuple[Channel | Route, bool]]:
        """Every definition of a channel or route, newest first, and whether that change took it away."""
        ...

    def create_channel(
        self, type_: ChannelType, tenant: str | None, given: Given, editor: Editor, *, dry_run: bool = False
    ) -> tuple[Channel, str | None]:
        """Make a channel; it, and the key of a webhook's signatures where one was made."""
        ...

    def update_channel(self, no: int, given: Given, editor: Editor, *, dry_run: bool = False) -> tuple[Channel, Channel, bool]:
        """Change a channel; as it was, as it is, and whether anything secret of it is another."""
        ...

    def rotate_key(self, no: int, editor: Editor, *, dry_run: bool = False) -> tuple[Channel, str]:
        """Give a webhook another key; the channel, and the key."""
        ...

    def delete_channel(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Channel:
        """Take a channel away; as it was."""
        ...

    def create_route(self, tenant: str | None, edit: RouteEdit, editor: Editor, *, dry_run: bool = False) -> Route:
        """Make a route."""
        ...

    def update_route(self, no: int, edit: RouteEdit, editor: Editor, *, dry_run: bool = False) -> tuple[Route, Route]:
        """Change a route; as it was and as it is."""
        ...

    def delete_route(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Route:
        """Take a route away; as it was."""
        ...

    def test(self, no: int, severity: Severity, editor: Editor) -> Delivery:
        """Send a notice that says it is a test, once, and say what came of it."""
        ...

    def deliveries(self, tenants: Tenants, query: Query, before_no: int | None, limit: int) -> Sequence[Delivery]:
        """A page of deliveries, newest first, those before a number."""
        ...

    def delivery(self, no: int, tenants: Tenants) -> tuple[Delivery, Sequence[Tried]]:
        """One delivery and its last attempts, newest first."""
        ...

    def try_again(self, no: int, tenants: Tenants, *, dry_run: bool = False) -> tuple[Delivery, Delivery]:
        """Have a delivery that failed attempted anew; before and after."""
        ...

    def deliver(self) -> Round:
        """Attempt what is due now, and say what came of it."""
        ...
