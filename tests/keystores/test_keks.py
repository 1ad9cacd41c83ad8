"""Key-encryption keys from key services and a hardware module, each against a real one or its protocol."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from countersign.keystores import create_root, roots
from countersign.keystores.kek import KekProvider, RootName, open_provider
from countersign.keystores.memory import LockedPage
from countersign.keystores.outcome import Refusal
from countersign.keystores.roots import next_root, open_root, parse_root, rewrap_root
from tests.keystores.builders import FixedKek, running
from tests.support.softhsm import Token, softhsm_token
from tests.support.transit import TransitServer

AUTHORISER = b"a" * 32
NAMES = ("aws-kms", "vault", "pkcs11")


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The address of a local server that speaks AWS KMS."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, "moto's server ended"
                assert time.monotonic() < deadline, "moto's server does not answer"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def transit() -> Iterator[TransitServer]:
    with TransitServer() as server:
        yield server


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    yield from softhsm_token(tmp_path_factory.mktemp("softhsm"))


def kms_key(moto: str) -> str:
    client = boto3.client("kms", region_name="eu-central-1", endpoint_url=moto)
    return str(client.create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials as boto3 finds them; none of the developer's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


@pytest.fixture(params=NAMES)
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The name of a provider whose service runs."""
    if request.param == "aws-kms":
        request.getfixturevalue("aws")
        moto = request.getfixturevalue("moto")
        return f"aws-kms:{kms_key(moto)}?endpoint={moto}"
    if request.param == "vault":
        server: TransitServer = request.getfixturevalue("transit")
        return server.spec(tmp_path)
    found: Token = request.getfixturevalue("token")
    return found.spec()


def opened(blob: bytes, kek: KekProvider) -> bytes | Refusal:
    page = LockedPage()
    wrapped = parse_root(blob)
    assert not isinstance(wrapped, Refusal)
    outcome = open_root(wrapped, kek, b"", page.root(0), page.scratch)
    return outcome if isinstance(outcome, Refusal) else bytes(page.root(0))


def test_a_service_wraps_a_root_and_opens_it_again(spec: str) -> None:
    blob = create_root(open_provider(spec), "ks-1", AUTHORISER)
    again = opened(blob, open_provider(spec))
    assert isinstance(again, bytes)
    assert len(set(again)) > 8


def test_the_wrapped_key_is_bound_to_store_and_version(spec: str) -> None:
    kek = open_provider(spec)
    parameters, key = kek.create(RootName("ks-1", 1), b"")
    assert kek.key(RootName("ks-1", 1), parameters, b"") == key
    for other in (RootName("ks-2", 1), RootName("ks-1", 2)):
        assert isinstance(kek.key(other, parameters, b""), Refusal)


def test_a_changed_wrap_is_refused_and_never_gives_another_key(spec: str) -> None:
    kek = open_provider(spec)
    root = RootName("ks-1", 1)
    parameters, _ = kek.create(root, b"")
    for index, part in enumerate(parameters):
        broken = bytearray(part.encode() if isinstance(part, str) else part)
        broken[-2] ^= 1
        changed = list(parameters)
        changed[index] = broken.decode() if isinstance(part, str) else bytes(broken)
        assert isinstance(kek.key(root, changed, b""), Refusal), index
    for malformed in ([], [1], [*parameters, b"x"]):
        outcome = kek.key(root, malformed, b"")
        assert isinstance(outcome, Refusal)
        assert outcome.code == "Integrity"


def test_a_root_moves_from_one_service_to_another_with_all_it_holds(spec: str) -> None:
    fixed, service = FixedKek(), open_provider(spec)
    before = create_root(fixed, "ks-1", AUTHORISER)
    parsed = parse_root(before)
    assert not isinstance(parsed, Refusal)
    moved = rewrap_root(parsed, fixed, b"", service, b"")
    assert isinstance(moved, bytes)
    assert opened(moved, service) == opened(before, fixed)
    wrapped = parse_root(moved)
    assert not isinstance(wrapped, Refusal)
    following = next_root(wrapped, service, b"")
    assert isinstance(following, bytes)
    page = LockedPage()
    parsed = parse_root(following)
    assert not isinstance(parsed, Refusal)
    outcome = open_root(parsed, service, b"", page.root(1), page.scratch)
    assert isinstance(outcome, roots.OpenedRoot)
    assert (outcome.store_id, outcome.root_version, outcome.authorisers) == ("ks-1", 2, (AUTHORISER,))
    # It follows from the first, by whichever service that is wrapped.
    assert outcome.vouch == roots.vouch_for(memoryview(bytearray(opened(before, fixed))), "ks-1", outcome.substance)
    assert bytes(page.root(1)) != opened(before, fixed)


