"""The console's own files, out of memory: few and small, named by what is in them, so that browsers keep them."""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

PREFIX: Final = "/static"
_TYPES: Final = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


class _File(NamedTuple):
    kind: str
    plain: bytes
    packed: bytes


class StaticFiles:
    """What templates name by `static("app.css")`."""

    def __init__(self) -> None:
        self._files = {name: _read(name, one) for name, one in _found(files("otel_finops.surfaces.ui") / "static")}
        digest = hashlib.sha256(b"".join(name.encode() + one.plain for name, one in sorted(self._files.items())))
        self._version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """The path of a file; KeyError when there is none."""
        assert name in self._files, name
        return f"{PREFIX}/{self._version}/{name}"

    def answer(self, request: Request) -> Response:
        """A file, whatever version is asked for: who has an old page open gets what there is now."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            return Response("There is no such file.", 404, media_type="text/plain")
        packs = "gzip" in request.headers.get("accept-encoding", "")
        lasting = request.path_params["version"] == self._version
        headers = {"Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-cache", "Vary": "Accept-Encoding"}
        if packs:
            headers["Content-Encoding"] = "gzip"
        return Response(found.packed if packs else found.plain, media_type=found.kind, headers=headers)


def _found(folder: Traversable, prefix: str = "") -> list[tuple[str, Traversable]]:
    found = []
    for one in folder.iterdir():
        name = f"{prefix}{one.name}"
        if one.is_dir():
            found += _found(one, f"{name}/")
        elif name.rpartition(".")[2] in _TYPES:
            found.append((name, one))
    return found


def _read(name: str, one: Traversable) -> _File:
    plain = one.read_bytes()
    return _File(_TYPES[name.rpartition(".")[2]], plain, gzip.compress(plain, mtime=0))
