"""Orders about the roster, as a signer in this process carries them out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from countersign.keystores import create_root
from countersign.keystores.ledger import Ledger, open_file
from countersign.keystores.protocol import MAX_FRAME, ConsentEvidence, Order, Reply, State
from countersign.keystores.roster import Ended
from countersign.keystores.roster_orders import RosterPage, end_key
from countersign.keystores.service import SignerService
from tests.keystores.builders import ORG, STORE, FixedKek, next_root
from tests.keystores.people import INSTALLATION, Person
from tests.support.enrolment import NewKey, NewPasskey


class Kept:
    """A signer at G3 with one administrator, whose roster is in a file."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.administrator = directory, Person()
        more: dict[str, Any] = {"installation_id": INSTALLATION, "founders": (self.administrator.founder,)}
        self.root = create_root(FixedKek(), STORE, b"a" * 32, **more)
        self.restart()

    def restart(self, *blobs: bytes) -> State:
        ledger = Ledger(open_file(self.directory))
        self.service = SignerService(FixedKek(), clock=lambda: 1_700_000_000_000, grant_level="G3", ledger=ledger)
        return msgspec.msgpack.decode(
            self.ask("load", payload=msgspec.msgpack.encode(blobs or [self.root])).data, type=State
        )

    def ask(
        self, op: str, arguments: Any = None, evidence: ConsentEvidence | None = None, payload: bytes = b""
    ) -> Reply:
        packed = b"" if arguments is None else msgspec.msgpack.encode(arguments)
        order = Order(1, op, payload=memoryview(payload), evidence=evidence, arguments=packed)
        return msgspec.msgpack.decode(
            self.service.handle(memoryview(bytearray(msgspec.msgpack.encode(order)))), type=Reply
        )


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "state")


