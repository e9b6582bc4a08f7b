"""An OTLP/gRPC server that reads requests and throws them away: what the transport alone costs on this machine at this minute."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


def _export(body: bytes, context: grpc.ServicerContext) -> bytes:
    return b""


def main() -> None:
    """Serve on the address given until the process is ended."""
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    handlers = {"Export": grpc.unary_unary_rpc_method_handler(_export)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    server.add_insecure_port(sys.argv[1])
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