async def test_the_signer_opens_its_root_through_the_service_and_again_after_it_was_sealed(spec: str) -> None:
    """In its own process, confined as far as that provider lets it be."""
    async with running(spec) as signer:
        assert (await signer.client.status()).state == "unsealed"
        await signer.client.seal()
        await signer.client.unseal(None)
        state = await signer.client.status()
        assert state.state == "unsealed", state.reason
        said = " ".join(state.notes)
        assert "confine it by the service unit" in said or "connecting and reading files stay allowed" in said


@pytest.mark.usefixtures("aws")
def test_a_kms_that_is_away_is_named_and_seals(moto: str) -> None:
    kek = open_provider(f"aws-kms:{kms_key(moto)}?endpoint={moto}")
    parameters, _ = kek.create(RootName("ks-1", 1), b"")
    away = open_provider("aws-kms:alias/none?region=eu-central-1&endpoint=http://127.0.0.1:9")
    outcome = away.key(RootName("ks-1", 1), parameters, b"")
    assert isinstance(outcome, Refusal)
    assert outcome.code == "Sealed"
    assert "aws-kms" in outcome.reason
    with pytest.raises(ValueError, match="aws-kms: NotFoundException"):
        open_provider(f"aws-kms:alias/none?region=eu-central-1&endpoint={moto}").create(RootName("ks-1", 1), b"")


def test_vault_says_why_it_refuses_and_keeps_opening_after_its_own_rotation(
    transit: TransitServer, tmp_path: Path
) -> None:
    spec = transit.spec(tmp_path)
    root = RootName("ks-1", 1)
    parameters, key = open_provider(spec).create(root, b"")
    transit.rotate()
    assert open_provider(spec).key(root, parameters, b"") == key
    newer, _ = open_provider(spec).create(root, b"")
    assert newer[0].startswith("vault:v2:")
    assert parameters[0].startswith("vault:v1:")
    (tmp_path / "token").write_text("wrong")
    outcome = open_provider(spec).key(root, parameters, b"")
    assert isinstance(outcome, Refusal)
    assert "Forbidden" in outcome.reason
    (tmp_path / "token").unlink()
    outcome = open_provider(spec).key(root, parameters, b"")
    assert isinstance(outcome, Refusal)
    assert "can't be read" in outcome.reason


def test_the_token_key_can_not_be_taken_out_and_a_wrong_pin_is_named(token: Token, tmp_path: Path) -> None:
    kek: Any = open_provider(token.spec(label="fresh"))
    parameters, _ = kek.create(RootName("ks-1", 1), b"")
    import pkcs11
    from pkcs11 import Attribute

    with kek._session(write=False) as session:
        key = session.get_key(label="fresh")
        assert not key[Attribute.EXTRACTABLE]
        assert key[Attribute.SENSITIVE]
        with pytest.raises(pkcs11.PKCS11Error):
            key[Attribute.VALUE]
    (tmp_path / "pin").write_text("000000")
    outcome = open_provider(token.spec(label="fresh", pin=tmp_path / "pin")).key(RootName("ks-1", 1), parameters, b"")
    assert isinstance(outcome, Refusal)
    assert "PinIncorrect" in outcome.reason
    missing = open_provider(token.spec(label="missing")).key(RootName("ks-1", 1), parameters, b"")
    assert isinstance(missing, Refusal)
    assert "holds no AES key" in missing.reason


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("aws-kms:", "needs the id"),
        ("aws-kms:alias/x?regoin=eu", "unknown option 'regoin'"),
        ("vault:https://v/transit/k", "token_file"),
        ("vault:http://vault.example/transit/k?token_file=/t", "https"),
        ("vault:https://v/k?token_file=/t", "address of a transit key"),
        ("vault:https://v/transit/k?token_file=/t&token=x", "unknown option 'token'"),
        ("pkcs11:token=t;object=o?module-path=/m&pin-value=1234", "unknown option 'pin-value'"),
        ("pkcs11:token=t?module-path=/m&pin-source=/p", "lacks object"),
        ("quorum:1-of-3", "2 <= M <= N"),
        ("quorum:4-of-3", "2 <= M <= N"),
        ("quorum:3-of-17", "2 <= M <= N"),
        ("quorum:three", "M-of-N"),
    ],
)
def test_a_name_with_something_wrong_is_refused_in_one_line(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        open_provider(spec)
    assert said in str(caught.value)


def test_a_provider_without_its_extra_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['hvac'] = None\n"
        "from countersign.keystores.kek import open_provider\n"
        "try: open_provider('vault:https://v/transit/k?token_file=/t')\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install countersign[vault]" in done.stdout
