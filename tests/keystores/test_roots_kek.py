"""The wrapped store root and the providers of the key that wraps it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from countersign.keystores import create_root, roots
from countersign.keystores.kek import (
    FileProvider,
    KekProvider,
    PassphraseProvider,
    RootName,
    open_provider,
    write_key_file,
)
from countersign.keystores.memory import LockedPage
from countersign.keystores.outcome import Refusal
from tests.keystores.builders import FixedKek

AUTHORISER = b"a" * 32
ROOT = RootName("ks-1", 1)
CHEAPEST = PassphraseProvider(memory_kib=64 * 1024, iterations=1, lanes=1)


def opened(blob: bytes, kek: KekProvider, secret: bytes = b"") -> tuple[bytes, roots.OpenedRoot] | Refusal:
    page = LockedPage()
    wrapped = roots.parse_root(blob)
    if isinstance(wrapped, Refusal):
        return wrapped
    outcome = roots.open_root(wrapped, kek, secret, page.root(0), page.scratch)
    assert bytes(page.scratch) == bytes(len(page.scratch)), "nothing of the content stays behind"
    return outcome if isinstance(outcome, Refusal) else (bytes(page.root(0)), outcome)


def test_a_root_names_its_store_and_pins_the_authoriser() -> None:
    key, root = opened(create_root(FixedKek(), "ks-1", AUTHORISER), FixedKek())
    assert len(set(key)) > 8
    assert root == roots.OpenedRoot("ks-1", 1, (AUTHORISER,), substance=root.substance)


def test_every_store_has_its_own_root_key() -> None:
    blobs = [create_root(FixedKek(), "ks-1", AUTHORISER) for _ in range(3)]
    assert len({opened(blob, FixedKek())[0] for blob in blobs}) == 3


def test_a_flipped_bit_anywhere_is_refused() -> None:
    blob = create_root(FixedKek(), "ks-1", AUTHORISER)
    for position in range(len(blob) * 8):
        broken = bytearray(blob)
        broken[position // 8] ^= 1 << position % 8
        assert isinstance(opened(bytes(broken), FixedKek()), Refusal), f"bit {position}"


def test_a_passphrase_costs_a_quarter_gibibyte_in_three_passes_unless_a_test_says_otherwise() -> None:
    assert PassphraseProvider().create(ROOT, b"secret")[0][1:] == [256 * 1024, 3, 4]


def test_the_wrong_key_is_named_as_such() -> None:
    outcome = opened(create_root(FixedKek(), "ks-1", AUTHORISER), FixedKek(b"x" * 32))
    assert outcome == Refusal("Denied", "the key-encryption key is not the one that wrapped root 1")


def test_the_wrong_provider_is_named_as_such() -> None:
    outcome = opened(create_root(FixedKek(), "ks-1", AUTHORISER), FixedKek(name="file"))
    assert outcome == Refusal("Sealed", "root 1 is wrapped by 'fixed', the signer uses 'file'")


def test_a_file_with_a_key_wraps_and_opens(tmp_path: Path) -> None:
    write_key_file(tmp_path / "kek")
    provider = open_provider(f"file:{tmp_path / 'kek'}")
    assert not isinstance(opened(create_root(provider, "ks-1", AUTHORISER), provider), Refusal)
    assert (tmp_path / "kek").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_key_file(tmp_path / "kek")


def test_the_development_key_is_generated_once_and_noted(tmp_path: Path) -> None:
    provider = open_provider(f"dev:{tmp_path / 'kek'}")
    blob = create_root(provider, "ks-1", AUTHORISER)
    create_root(provider, "ks-2", AUTHORISER)
    assert not isinstance(opened(blob, provider), Refusal)
    assert (tmp_path / "kek").stat().st_mode & 0o777 == 0o600
    assert provider.note is not None
    assert "dev-kek" in provider.note


def test_a_lost_development_key_is_not_replaced_at_unseal(tmp_path: Path) -> None:
    provider = open_provider(f"dev:{tmp_path / 'kek'}")
    blob = create_root(provider, "ks-1", AUTHORISER)
    (tmp_path / "kek").unlink()
    outcome = opened(blob, provider)
    assert isinstance(outcome, Refusal)
    assert "can't be read" in outcome.reason
    assert not (tmp_path / "kek").exists()


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o620])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    write_key_file(tmp_path / "kek")
    (tmp_path / "kek").chmod(mode)
    outcome = FileProvider(tmp_path / "kek").key(ROOT, [], b"")
    assert isinstance(outcome, Refusal)
    assert "open to others" in outcome.reason


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_file_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "kek").write_bytes(b"k" * length)
    (tmp_path / "kek").chmod(0o400)
    outcome = FileProvider(tmp_path / "kek").key(ROOT, [], b"")
    assert isinstance(outcome, Refusal)
    assert "exactly 32 bytes" in outcome.reason


@pytest.mark.parametrize("spec", ["", "dev", "dev:", "file:", "passphrase:x", "tpm2:x"])
def test_unknown_providers_are_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="must be dev:PATH, file:PATH, passphrase"):
        open_provider(spec)


def test_a_passphrase_wraps_and_opens_with_its_own_stored_cost() -> None:
    blob = create_root(CHEAPEST, "ks-1", AUTHORISER, b"correct horse")
    assert not isinstance(opened(blob, PassphraseProvider(), b"correct horse"), Refusal)
    wrong = opened(blob, CHEAPEST, b"battery staple")
    assert wrong == Refusal("Denied", "the passphrase is not the one that wrapped root 1")
    missing = opened(blob, CHEAPEST, b"")
    assert isinstance(missing, Refusal)
    assert missing.code == "Sealed"


@pytest.mark.parametrize(
    "parameters",
    [
        [b"s" * 16, 64 * 1024 - 1, 3, 4],
        [b"s" * 16, 19 * 1024, 2, 1],
        [b"s" * 16, 5 * 1024 * 1024, 3, 4],
        [b"s" * 16, 64 * 1024, 0, 4],
        [b"s" * 16, 64 * 1024, 3, 99],
    ],
)
def test_a_cost_below_the_floor_or_above_the_ceiling_is_refused(parameters: list[object]) -> None:
    outcome = PassphraseProvider().key(ROOT, parameters, b"secret")
    assert isinstance(outcome, Refusal)
    assert outcome.code == "Denied"


@pytest.mark.parametrize("parameters", [[], [b"s" * 15, 65536, 3, 4], ["salt", 65536, 3, 4], [b"s" * 16, 65536, 3]])
def test_malformed_passphrase_parameters_are_refused(parameters: list[object]) -> None:
    outcome = PassphraseProvider().key(ROOT, parameters, b"secret")
    assert isinstance(outcome, Refusal)
    assert outcome.code == "Integrity"


def test_a_new_root_below_the_floor_can_not_be_made() -> None:
    with pytest.raises(ValueError, match="64 MiB"):
        create_root(PassphraseProvider(memory_kib=1024), "ks-1", AUTHORISER, b"secret")


@pytest.mark.parametrize("blob", [b"", b"CSR1", b"CSR1\0\0", b"CSR1\xff\xff" + b"x" * 40, os.urandom(100)], ids=len)
def test_what_is_no_root_is_refused(blob: bytes) -> None:
    assert isinstance(roots.parse_root(blob), Refusal)


def test_the_header_can_not_claim_another_store() -> None:
    blob = create_root(FixedKek(), "ks-1", AUTHORISER)
    header = msgspec.msgpack.encode(["fixed", [], "ks-2", 1])
    forged = blob[:4] + len(header).to_bytes(2, "big") + header + blob[6 + int.from_bytes(blob[4:6], "big") :]
    assert isinstance(opened(forged, FixedKek()), Refusal)
