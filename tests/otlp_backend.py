"""A fake OTLP backend over HTTP and gRPC: it answers what it is told and keeps what it gets."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import grpc


class Backend:
    """What a fake backend answers, and what it got."""

    def __init__(self) -> None:
        self.http_status = 200
        self.code = grpc.StatusCode.OK
        self.answer = b""
        self.seen: list[tuple[bytes, dict[str, str]]] = []
        self.path = ""


@contextmanager
def http_backend(backend: Backend) -> Iterator[str]:
    """The backend over HTTP; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(size := int(self.headers["content-length"]))
            if len(body) < size:  # the sender's connection broke: the request never came
                self.close_connection = True
                return
            backend.path = self.path
            backend.seen.append((body, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(backend.http_status)
            self.send_header("content-length", str(len(backend.answer)))
            self.end_headers()
            self.wfile.write(backend.answer)

        def log_message(self, *args: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_backend(backend: Backend, port: int = 0) -> Iterator[str]:
    """The backend over gRPC, on a port of the system's choice or a given one; gives its address."""

    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        backend.seen.append((body, {str(key): str(value) for key, value in context.invocation_metadata()}))
        if backend.code is not grpc.StatusCode.OK:
            context.abort(backend.code, "told to")
        return backend.answer

    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.unary_unary_rpc_method_handler(export)
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(5).wait()  # what it has taken it answers: a restart in good order
