"""Who holds the key-encryption secret opens every root of the store."""

from __future__ import annotations

import secrets
from pathlib import Path

from countersign.keystores.kek import FileProvider, PassphraseProvider
from countersign.keystores.outcome import Refusal
from countersign.keystores.proof import prove_secret
from countersign.keystores.roots import create_root

STORE = "ks-of-a-test"
AUTHORISER = bytes(32)


def provider(path: Path) -> FileProvider:
    path.touch(0o600)
    path.write_bytes(secrets.token_bytes(32))
    return FileProvider(path)


def reason(outcome: Refusal | None) -> str:
    assert isinstance(outcome, Refusal)
    return outcome.reason


def test_the_secret_that_wrapped_the_roots_is_a_proof_and_another_is_not(tmp_path: Path) -> None:
    right, wrong = provider(tmp_path / "right"), provider(tmp_path / "wrong")
    roots = [create_root(right, STORE, AUTHORISER, root_version=version) for version in (1, 2)]
    assert prove_secret(right, b"", STORE, roots) is None
    assert "not the one" in reason(prove_secret(wrong, b"", STORE, roots))
    assert "can't be read" in reason(prove_secret(FileProvider(tmp_path / "none"), b"", STORE, roots))


def test_a_root_of_ones_own_beside_the_others_proves_nothing(tmp_path: Path) -> None:
    right, own = provider(tmp_path / "right"), provider(tmp_path / "own")
    roots = [create_root(right, STORE, AUTHORISER), create_root(own, STORE, AUTHORISER, root_version=2)]
    assert "not the one" in reason(prove_secret(own, b"", STORE, roots))
    assert "not the one" in reason(prove_secret(own, b"", STORE, roots[::-1]))


def test_no_root_and_a_root_of_another_store_prove_nothing(tmp_path: Path) -> None:
    kek = provider(tmp_path / "kek")
    assert "no root" in reason(prove_secret(kek, b"", STORE, []))
    assert "another store" in reason(prove_secret(kek, b"", STORE, [create_root(kek, "ks-other", AUTHORISER)]))
    assert "format" in reason(prove_secret(kek, b"", STORE, [b"nonsense"]))


def test_a_passphrase_is_a_proof() -> None:
    kek = PassphraseProvider(memory_kib=64 * 1024, iterations=1, lanes=1)
    roots = [create_root(kek, STORE, AUTHORISER, b"correct horse")]
    assert prove_secret(kek, b"correct horse", STORE, roots) is None
    assert "passphrase" in reason(prove_secret(kek, b"wrong", STORE, roots))
    assert "waits" in reason(prove_secret(kek, b"", STORE, roots))
