"""Secrets of channels as they are stored."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from delivery_rig import HOOK, KEY

from otel_finops.alerting.channel_secrets import Secrets, SigningKey
from otel_finops.alerting.sealing import Sealer, key_file
from otel_finops.base.errors import BadInput

SECRETS = Secrets(HOOK, {"X-Token": "t0k3n-of-ours"}, "ann", "pa55word", {"key": "k3y-of-theirs"}, (SigningKey("whsec_abcdefgh", 5),))


def test_what_is_sealed_can_be_unsealed_and_not_be_read() -> None:
    sealed = Sealer([KEY], None).seal(1, SECRETS.packed())
    assert "hooks" not in sealed
    assert Secrets.of(Sealer([KEY], None).unseal(1, sealed)) == SECRETS


def test_a_key_is_replaced_by_putting_a_new_one_first() -> None:
    new = Fernet.generate_key().decode()
    sealed = Sealer([KEY], None).seal(1, {"url": HOOK})
    both = Sealer([new, KEY], None)
    assert both.unseal(1, sealed) == {"url": HOOK}
    assert Sealer([new], None).unseal(1, both.seal(1, {"url": HOOK})) == {"url": HOOK}
    with pytest.raises(BadInput, match=r"channel 1 were encrypted by a key that is not there: .*channels\.secret_keys"):
        Sealer([new], None).unseal(1, sealed)


def test_one_channels_secrets_are_no_others() -> None:
    sealer = Sealer([KEY], None)
    with pytest.raises(BadInput, match="another channel's"):
        sealer.unseal(2, sealer.seal(1, {"url": HOOK}))


def test_a_sqlite_database_has_a_key_file_beside_it(tmp_path: Path) -> None:
    file = key_file(f"sqlite:///{tmp_path / 'ledger.db'}?mode=rw")
    assert file == tmp_path / "ledger.db.key"
    sealed = Sealer([], file).seal(1, {"url": HOOK})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Sealer([], file).unseal(1, sealed) == {"url": HOOK}
    assert [one.name for one in tmp_path.iterdir()] == ["ledger.db.key"]


def test_processes_that_need_the_key_at_once_make_one(tmp_path: Path) -> None:
    file, start, sealed = tmp_path / "k", threading.Barrier(4), list[str]()

    def seal() -> None:
        start.wait()
        sealed.append(Sealer([], file).seal(1, {}))

    threads = [threading.Thread(target=seal) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [Sealer([], file).unseal(1, one) for one in sealed] == [{}] * 4


def test_without_a_key_it_is_said_what_to_do(tmp_path: Path) -> None:
    assert key_file("postgresql+psycopg://host/db") is None
    with pytest.raises(BadInput, match=r"set channels\.secret_keys \(`openssl rand"):
        Sealer([], None).seal(1, {})
    (tmp_path / "k").write_text("nonsense")
    for file in (tmp_path / "k", tmp_path / "none"):
        with pytest.raises(BadInput, match=f"key file '{file.name}'"):
            Sealer([], file).unseal(1, "x")


def test_a_text_that_repeats_secrets_is_shown_without_them() -> None:
    text = f"no route {HOOK} for /services/T00/B00/s3cr3t-t0k3n, t0k3n-of-ours, YW5uOnBhNTV3b3Jk, pa55word, k3y-of-theirs, whsec_abcdefgh"
    assert Secrets.hidden_in(SECRETS, text) == (
        "no route (secret) for /(secret), (secret), (secret), (secret), (secret), (secret)"
    )  # fmt: skip


@pytest.mark.parametrize("repeated", ["t0k3n-0f-0urs", "s3cr3t-t0k3n", "qu3ry-t0k3n", "pa{55w}ord", "k3y-in-text", "ACc0unt1"])
def test_parts_of_secrets_that_are_repeated_by_themselves_are_not_shown_either(repeated: str) -> None:
    """The token of `Bearer TOKEN`, what stands between the slashes of an address, and what holds a brace."""
    secrets = Secrets(
        f"{HOOK}?token=qu3ry-t0k3n", {"Authorization": "Bearer t0k3n-0f-0urs"}, "ACc0unt1", "pa{55w}ord", {"text": "k3y-in-text:{text}"}
    )
    assert secrets.hidden_in(f'{{"error": "{repeated} is none of ours"}}') == '{"error": "(secret) is none of ours"}'
