"""A process that delivers what stands in an outbox, as a replica of the service does: DATABASE_URL CLAIM_SECONDS.

It says `ready`, waits for a line on its standard input, delivers what is due, and says what came of it.
"""

from __future__ import annotations

import sys

from delivery_rig import INSIDE, KEY

from otel_finops.alerting import deliver
from otel_finops.alerting.channel_store import ChannelStore
from otel_finops.alerting.sealing import Sealer
from otel_finops.alerting.senders import Senders
from otel_finops.base.clock import SystemClock
from otel_finops.base.outbound import Outbound
from otel_finops.settings.channels import Channels
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases


def main(url: str, claim_s: str) -> None:
    deliver._CLAIM_NS = round(float(claim_s) * 1e9)  # type: ignore[misc]  # nobody waits two minutes here
    clock = SystemClock()
    store = Store.open(url, clock)
    senders = Senders(Channels(), Outbound(timeout_s=20, answer_bytes_max=4_096), INSIDE, clock, 20)
    secrets = ChannelStore(store, clock, Sealer([KEY], None), Channels(), INSIDE).secrets
    one = deliver.Deliverer(store, clock, senders, secrets, Leases(store, clock, "replica").now_ns, patience_s=3_600)
    print("ready", flush=True)
    sys.stdin.readline()
    print(one.run(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
