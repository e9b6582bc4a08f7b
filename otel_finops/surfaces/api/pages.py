"""The page at `/`: what runs here, and how to send the first span. No script, no request to anywhere else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin-top: 2rem }
pre { background: #f3f4f6; padding: .75rem 1rem; overflow-x: auto; border-radius: 4px }
table { border-collapse: collapse } td { padding: .15rem 1.5rem .15rem 0; vertical-align: top }
a { color: #0b57d0 }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #111 } pre { background: #1e1f22 } a { color: #8ab4f8 } }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def index_page(version: str, listeners: Mapping[str, str], links: Iterable[tuple[str, str]], *, tokens: bool = False) -> HTMLResponse:
    """The page.

    Args:
        version: of the product.
        listeners: address by name, e.g. `OTLP/gRPC`.
        links: (path, what is there).
        tokens: senders must show one.
    """
    rows = "".join(f"<tr><td>{escape(name)}</td><td><code>{escape(address)}</code></td></tr>" for name, address in listeners.items())
    items = "".join(f'<li><a href="{escape(path)}">{escape(path)}</a>: {escape(text)}</li>' for path, text in links)
    endpoint = listeners.get("OTLP/HTTP") or listeners.get("OTLP/gRPC") or ""
    protocol = "http/protobuf" if "OTLP/HTTP" in listeners else "grpc"
    first = f"export OTEL_EXPORTER_OTLP_ENDPOINT=http://{endpoint}\nexport OTEL_EXPORTER_OTLP_PROTOCOL={protocol}" if endpoint else ""
    if endpoint and tokens:
        first += "\nexport OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN   # otel-finops senders create NAME --tenants TENANT"
    body = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>otel_finops</title><style>{_STYLE}</style></head><body>
<h1>otel_finops {escape(version)}</h1>
<p>Prices every model call in the OpenTelemetry spans that it receives, once, and keeps the result in an append-only ledger.</p>
<h2>What listens here</h2><table>{rows}</table>
<h2>Send the first span</h2>
<p>Point any instrumented application at it, then look at what it cost:</p>
<pre>{escape(first)}
python your_app.py
otel-finops spend report --group-by provider,model</pre>
<h2>Where to look</h2><ul>{items}</ul>
</body></html>
"""
    return HTMLResponse(body, headers={"Content-Security-Policy": _POLICY})
