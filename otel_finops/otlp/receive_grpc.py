"""OTLP over gRPC: raw bytes in, statuses of the one table out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

from otel_finops.base import limits
from otel_finops.base.errors import StartRefused
from otel_finops.base.protocols import ExportRequest
from otel_finops.otlp.intake import Reception
from otel_finops.otlp.signals import SIGNALS, Signal
from otel_finops.settings.addresses import Address

SETTING = "otlp.grpc_address"


class GrpcReceiver:
    """A gRPC server for the three OTLP services.

    gRPC itself inflates and refuses what is over `limits.BODY_BYTES_MAX` (RESOURCE_EXHAUSTED, no delay) before it reaches us.

    Args:
        reuse_port: let several processes listen on the same port (SO_REUSEPORT).
    """

    def __init__(self, reception: Reception, address: Address, *, reuse_port: bool = False, threads: int = limits.RECEIVE_THREADS) -> None:
        self._reception = reception
        self._address = address
        self._server = grpc.server(
            ThreadPoolExecutor(threads, thread_name_prefix="otlp-grpc"),
            options=[
                ("grpc.max_receive_message_length", limits.BODY_BYTES_MAX),
                ("grpc.max_metadata_size", limits.HEADER_BYTES_MAX),
                ("grpc.so_reuseport", int(reuse_port)),
            ],
            maximum_concurrent_rpcs=limits.CONNECTIONS_MAX,
        )
        for signal in SIGNALS:
            handler = grpc.unary_unary_rpc_method_handler(self._export(signal))
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(signal.grpc_service, {"Export": handler}),))
        self.port = 0
        """The bound port, once started."""

    def start(self) -> None:
        """Listen; raises StartRefused when the address cannot be bound."""
        try:
            self.port = self._server.add_insecure_port(str(self._address if self._address.host else self._address._replace(host="::")))
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise StartRefused(
                f"cannot listen on {self._address} for OTLP/gRPC: the port is in use or the address is not this machine's; "
                f"change {SETTING} (OTEL_FINOPS_OTLP__GRPC_ADDRESS), or leave it empty to switch OTLP/gRPC off"
            )
        self._server.start()

    def stop(self, grace_s: float) -> None:
        """Take no new requests, let running ones finish for `grace_s` seconds, then cut them off."""
        self._server.stop(grace_s).wait()

    def _export(self, signal: Signal) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def export(body: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                return self._take(signal, body, context)
            except Exception as error:  # noqa: BLE001 - the catch-all: whatever leaves a handler becomes UNKNOWN, which loses the batch
                refusal = self._reception.refuse(error)
            context.set_code(refusal.fault.code)
            context.set_details(refusal.message)
            context.set_trailing_metadata(refusal.trailers())
            return b""

        return export

    def _take(self, signal: Signal, body: bytes, context: grpc.ServicerContext) -> bytes:
        authorization = next((value for key, value in context.invocation_metadata() if key == "authorization"), None)
        credential = self._reception.credential(authorization)
        with self._reception.admission.hold(len(body)):
            return self._reception.answer(signal.name, "grpc", ExportRequest(body, "protobuf", credential))
