"""Files of OTLP: every form that the Collector's file exporter and single exporters write."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_finops.base.errors import BadInput
from otel_finops.base.protocols import Credential
from otel_finops.otlp.files import check_readable, read_requests

ONE, TWO = b'{"resourceSpans": []}', b'{"resourceSpans": [{}]}'


def bodies(path: Path) -> list[bytes]:
    return [request.body for request in read_requests(path, Credential())]


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_one_protobuf_request_is_the_whole_file(tmp_path: Path) -> None:
    path = written(tmp_path, "a.binpb", b"\x0a\x00")
    [request] = read_requests(path, Credential("acme", ("acme",)))
    assert (request.body, request.encoding, request.credential.realm) == (b"\x0a\x00", "protobuf", "acme")


def test_length_delimited_protobuf_requests(tmp_path: Path) -> None:
    content = b"".join(len(body).to_bytes(4, "big") + body for body in (b"\x0a\x00", b"", b"\x0a\x02\x12\x00"))
    assert bodies(written(tmp_path, "a.binpb", content)) == [b"\x0a\x00", b"", b"\x0a\x02\x12\x00"]


@pytest.mark.parametrize("content", [b"\x00\x00\x00\x05ab", b"\x00\x00", b"\x00\xff\xff\xff"])
def test_a_file_that_broke_off_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadInput, match=r"a\.binpb: broken off"):
        bodies(written(tmp_path, "a.binpb", content))


def test_json_over_many_lines_is_one_request(tmp_path: Path) -> None:
    pretty = b'{\n  "resourceSpans": []\n}\n'
    assert bodies(written(tmp_path, "a.json", pretty)) == [pretty]


def test_json_a_line_each_is_read_from_json_and_jsonl_alike(tmp_path: Path) -> None:
    content = ONE + b"\n\n" + TWO + b"\n"
    for name in ("a.json", "a.jsonl"):
        assert [body.strip() for body in bodies(written(tmp_path, name, content))] == [ONE, TWO]


def test_an_empty_file_of_lines_holds_nothing(tmp_path: Path) -> None:
    assert bodies(written(tmp_path, "a.jsonl", b"")) == []


def test_all_faults_of_the_names_are_told_before_anything_is_read(tmp_path: Path) -> None:
    good = written(tmp_path, "good.jsonl", ONE)
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(BadInput) as fault:
        check_readable([good, tmp_path / "absent.json", tmp_path / "spans.parquet", tmp_path / "folder.json"])
    text = str(fault.value)
    assert "absent.json: cannot be read: No such file" in text
    assert "spans.parquet: unknown kind of file; OTLP files end in .binpb, .json, .jsonl" in text
    assert "folder.json: cannot be read: Is a directory" in text
    assert "good.jsonl" not in text
