"""What an answer says, whatever file it is: for those who look for words in it."""

from __future__ import annotations

import gzip
import io


def readable(content: bytes) -> str:
    """The text of an answer's body: JSON, CSV and the like as they are, gzip unpacked, Parquet as its rows."""
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if content[:4] == b"PAR1":
        from pyarrow import parquet  # noqa: PLC0415 - an extra

        return str(parquet.read_table(io.BytesIO(content)).to_pylist())
    return content.decode("utf-8", "replace")