@pytest.mark.parametrize("name", ["kind", "relying_party_id", "token_id", "user_id", "credential_uuid", "org_id"])
def test_a_credential_with_names_of_any_length_does_not_end_the_roster(kept: Kept, name: str) -> None:
    """Anyone at the socket may have a credential noted as pending; the record has to be one that is read again."""
    new = Person().founder
    for size in (257, 100_000):
        refused = kept.ask("enrol", msgspec.structs.replace(new, **{name: "é" * (size // 2) + "x"}))
        assert (refused.code, b"longer than 256 bytes" in refused.data) == ("Denied", True)
    assert kept.ask("enrol", msgspec.structs.replace(new, **{name: "x" * 256})).data == b"pending"
    assert kept.restart().state == "unsealed"


def test_a_page_of_the_roster_fits_into_a_frame(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # five hundred of them
    longest = {"org_id": "o", "user_id": "u", "kind": "k", "token_id": "t", "relying_party_id": "r"}
    for number in range(500):
        names = {name: letter * 256 for name, letter in longest.items()}
        new = msgspec.structs.replace(Person().founder, credential_uuid=f"{number:0>256}", **names)
        assert kept.ask("enrol", new).data == b"pending"
    page = kept.ask("roster", 1).data
    assert len(page) < MAX_FRAME
    assert len(msgspec.msgpack.decode(page, type=RosterPage).credentials) == 500


def test_the_next_root_authenticates_the_roster_and_the_one_before_opens_it_no_more(kept: Kept) -> None:
    """The old wrap is in old backups; with it an older authoriser, and older recipients, would be back."""
    newest = next_root(kept.root, FixedKek())
    assert kept.restart(kept.root, newest).root_versions == (1, 2)
    assert kept.restart(newest).root_versions == (2,)
    assert kept.ask("enrol", Person().founder).data == b"pending"
    old = kept.restart(kept.root)
    assert (old.state, "needs store root 2" in old.reason) == ("sealed", True)
    assert kept.restart(newest).state == "unsealed"


def test_of_two_pending_credentials_with_one_key_one_is_endorsed(kept: Kept) -> None:
    first = Person()
    second = first.another(key=first.key, user_id=Person().user_id)
    for each in (first, second):
        assert kept.ask("enrol", each.founder).data == b"pending"
    answers = []
    for each in (first, second):
        asked = {"publicKey": each.fingerprint}
        endorsed = kept.administrator.consents("POST", f"/auth/credentials/{each.uuid}/endorse", asked)
        answers.append(kept.ask("endorse", evidence=endorsed))
    assert answers[0].data == b"done"
    assert (answers[1].code, b"is or was that of another credential" in answers[1].data) == ("Denied", True)


def test_nobody_comes_in_under_the_id_of_a_user_who_is_archived_for_good(kept: Kept) -> None:
    """A consent to a new service account that was kept back until the account was deleted."""
    robot = Person()
    made = kept.administrator.consents("POST", "/auth/service-accounts", {"name": "robot", "publicKey": robot.pem})
    ended = kept.administrator.consents("DELETE", f"/auth/service-accounts/{robot.user_id}")
    assert kept.ask("retire", evidence=ended).data == b"done"
    late = kept.ask("enrol", robot.founder, made)
    assert (late.code, b"archived for good" in late.data) == ("Denied", True)


@pytest.mark.parametrize(
    "changed", [{"kind": "PasswordProtectedKey"}, {"kind": "RecoveryKey"}, {"relying_party_id": "x"}]
)
def test_a_credential_comes_in_as_the_kind_that_was_consented_to(kept: Kept, changed: dict[str, str]) -> None:
    robot = Person()
    made = kept.administrator.consents("POST", "/auth/service-accounts", {"name": "robot", "publicKey": robot.pem})
    wrong = kept.ask("enrol", msgspec.structs.replace(robot.founder, **changed), made)
    assert (wrong.code, b"another kind" in wrong.data) == ("Denied", True)
    assert kept.ask("enrol", robot.founder, made).data == b"done"


def test_people_retire_credentials_and_tokens_of_their_own_only(kept: Kept) -> None:
    other, program = Person(), kept.administrator.another(token_id="to-1")
    made = kept.administrator.consents("POST", "/auth/service-accounts", {"name": "o", "publicKey": other.pem})
    assert kept.ask("enrol", other.founder, made).data == b"done"
    made = kept.administrator.consents("POST", "/auth/pats", {"name": "p", "publicKey": program.pem})
    assert kept.ask("enrol", program.founder, made).data == b"done"
    uuid = {"credentialUuid": kept.administrator.uuid}
    for method, path, body in (
        ("DELETE", f"/auth/credentials/{kept.administrator.uuid}", {}),
        ("PUT", "/auth/credentials/deactivate", uuid),
        ("DELETE", "/auth/pats/to-1", {}),
        ("PUT", "/auth/pats/to-1/deactivate", {}),
        ("DELETE", "/auth/pats/to-2", {}),
    ):
        refused = kept.ask("retire", evidence=other.consents(method, path, body))
        assert (refused.code, refused.data) == ("Denied", b"consent is to a change of another user's"), path
    own = kept.administrator.consents("DELETE", "/auth/pats/to-1", {})
    assert kept.ask("retire", evidence=own).data == b"done"
    ended = kept.ask("retire", evidence=program.consents("DELETE", f"/auth/credentials/{program.uuid}", {}))
    assert (ended.code, b"is archived in the roster" in ended.data) == ("Denied", True)


def test_a_passkey_comes_in_for_the_relying_party_that_was_consented_to(kept: Kept) -> None:
    me = kept.administrator
    passkey = NewPasskey(me.user_id)
    body = {"credentialKind": "Fido2", "credentialInfo": passkey.info("AAAA"), "credentialName": "phone"}
    pem = NewKey(key=passkey.key).pem
    new = msgspec.structs.replace(me.another().founder, kind="Fido2", public_key=pem, relying_party_id="else.example")
    made = me.consents("POST", "/auth/credentials", body)
    refused = kept.ask("enrol", new, made)
    assert (refused.code, b"another relying party" in refused.data) == ("Denied", True)
    assert kept.ask("enrol", msgspec.structs.replace(new, relying_party_id=passkey.rp_id), made).data == b"done"


NOW_S = 1_700_000_000


def test_an_activation_undoes_no_deactivation_that_was_signed_after_it(kept: Kept) -> None:
    """Consents that were kept back, and come in another order than they were given in."""
    me, user = kept.administrator, Person()
    made = me.consents("POST", "/auth/service-accounts", {"name": "o", "publicKey": user.pem})
    assert kept.ask("enrol", user.founder, made).data == b"done"
    path = f"/auth/service-accounts/{user.user_id}"

    def retired(verb: str, expires: int) -> Reply:
        return kept.ask("retire", evidence=me.consents("PUT", f"{path}/{verb}", {}, expires=NOW_S + expires))

    assert retired("deactivate", 200).data == b"done"
    assert retired("deactivate", 100).data == b"done"
    assert retired("activate", 150).code == "Denied"
    assert retired("activate", 300).data == b"done"
    # With an expiry far ahead a consent of today would be newer than whatever comes later.
    for verb in ("activate", "deactivate"):
        endless = retired(verb, 3_601)
        assert (endless.code, b"counts for too long" in endless.data) == ("Denied", True)
    # Signed within one second: an activation counts once all the same.
    activated = me.consents("PUT", f"{path}/activate", {}, expires=NOW_S + 400)
    assert kept.ask("retire", evidence=activated).data == b"done"
    assert retired("deactivate", 400).data == b"done"
    assert kept.ask("retire", evidence=activated).data == b"done"
    own = kept.ask("retire", evidence=user.consents("DELETE", f"/auth/credentials/{user.uuid}", {}))
    assert b"is inactive in the roster" in own.data
    assert retired("deactivate", 3_600).data == b"done"


def test_a_destroyed_key_is_archived_no_more(kept: Kept) -> None:
    registrar = kept.service._registrar
    counts = []
    for op, method, path in (("destroy", "POST", "/keys/ke-1/destroy"), ("archive", "DELETE", "/keys/ke-1")):
        order = Order(1, op, "ke-1", org_id=ORG, evidence=kept.administrator.consents(method, path))
        assert isinstance(end_key(registrar, order), bytes)
        counts.append(registrar.ledger.count)
    assert counts[0] == counts[1]
    # Nor would a record of it make it less.
    assert registrar.roster.apply(Ended(ORG, "ke-1", "archive", b"", 0)) is None
    assert registrar.roster.ended(ORG, "ke-1") == "destroy"
