"""An authoriser in a process of its own (G2): what it grants, and what becomes of it when it dies or is set up wrong.

That a stolen API process gets nothing from it is in ``test_stolen_api_process``.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from countersign.keystores import Authoriser, SignerClient, SignerRefused, charter
from countersign.keystores.authoriser import main
from countersign.keystores.authoriser_service import AuthoriserService
from countersign.keystores.grants import Asked, GrantBook, payload_hash
from countersign.keystores.protocol import MAX_APPROVALS, Order, Reply
from countersign.keystores.roots import NamedAuthoriser
from countersign.world import World
from tests.keystores.builders import KEY, ORG, STORE, Bench, FixedKek, next_root
from tests.keystores.people import INSTALLATION, Person, digest
from tests.keystores.test_stolen_api_process import APART, house
from tests.support.aio import until

NOW = 1_700_000_000_000


def asked(**changed: Any) -> Asked:
    right = Asked(STORE, "si-1", "", b"b" * 16, NOW, os.urandom(16))
    return msgspec.structs.replace(right, **changed)


def to_sign(by: Person, payload: str, **changed: Any) -> Order:
    order = Order(1, "sign", KEY, "ECDSA", payload=memoryview(bytes.fromhex(payload)), payload_kind="digest32")
    order.org_id, order.curve = ORG, "secp256k1"
    order.evidence = by.consents("POST", f"/keys/{KEY}/signatures", {"kind": "Hash", "hash": payload})
    return msgspec.structs.replace(order, **changed)


@pytest.fixture
def made(tmp_path: Path) -> tuple[charter.Charter, Person]:
    person = Person()
    return charter.create(tmp_path / "key", "au-1", INSTALLATION, (person.founder,)), person


def ask(service: AuthoriserService, wanted: Order | bytes, about: Asked) -> Reply:
    inner = wanted if isinstance(wanted, bytes) else msgspec.msgpack.encode(wanted)
    order = Order(7, "authorise", payload=memoryview(inner), arguments=msgspec.msgpack.encode(about))
    frame = memoryview(bytearray(msgspec.msgpack.encode(order)))
    return msgspec.msgpack.decode(service.handle(frame), type=Reply)


def test_a_grant_is_for_the_order_that_somebody_consented_to_and_no_other(made: tuple[charter.Charter, Person]) -> None:
    key, person = made
    service, payload = AuthoriserService(key, clock=lambda: NOW), digest()
    right = to_sign(person, payload)
    reply = ask(service, right, asked())
    assert reply.code == "ok", reply
    expected = payload_hash(right.payload_kind, right.payload, right.tweak)
    book = GrantBook(b"b" * 16)
    assert book.accept(reply.data, right, expected, STORE, (key.public_key,), NOW) is None
    other = payload_hash(right.payload_kind, bytes.fromhex(digest()), None)
    assert book.accept(reply.data, right, other, STORE, (key.public_key,), NOW) is not None
    elsewhere = msgspec.structs.replace(right, payload=memoryview(bytes.fromhex(digest())))
    stranger = to_sign(Person(), payload)
    unsaid = msgspec.structs.replace(right, evidence=None)
    for wrong in (elsewhere, stranger, unsaid):
        assert ask(service, wrong, asked()).code == "Denied"
    assert right.evidence is not None
    endless = msgspec.structs.replace(right.evidence, approvals=(b"",) * (MAX_APPROVALS + 1))
    reply = ask(service, msgspec.structs.replace(right, evidence=endless), asked())
    assert (reply.code, b"more than 16 approvals" in reply.data) == ("Denied", True)


def test_what_takes_no_grant_gets_none(made: tuple[charter.Charter, Person]) -> None:
    key, person = made
    service, right = AuthoriserService(key, clock=lambda: NOW), to_sign(person, digest())
    for op in ("rewrap", "verify", "load", "unseal", "status", "authorise", ""):
        assert ask(service, msgspec.structs.replace(right, op=op), asked()).code == "Unsupported"
    assert ask(service, b"\xc1", asked()).code == "Unsupported"


@pytest.mark.parametrize("apart", [-61_000, 61_000])
def test_no_grant_for_another_time(made: tuple[charter.Charter, Person], apart: int) -> None:
    key, person = made
    service = AuthoriserService(key, clock=lambda: NOW)
    reply = ask(service, to_sign(person, digest()), asked(now=NOW + apart))
    assert (reply.code, b"clocks" in reply.data) == ("Unavailable", True)


def test_at_g2_a_root_that_names_the_server_stays_sealed() -> None:
    kek, authoriser = FixedKek(), Authoriser(os.urandom(32))
    bench = Bench("G2", kek=FixedKek(b"z" * 32), authoriser=authoriser)  # its own root opens, and names the server
    assert bench.state().state == "sealed"
    assert "rotate-root --authoriser" in bench.state().reason
    bench = Bench("G1", kek=kek, authoriser=authoriser)
    assert bench.state().authorisers == (authoriser.public_key,)
    bench = Bench("G2", kek=kek, authoriser=authoriser)
    apart = next_root(bench.root, kek, authoriser=NamedAuthoriser(authoriser.public_key, apart=True))
    state = bench.load([bench.root, apart])
    assert (state.state, state.root_versions, state.grant_level) == ("unsealed", (1, 2), "G2")


async def test_a_server_that_makes_grants_itself_is_told_before_it_asks() -> None:
    """It answers 503 and spends nothing; whoever asks all the same is denied."""
    async with house(store=APART) as it:

        async def roots() -> list[bytes]:
            return [it.root]

        itself = SignerClient(it.thief._socket_path, Authoriser(os.urandom(32)), roots, store_id=STORE, world=World())
        await itself.start(wait=20)
        try:
            status = await itself.status()
            assert (itself.available, status.state) == (False, "ungranted")
            assert "names another authoriser" in status.reason
            payload = digest()
            it.thief = itself
            with pytest.raises(SignerRefused, match="not signed by an authoriser"):
                await it.sign(it.wants(payload), payload)
        finally:
            await itself.close()


async def test_grants_wait_for_an_authoriser_that_died_and_its_roster_outlasts_it() -> None:
    async with house(store=APART) as it:
        assert it.authorising is not None
        account = Person()
        covering = it.administrator.consents("POST", "/auth/service-accounts", {"name": "x", "publicKey": account.pem})
        assert await it.enrol(account, covering) == b"done"
        assert it.authorising.pid is not None
        os.kill(it.authorising.pid, signal.SIGKILL)
        await until(lambda: not it.thief.available)
        assert it.thief.open
        await until(lambda: it.thief.available)
        payload = digest()
        await it.sign(it.wants(payload, account), payload)
        assert it.authorising.restarts >= 1


def test_the_key_file_is_made_once_and_read_only_where_it_is_closed_to_others(tmp_path: Path) -> None:
    path, founder = tmp_path / "key", Person().founder
    made = charter.create(path, "au-1", INSTALLATION, (founder,))
    assert path.stat().st_mode & 0o777 == 0o600
    assert charter.read(path) == made
    with pytest.raises(FileExistsError):
        charter.create(path, "au-2", INSTALLATION, (founder,))
    path.chmod(0o644)
    with pytest.raises(ValueError, match="open to others"):
        charter.read(path)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"version": 2}'])
def test_a_file_that_is_no_key_is_named_and_nothing_listens(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    assert main(["--socket", str(tmp_path / "run" / "s"), "--key", str(path), "--state", str(tmp_path / "st")]) == 2
    assert "no key file of an authoriser" in caplog.text
    assert not (tmp_path / "run").exists()


def test_in_production_it_keeps_its_roster_and_endorses_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    charter.create(tmp_path / "key", "au-1", INSTALLATION, (Person().founder,))
    start = ["--socket", str(tmp_path / "run" / "s"), "--key", str(tmp_path / "key")]
    assert main(start) == 2
    assert "--state DIR is needed" in caplog.text
    assert main([*start, "--state", str(tmp_path / "st"), "--endorse-by-itself"]) == 2
    assert "refused in production" in caplog.text


def test_the_roster_of_another_authoriser_is_not_believed(tmp_path: Path) -> None:
    from countersign.keystores.ledger import Ledger, open_file

    founder = Person().founder
    first = charter.create(tmp_path / "one", "au-1", INSTALLATION, (founder,))
    second = charter.create(tmp_path / "two", "au-2", INSTALLATION, (founder,))
    AuthoriserService(first, clock=lambda: NOW, ledger=Ledger(open_file(tmp_path / "state")))
    with pytest.raises(ValueError, match=r"authentic|not"):
        AuthoriserService(second, clock=lambda: NOW, ledger=Ledger(open_file(tmp_path / "state")))
