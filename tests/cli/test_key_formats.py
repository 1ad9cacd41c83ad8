"""Forms of private keys: published vectors, there and back, and what a form cannot hold."""

from __future__ import annotations

import json
import sys

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from countersign.cli import key_formats
from countersign.cli.key_formats import HeldKey, Unusable
from countersign.keystores.sharing import ORDERS
from tests.support import age_files

WIF_SCALAR = 0x0C28FCA386C7A227600B2FE50B7CAE11EC86D3BF1FBE471BE89827E19D72AA1D
PHRASE = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"

#: The PBKDF2 vector of the Web3 secret storage definition.
KEYSTORE = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}


@pytest.mark.parametrize(
    "text",
    [
        b"5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ",
        b"KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617",
        b"KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617\n",
    ],
)
def test_the_published_wif_is_read(text: bytes) -> None:
    assert key_formats.from_wif(text) == HeldKey("secp256k1", WIF_SCALAR)


def test_wif_is_written_as_published() -> None:
    key = HeldKey("secp256k1", WIF_SCALAR)
    assert key_formats.to_wif(key) == b"KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617\n"
    assert key_formats.from_wif(key_formats.to_wif(key, testnet=True)) == key
    assert key_formats.to_wif(key, testnet=True).startswith(b"c")


@pytest.mark.parametrize(
    "text", [b"", b"x", b"KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98618", b"1BoatSLRHtKNngkdXEeobR76b53LETtpyT"]
)
def test_what_is_no_wif_is_refused(text: bytes) -> None:
    with pytest.raises(Unusable):
        key_formats.from_wif(text)


def test_the_published_keystore_is_read() -> None:
    key = key_formats.from_ethereum(json.dumps(KEYSTORE).encode(), "testpassword")
    assert f"{key.scalar:064x}" == "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
    with pytest.raises(Unusable):
        key_formats.from_ethereum(json.dumps(KEYSTORE).encode(), "another")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"version": 9}', b"\xff", b"[" * 200_000])
def test_what_is_no_keystore_is_refused(data: bytes) -> None:
    with pytest.raises(Unusable):
        key_formats.from_ethereum(data, "p")


def test_keystores_are_read_as_written() -> None:
    key = HeldKey("secp256k1", WIF_SCALAR)
    written = key_formats.to_ethereum(key, "p")
    assert json.loads(written)["crypto"]["kdf"] == "scrypt"
    assert key_formats.from_ethereum(written, "p") == key


def test_a_phrase_leads_to_the_published_ethereum_key() -> None:
    key = key_formats.from_mnemonic(PHRASE, "", "m/44'/60'/0'/0/0", "secp256k1")
    assert f"{key.scalar:064x}" == "1ab42cc412b618bdea3a599e3c9bae199ebf030895b039e9db1e30dafb12b727"
    assert key == key_formats.from_mnemonic(f"  {PHRASE.upper()}\n", "", "m/44h/60H/0'/0/0", "secp256k1")
    assert key != key_formats.from_mnemonic(PHRASE, "TREZOR", "m/44'/60'/0'/0/0", "secp256k1")


def test_bip32_vector_1() -> None:
    seed = bytes(range(16))
    scalar, chain_code = key_formats._bip32(seed, key_formats._steps("m/0'/1/2'/2/1000000000"))
    assert f"{scalar:064x}" == "471b76e389e528d6de6d816857e012c5455051cad6660850e58372a6c3e6e7c8"
    assert chain_code.hex() == "c783e67b921d2beb8f6b389cc646d7263b4145701dadd2161548a8b078e65e9e"


def test_slip10_ed25519_vector_1() -> None:
    seed = bytes(range(16))
    steps = key_formats._steps("m/0'")
    assert (
        key_formats._slip10_ed25519(seed, steps).hex()
        == "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3"
    )


def test_a_phrase_has_ed25519_keys_at_hardened_paths_only() -> None:
    assert key_formats.from_mnemonic(PHRASE, "", "m/44'/501'/0'/0'", "ed25519").scheme == "EdDSA"
    with pytest.raises(Unusable, match="hardened"):
        key_formats.from_mnemonic(PHRASE, "", "m/44'/501'/0'/0", "ed25519")


