"""A stolen API process: the authoriser's seed, every row of the database, the MAC keys, and the signer's socket.

At G2 it has the socket of the authoriser instead of the seed. The processes are the real ones. What the thief asks of
the signer, it asks with a perfect grant where it can have one; it has every piece of evidence that was ever given, and
may write what it likes wherever the API may. It gets no signature, export or end of a key that nobody in the roster
consented to, and no credential of its own into the roster.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.keystores import (
    Authoriser,
    AuthoriserClient,
    ConsentEvidence,
    Founder,
    KeyRecord,
    SignatureValue,
    SignerClient,
    SignerRefused,
    SignerSupervisor,
    SignOrder,
    charter,
    create_root,
    share_envelope,
)
from countersign.keystores.kek import open_provider
from countersign.keystores.orders import EndedKey
from countersign.keystores.proof import operator_proof
from countersign.keystores.protocol import Order
from countersign.keystores.roster_line import RosterLine
from countersign.keystores.roster_orders import Adoption, Endorsement
from countersign.keystores.supervisor import Supervisor
from countersign.world import World
from tests.keystores.builders import ORG, STORE
from tests.keystores.people import INSTALLATION, Person, digest
from tests.support.softhsm import Token as SoftHsm
from tests.support.softhsm import softhsm_token

APART = "apart"
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1, ec.SECP256K1)


@dataclass
class House:
    """A signer at G3 with one administrator in its roster, one key, and the thief's client.

    At G2 ``keeper`` is the authoriser, a process of its own, and the roster its.
    """

    thief: SignerClient
    keeper: RosterLine
    administrator: Person
    key: KeyRecord
    state: Path
    root: bytes
    supervisor: SignerSupervisor
    authorising: Supervisor | None = None

    async def restart(self) -> None:
        """Kill the signer; its supervisor starts another, and the client comes back."""
        before = (await self.thief.status()).boot_id
        assert self.supervisor.pid is not None
        os.kill(self.supervisor.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            status = await self.thief.status()
            while status.boot_id in ("", before) or status.state != "unsealed":
                await asyncio.sleep(0.02)
                status = await self.thief.status()

    async def sign(self, evidence: ConsentEvidence, payload: str, key: KeyRecord | None = None) -> SignatureValue:
        order = SignOrder(key or self.key, "digest32", bytes.fromhex(payload), "sig-1", evidence)
        return await self.thief.sign(order)

    def wants(self, payload: str, by: Person | None = None, **changed: Any) -> ConsentEvidence:
        body = {"kind": "Hash", "hash": payload}
        path = f"/keys/{self.key.key_id}/signatures"
        return (by or self.administrator).consents("POST", path, body, **changed)

    async def enrol(self, new: Person, evidence: ConsentEvidence | None) -> bytes:
        return await self.keeper.change_roster("enrol", msgspec.msgpack.encode(new.founder), evidence)


async def make_key(client: SignerClient, by: Person, key_id: str) -> KeyRecord:
    evidence = by.consents("POST", "/keys", {"scheme": "ECDSA", "curve": "secp256k1"})
    made = await client.generate(by.org_id, key_id, "ECDSA", "secp256k1", "rq-1", evidence)
    return KeyRecord(
        by.org_id, key_id, "ECDSA", "secp256k1", made.public_key, made.secret_kind, made.root_version, made.generation,
        made.record,
    )  # fmt: skip


@asynccontextmanager
async def house(
    founders: tuple[Founder, ...] | None = None, *, key: bool = True, store: str = "sealed"
) -> AsyncIterator[House]:
    administrator = Person()
    founders = (administrator.founder,) if founders is None else founders
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ks")))
        kek, seed = f"dev:{directory / 'kek'}", os.urandom(32)
        apart = charter.create(directory / "key", "au-1", INSTALLATION, founders) if store == APART else None
        root = create_root(
            open_provider(kek),
            STORE,
            Authoriser(seed if apart is None else apart.seed).public_key,
            installation_id=INSTALLATION,
            founders=founders,
            authoriser_apart=apart is not None,
        )

        async def roots() -> list[bytes]:
            return [root]

        socket, state = directory / "run" / "signer.sock", directory / "state"
        extra = ("--state", str(state), "--grant-level", "G3" if apart is None else "G2")
        kind = "sealed" if apart else store
        supervisor = SignerSupervisor(str(socket), kek, store=kind, environment="sandbox", extra=extra)
        authorising = None if apart is None else authoriser_process(directory)
        grants = Authoriser(seed) if apart is None else AuthoriserClient(str(directory / "au" / "s"), "au-1")
        client = SignerClient(str(socket), grants, roots, store_id=STORE, world=World())
        for process in (supervisor, authorising):
            if process is not None:
                await process.start()
                stack.push_async_callback(process.stop)
        for line in (grants, client):
            if isinstance(line, RosterLine):
                await line.start(wait=20)
                stack.push_async_callback(line.close)
        made = await make_key(client, administrator, World().new_id("key")) if key else None
        keeper = grants if isinstance(grants, AuthoriserClient) else client
        yield House(client, keeper, administrator, made, state, root, supervisor, authorising)


def authoriser_process(directory: Path) -> Supervisor:
    """The authoriser of the key file ``key``, at the socket ``au/s``."""
    options = ("--socket", str(directory / "au" / "s"), "--key", str(directory / "key"), "--environment", "sandbox")
    state = ("--state", str(directory / "au-state"))
    return Supervisor("authoriser", "countersign.keystores.authoriser", (*options, *state))


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    yield from softhsm_token(tmp_path_factory.mktemp("hsm"))


@pytest.fixture(params=["sealed", "resident", "wrapped", APART])
def store(request: pytest.FixtureRequest) -> str:
    """Where the key is: in the sealed store, also at G2, or in a hardware module in either mode."""
    if request.param in ("sealed", APART):
        return str(request.param)
    hsm: SoftHsm = request.getfixturevalue("hsm")
    return f"{hsm.spec(label='wrapping')}&mode={request.param}"


async def refused(doing: Any) -> str:
    with pytest.raises(SignerRefused) as caught:
        await doing
    assert caught.value.code == "Denied", caught.value
    return caught.value.reason


async def test_what_was_consented_to_is_signed(store: str) -> None:
    async with house(store=store) as it:
        payload = digest()
        assert len((await it.sign(it.wants(payload), payload)).r) == 32


async def test_no_signature_with_evidence_of_something_else(store: str) -> None:
    async with house(store=store) as it:
        payload, other = digest(), digest()
        right = it.wants(payload)
        assert "another payload to sign" in await refused(it.sign(right, other))
        swapped = it.wants(other)
        assert "does not hold" in await refused(it.sign(msgspec.structs.replace(right, payload=swapped.payload), other))
        another_key = await make_key(it.thief, it.administrator, World().new_id("key"))
        assert "no signature by this key" in await refused(it.sign(right, payload, another_key))
        moved = msgspec.structs.replace(right, path=f"/keys/{another_key.key_id}/signatures")
        assert "does not hold" in await refused(it.sign(moved, payload, another_key))
        renamed = it.administrator.consents("PUT", f"/keys/{it.key.key_id}", {"name": "n"})
        assert "no signature by this key" in await refused(it.sign(renamed, payload))
        clone = it.wants(payload, installation_id="in-00000-00002-0000000000000002")
        assert "another installation" in await refused(it.sign(clone, payload))


async def test_no_signature_with_forged_evidence(store: str) -> None:
    async with house(store=store) as it:
        payload = digest()
        thief = Person()
        assert "not in the roster" in await refused(it.sign(it.wants(payload, thief), payload))
        # Under the administrator's name, with a key of the thief's: the roster's key counts, not the evidence's.
        posing = it.administrator.another(uuid=it.administrator.uuid)
        assert "does not hold" in await refused(it.sign(it.wants(payload, posing), payload))
        elsewhere = Person(org_id="or-00000-00002-0000000000000002")
        assert "another organisation" in await refused(it.sign(it.wants(payload, elsewhere), payload))
        relabelled = msgspec.structs.replace(it.wants(payload), user_id=thief.user_id)
        assert "another user's" in await refused(it.sign(relabelled, payload))


async def _order(it: House, op: str, kind: str, payload: bytes, evidence: ConsentEvidence | None = None) -> bytes:
    """Any order on the key, with the grant that the stolen authoriser makes for it."""
    order = Order(0, op, it.key.key_id, it.key.scheme, payload=memoryview(payload), payload_kind=kind)
    order.org_id, order.curve, order.record = it.key.org_id, it.key.curve, it.key.record
    order.public_key, order.secret_kind = it.key.public_key, it.key.secret_kind
    order.root_version, order.generation, order.evidence = it.key.root_version, it.key.generation, evidence
    order.arguments = msgspec.msgpack.encode([os.urandom(32) for _ in range(5)])
    if op != "rewrap":
        order.grant = await it.thief._grant(order, "rq-1", "")
    return await it.thief._order(order)


async def test_no_export_but_to_whom_the_consent_names() -> None:
    async with house() as it:
        mine, stolen = (share_envelope.encryption_key(bytearray(os.urandom(32))) for _ in range(2))
        body = {
            "encryptionKey": base64.b64encode(mine).decode(),
            "supportedSchemes": [{"protocol": "CGGMP21", "curve": "secp256k1"}],
        }
        asked = it.administrator.consents("POST", f"/keys/{it.key.key_id}/export", body)
        to_thief, to_owner = (msgspec.msgpack.encode([key, "CGGMP21"]) for key in (stolen, mine))
        assert "another encryption key" in await refused(_order(it, "export", "export", to_thief, asked))
        assert "no export of this key" in await refused(_order(it, "export", "export", to_owner, it.wants(digest())))
        assert "no evidence" in await refused(_order(it, "export", "export", to_owner))
        for kind in ("KU23", "CGGMP24"):
            other = msgspec.msgpack.encode([mine, kind])
            assert "another protocol" in await refused(_order(it, "export", "export", other, asked))
        assert await _order(it, "export", "export", to_owner, asked)


@pytest.mark.parametrize("store", ["sealed", APART])
async def test_no_export_with_an_approval_that_is_none(store: str) -> None:
    async with house(store=store) as it:
        approver, second = Person(), it.administrator.another()
        for new in (approver, second):
            await it.enrol(new, None)
            endorsing = f"/auth/credentials/{new.uuid}/endorse"
            asked = it.administrator.consents("POST", endorsing, {"publicKey": new.fingerprint})
            assert await it.keeper.change_roster("endorse", b"", asked) == b"done"
        receiver = share_envelope.encryption_key(bytearray(os.urandom(32)))
        wished = {
            "encryptionKey": base64.b64encode(receiver).decode(),
            "supportedSchemes": [{"protocol": "CGGMP21", "curve": "secp256k1"}],
        }
        other = {**wished, "encryptionKey": base64.b64encode(b"\1" + bytes(33)).decode()}
        export, path = f"/keys/{it.key.key_id}/export", f"/keys/{it.key.key_id}/export/approvals"
        order = msgspec.msgpack.encode([receiver, "CGGMP21"])

        def ask(*approvals: ConsentEvidence) -> Any:
            asked = it.administrator.consents("POST", export, wished)
            encoded = tuple(msgspec.msgpack.encode(one) for one in approvals)
            return _order(it, "export", "export", order, msgspec.structs.replace(asked, approvals=encoded))

        good = approver.consents("POST", path, wished)
        posing = approver.another(uuid=approver.uuid).consents("POST", path, wished)
        elsewhere = Person(org_id="or-00000-00002-0000000000000002").consents("POST", path, wished)
        of_others = approver.consents("POST", "/keys/key-1/export/approvals", wished)
        assert "not in the roster" in await refused(ask(good, Person().consents("POST", path, wished)))
        assert "does not hold" in await refused(ask(posing))
        assert "another organisation" in await refused(ask(elsewhere))
        assert "something else" in await refused(ask(of_others))
        assert "something else" in await refused(ask(approver.consents("POST", path, other)))
        assert "something else" in await refused(ask(approver.consents("POST", export, wished)))
        # The words of one approval under the body of another.
        borrowed = msgspec.structs.replace(approver.consents("POST", path, other), payload=good.payload)
        assert "does not hold" in await refused(ask(borrowed))
        assert "two are of one person" in await refused(ask(good, approver.consents("POST", path, wished)))
        assert "of whoever asks" in await refused(ask(second.consents("POST", path, wished)))
        # Nor is an approval an export by itself.
        assert "no export of this key" in await refused(_order(it, "export", "export", order, good))
        assert await ask(good)


async def _any_refusal(doing: Any) -> str:
    with pytest.raises(SignerRefused) as caught:
        await doing
    return str(caught.value)


async def test_no_key_of_a_module_comes_out_whoever_consents(hsm: SoftHsm) -> None:
    for mode in ("resident", "wrapped"):
        async with house(store=f"{hsm.spec(label='wrapping')}&mode={mode}") as it:
            wanted = share_envelope.encryption_key(bytearray(os.urandom(32)))
            body = {
                "encryptionKey": base64.b64encode(wanted).decode(),
                "supportedSchemes": [{"protocol": "CGGMP21", "curve": "secp256k1"}],
            }
            asked = it.administrator.consents("POST", f"/keys/{it.key.key_id}/export", body)
            payload = msgspec.msgpack.encode([wanted, "CGGMP21"])
            assert "can't export" in await _any_refusal(_order(it, "export", "export", payload, asked))


async def test_no_end_of_a_key_that_nobody_asked_for_and_none_back_from_it(store: str) -> None:
    async with house(store=store) as it:
        named = EndedKey(it.key.key_id, it.key.scheme, it.key.public_key)
        payload = digest()
        for op in ("archive", "destroy"):
            await refused(it.thief.end_key(op, ORG, named, "rq-1", it.wants(payload)))
        await it.sign(it.wants(payload), payload)
        gone = it.administrator.consents("DELETE", f"/keys/{it.key.key_id}")
        assert "does not ask to destroy" in await refused(it.thief.end_key("destroy", ORG, named, "rq-1", gone))
        await it.thief.end_key("archive", ORG, named, "rq-1", gone)
        # The old row put back in the database changes nothing: the record still comes with the order.
        assert "archived for good" in await refused(it.sign(it.wants(payload), payload))
        body = {"publicKey": it.key.public_key.hex()}
        destroyed = it.administrator.consents("POST", f"/keys/{it.key.key_id}/destroy", body)
        await it.thief.end_key("destroy", ORG, named, "rq-1", destroyed)
        assert "destroyed for good" in await refused(it.sign(it.wants(payload), payload))
        assert "destroyed for good" in await refused(_order(it, "rewrap", "", b""))


async def test_no_credential_of_its_own_gets_in(store: str) -> None:
    async with house(store=store) as it:
        thief, payload = Person(), digest()
        # A row in the database and word of it: pending, and counts for nothing.
        assert await it.enrol(thief, None) == b"pending"
        assert "is pending in the roster" in await refused(it.sign(it.wants(payload, thief), payload))
        # Signed by itself, by consent to something else, to another key, and to another user.
        body = {"name": "x", "publicKey": thief.pem}
        await refused(it.enrol(thief, thief.consents("POST", "/auth/service-accounts", body)))
        await refused(it.enrol(thief, it.wants(payload)))
        honest = Person()
        covering = it.administrator.consents("POST", "/auth/service-accounts", {"name": "x", "publicKey": honest.pem})
        assert "another public key" in await refused(it.enrol(thief, covering))
        own = it.administrator.consents("POST", "/auth/pats", {"name": "x", "publicKey": honest.pem})
        assert "another user" in await refused(it.enrol(honest, own))
        assert "this user has credentials" in await refused(
            it.enrol(it.administrator.another(key=honest.key), covering)
        )
        # Endorsed without consent, without the key-encryption key, or under the fingerprint of another key.
        forged = Endorsement(ORG, thief.uuid, thief.fingerprint, b"p" * 32)
        await refused(it.keeper.change_roster("endorse", msgspec.msgpack.encode(forged)))
        asked = it.administrator.consents(
            "POST", f"/auth/credentials/{thief.uuid}/endorse", {"publicKey": honest.fingerprint}
        )
        assert "no such credential" in await _any_refusal(it.keeper.change_roster("endorse", b"", asked))
        adoption = Adoption(INSTALLATION, (thief.founder,), b"p" * 32)
        assert await it.keeper.change_roster("adopt", msgspec.msgpack.encode(adoption)) == b"done"
        assert "is pending in the roster" in await refused(it.sign(it.wants(payload, thief), payload))


async def test_a_credential_in_the_name_of_another_is_not_taken_for_it() -> None:
    async with house() as it:
        thief = it.administrator.another()
        replacing = Person(user_id=it.administrator.user_id, uuid=it.administrator.uuid, key=thief.key)
        assert "another credential under this id" in await refused(it.enrol(replacing, None))
        payload = digest()
        await it.sign(it.wants(payload), payload)


async def test_a_covered_credential_counts_and_a_removed_one_is_not_brought_back() -> None:
    async with house() as it:
        account, payload = Person(), digest()
        body = {"name": "x", "publicKey": account.pem}
        covering = it.administrator.consents("POST", "/auth/service-accounts", body)
        for _ in range(2):
            assert await it.enrol(account, covering) == b"done"
        await it.sign(it.wants(payload, account), payload)
        activated = it.administrator.consents("PUT", f"/auth/service-accounts/{account.user_id}/activate", expires=100)
        path = f"/auth/service-accounts/{account.user_id}/deactivate"
        off = it.administrator.consents("PUT", path, expires=200)
        assert await it.keeper.change_roster("retire", b"", off) == b"done"
        assert "is inactive in the roster" in await refused(it.sign(it.wants(payload, account), payload))
        # What somebody consented to before does not undo it, nor does enrolling it again.
        assert "older than the state" in await refused(it.keeper.change_roster("retire", b"", activated))
        assert await it.enrol(account, covering) == b"done"
        assert "is inactive in the roster" in await refused(it.sign(it.wants(payload, account), payload))
        on = it.administrator.consents("PUT", f"/auth/service-accounts/{account.user_id}/activate", expires=300)
        assert await it.keeper.change_roster("retire", b"", on) == b"done"
        await it.sign(it.wants(payload, account), payload)
        deleted = it.administrator.consents("DELETE", f"/auth/service-accounts/{account.user_id}", expires=400)
        assert await it.keeper.change_roster("retire", b"", deleted) == b"done"
        later = it.administrator.consents("PUT", f"/auth/service-accounts/{account.user_id}/activate", expires=500)
        await it.keeper.change_roster("retire", b"", later)
        assert "is archived in the roster" in await refused(it.sign(it.wants(payload, account), payload))
        again = Person(key=account.key)
        anew = it.administrator.consents("POST", "/auth/service-accounts", {**body, "name": "y"})
        assert "is or was that of credential" in await refused(it.enrol(again, anew))


async def test_an_endorsed_credential_counts() -> None:
    async with house() as it:
        coded, payload = it.administrator.another(), digest()
        assert await it.enrol(coded, None) == b"pending"
        path = f"/auth/credentials/{coded.uuid}/endorse"
        asked = it.administrator.consents("POST", path, {"publicKey": coded.fingerprint})
        assert await it.keeper.change_roster("endorse", b"", asked) == b"done"
        await it.sign(it.wants(payload, coded), payload)


async def test_an_installation_made_before_is_held_to_its_roster_once_that_is_adopted() -> None:
    """Also by a signer that is started anew with the root as it was before: that names nobody, and lowers nothing."""
    async with house(()) as it:
        payload, thief = digest(), Person()
        assert await _level(it) == "G1"
        await it.sign(it.wants(payload, thief), payload)
        with pytest.raises(SignerRefused, match="keeps no roster yet"):
            await it.enrol(thief, None)
        adoption = Adoption(INSTALLATION, (it.administrator.founder,))
        reason = await refused(it.keeper.change_roster("adopt", msgspec.msgpack.encode(adoption)))
        assert "key-encryption key" in reason
        kek = open_provider(f"dev:{it.state.parent / 'kek'}")
        proof = operator_proof(kek, b"", STORE, [it.root], adoption.message())
        assert isinstance(proof, bytes)
        adopted = msgspec.structs.replace(adoption, proof=proof)
        assert await it.keeper.change_roster("adopt", msgspec.msgpack.encode(adopted)) == b"done"
        await it.restart()
        assert await _level(it) == "G3"
        assert "not in the roster" in await refused(it.sign(it.wants(payload, thief), payload))
        await it.sign(it.wants(payload), payload)


async def _level(it: House) -> str:
    await it.thief.status()
    assert it.thief._state is not None
    return it.thief._state.grant_level


async def test_the_roster_outlasts_the_signer() -> None:
    async with house() as it:
        account, payload = Person(), digest()
        covering = it.administrator.consents("POST", "/auth/service-accounts", {"name": "x", "publicKey": account.pem})
        await it.enrol(account, covering)
        before = it.keeper.roster_mark
        await it.restart()
        await it.sign(it.wants(payload, account), payload)
        assert before is None or it.keeper.roster_mark is not None


async def test_the_holder_of_the_key_encryption_key_endorses() -> None:
    async with house() as it:
        lost, payload = it.administrator.another(), digest()
        await it.enrol(lost, None)
        wanted = Endorsement(ORG, lost.uuid, lost.fingerprint)
        proof = operator_proof(open_provider(f"dev:{it.state.parent / 'kek'}"), b"", STORE, [it.root], wanted.message())
        assert isinstance(proof, bytes)
        given = msgspec.msgpack.encode(msgspec.structs.replace(wanted, proof=proof))
        assert await it.keeper.change_roster("endorse", given) == b"done"
        await it.sign(it.wants(payload, lost), payload)


async def test_every_kind_of_public_key_is_read_by_a_signer_that_gave_up_the_file_system() -> None:
    keys: list[rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = [
        rsa.generate_private_key(65537, 2048),
        *(ec.generate_private_key(each()) for each in CURVES),
    ]
    async with house(key=False) as it:
        for key in keys:
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            founder = msgspec.structs.replace(Person().founder, public_key=pem)
            assert await it.keeper.change_roster("enrol", msgspec.msgpack.encode(founder), None) == b"pending"