@pytest.mark.parametrize("path", ["", "44'/60'", "m/", "m//0", "m/2147483648", "m/-1", "m/0''", "m/x", "n/0", "m/0/ 1"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(Unusable, match="derivation path"):
        key_formats.from_mnemonic(PHRASE, "", path, "secp256k1")


@pytest.mark.parametrize(
    "phrase", ["", "abandon", PHRASE.replace("about", "abandon"), PHRASE.replace("about", "abouts")]
)
def test_what_is_no_phrase_is_refused(phrase: str) -> None:
    with pytest.raises(Unusable, match="BIP-39"):
        key_formats.from_mnemonic(phrase, "", "m/0", "secp256k1")


@pytest.fixture(scope="module")
def key_file() -> bytes:
    """A key file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyrage.passphrase, "encrypt", age_files.encrypt)
        return key_formats.to_age(HeldKey("stark", 7, "ECDSA"), "correct horse")


def test_a_key_file_is_read_as_written(key_file: bytes) -> None:
    assert key_formats.from_age(key_file, "correct horse") == HeldKey("stark", 7, "ECDSA")


def test_a_try_at_the_passphrase_of_a_key_file_is_dear() -> None:
    """age chooses the cost so that a try takes a second where the file is made; a busy machine is a slow one."""
    written = key_formats.to_age(HeldKey("stark", 7, "ECDSA"), "correct horse")
    assert int(written.splitlines()[1].split()[-1]) >= 10
    assert key_formats.from_age(written, "correct horse") == HeldKey("stark", 7, "ECDSA")


@pytest.mark.parametrize("index", [-1, -60])
def test_k5_a_changed_key_file_gives_no_key(key_file: bytes, index: int) -> None:
    changed = bytearray(key_file)
    changed[index] ^= 1
    with pytest.raises(Unusable, match="does not open"):
        key_formats.from_age(bytes(changed), "correct horse")


@pytest.mark.parametrize("passphrase", ["", "another"])
def test_a_key_file_opens_with_its_passphrase_only(key_file: bytes, passphrase: str) -> None:
    with pytest.raises(Unusable, match="passphrase"):
        key_formats.from_age(key_file, passphrase)


def test_k5_a_file_that_contradicts_itself_gives_no_key() -> None:
    content = {"format": "countersign-key/1", "curve": "secp256k1", "scheme": None, "publicKey": "02" * 33}
    sealed = age_files.encrypt(json.dumps({**content, "scalar": f"{7:064x}"}).encode(), "p")
    with pytest.raises(Unusable, match="contradicts itself"):
        key_formats.from_age(sealed, "p")


@pytest.mark.parametrize("passphrase", ["", "p"])
def test_pkcs8_is_read_as_written(passphrase: str) -> None:
    key = HeldKey("secp256k1", WIF_SCALAR)
    written = key_formats.to_pkcs8(key, passphrase)
    assert (b"ENCRYPTED" in written) == bool(passphrase)
    assert key_formats.from_pkcs8(written, passphrase) == key
    with pytest.raises(Unusable):
        key_formats.from_pkcs8(written, "another")


def test_an_ed25519_seed_becomes_the_scalar_of_its_public_key() -> None:
    own = Ed25519PrivateKey.generate()
    pem = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = key_formats.from_pkcs8(pem, "")
    assert key.public_key == own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    with pytest.raises(Unusable, match="no seed"):
        key_formats.to_pkcs8(key, "p")


def test_keys_of_other_kinds_are_refused() -> None:
    pem = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(Unusable, match="another kind"):
        key_formats.from_pkcs8(pem, "")


@pytest.mark.parametrize("form", ["pkcs8", "ethereum", "wif"])
@pytest.mark.parametrize("curve", ["ed25519", "stark"])
def test_a_form_that_cannot_hold_the_key_says_so_beforehand(form: str, curve: str) -> None:
    with pytest.raises(Unusable, match="use the format age"):
        key_formats.check_form(form, curve)


@pytest.mark.parametrize("curve", sorted(ORDERS))
def test_a_scalar_out_of_range_is_no_key(curve: str) -> None:
    for scalar in (0, ORDERS[curve], -1):
        with pytest.raises(Unusable):
            HeldKey(curve, scalar)


def test_a_key_does_not_show_itself() -> None:
    assert str(WIF_SCALAR) not in repr(HeldKey("secp256k1", WIF_SCALAR, chain_code=b"c" * 32))
    assert "cc" not in repr(HeldKey("secp256k1", WIF_SCALAR, chain_code=b"c" * 32))


@pytest.mark.parametrize(("form", "library"), [("wif", "base58"), ("ethereum", "eth_keyfile")])
def test_a_missing_extra_is_named_before_anything_moves(
    monkeypatch: pytest.MonkeyPatch, form: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Unusable, match=r"pip install 'countersign\[convert\]'"):
        key_formats.check_form(form, "secp256k1")
    key_formats.check_form("age", "secp256k1")
