"""Custodians' shares: enough of the right ones open the store, anything else is named and opens nothing (K5)."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pyrage
import pytest
import shamir_mnemonic

from countersign.cli.kek_secrets import hand_out
from countersign.keystores import create_root
from countersign.keystores.keks.quorum import QuorumProvider
from countersign.keystores.protocol import Order, Reply, State
from countersign.keystores.roots import WrappedRoot, parse_root
from countersign.keystores.service import SignerService
from tests.keystores.builders import STORE, next_root

AUTHORISER = b"a" * 32


class Custody:
    """A store whose root is wrapped by a quorum, and a signer that waits for shares."""

    def __init__(self, threshold: int = 3, count: int = 5) -> None:
        maker = QuorumProvider(threshold, count)
        self.shares = maker.split()
        self.blob = create_root(maker, STORE, AUTHORISER)
        self.restart()

    def restart(self) -> None:
        self.service = SignerService(QuorumProvider(None, None), clock=lambda: 1_700_000_000_000)
        self.load(self.blob)

    def load(self, *blobs: bytes) -> State:
        reply = self.ask("load", msgspec.msgpack.encode(blobs))
        assert reply.code == "ok", reply
        return msgspec.msgpack.decode(reply.data, type=State)

    def ask(self, op: str, payload: bytes = b"") -> Reply:
        frame = memoryview(bytearray(msgspec.msgpack.encode(Order(1, op, payload=memoryview(payload)))))
        return msgspec.msgpack.decode(self.service.handle(frame), type=Reply)

    def hand_in(self, share: str) -> State | str:
        """The state afterwards, or why the share was refused."""
        reply = self.ask("unseal", share.encode())
        return msgspec.msgpack.decode(reply.data, type=State) if reply.code == "ok" else reply.data.decode()


def state(outcome: State | str) -> State:
    assert isinstance(outcome, State), outcome
    return outcome


def test_k5_any_three_of_five_open_and_fewer_do_not() -> None:
    custody = Custody()
    for chosen in itertools.combinations(custody.shares, 3):
        custody.restart()
        assert state(custody.hand_in(chosen[0])).state == "sealed"
        waiting = state(custody.hand_in(chosen[1]))
        assert waiting.state == "sealed"
        assert "2 of 3 shares are here" in waiting.reason
        assert "1 more needed" in waiting.reason
        assert state(custody.hand_in(chosen[2])).state == "unsealed"


def test_k5_a_share_handed_in_twice_counts_once() -> None:
    custody = Custody()
    for _ in range(4):
        assert state(custody.hand_in(custody.shares[1])).state == "sealed"
    assert "1 of 3 shares is here (number 2)" in state(custody.hand_in(custody.shares[1])).reason


def test_k5_a_share_of_another_set_is_named_and_the_right_ones_still_open() -> None:
    custody, other = Custody(), Custody()
    custody.hand_in(custody.shares[0])
    refused = custody.hand_in(other.shares[1])
    assert isinstance(refused, str)
    assert "share 2 is of another set" in refused
    custody.hand_in(custody.shares[1])
    assert state(custody.hand_in(custody.shares[2])).state == "unsealed"


def test_k5_a_mistyped_or_cut_share_is_named() -> None:
    custody = Custody()
    words = custody.shares[0].split()
    wrong = "academic" if words[10] != "academic" else "acid"
    for broken in (
        " ".join([*words[:10], wrong, *words[11:]]),
        " ".join(words[:-1]),
        " ".join([*words[1:], words[0]]),
        "hello world",
        "\xff" * 10,
    ):
        refused = custody.hand_in(broken)
        assert isinstance(refused, str)
        assert "a word is missing, mistyped or changed" in refused
    assert state(custody.hand_in("  " + custody.shares[0].upper().replace(" ", "\n") + "\n")).state == "sealed"


def test_k5_a_share_altered_with_a_right_checksum_is_refused_before_it_is_used() -> None:
    custody = Custody()
    share = shamir_mnemonic.Share.from_mnemonic(custody.shares[0])
    forged = shamir_mnemonic.Share(**{**share.__dict__, "value": bytes([share.value[0] ^ 1]) + share.value[1:]})
    refused = custody.hand_in(forged.mnemonic())
    assert isinstance(refused, str)
    assert "another set" in refused
    assert "was changed" in refused


def test_one_round_of_shares_opens_every_root_of_the_store() -> None:
    maker = QuorumProvider(2, 3)
    shares = maker.split()
    blobs = [create_root(maker, STORE, AUTHORISER)]
    blobs.append(next_root(blobs[0], maker, b""))
    custody = Custody()
    custody.service = SignerService(QuorumProvider(None, None), clock=lambda: 1_700_000_000_000)
    custody.load(*blobs)
    custody.hand_in(shares[2])
    assert state(custody.hand_in(shares[0])).root_versions == (1, 2)


def test_k5_a_stranger_who_lists_the_custodians_shares_as_their_own_opens_no_root_beside() -> None:
    """The hashes of shares are no secret: a set of a stranger's may name them, and take them when they come."""
    custody, maker = Custody(3, 3), QuorumProvider(2, 3)
    theirs = maker.split()
    real = parse_root(custody.blob)
    assert isinstance(real, WrappedRoot)
    assert maker._current is not None
    # A root that says it takes three of them waits with two of theirs; the next one says that it takes two.
    maker._current[0][0] = 3
    custody.restart()
    custody.load(create_root(maker, STORE, b"t" * 32, root_version=2))
    for share in theirs[:2]:
        custody.hand_in(share)
    maker._current[0][:] = [2, maker._current[0][1] + real.parameters[1]]
    custody.load(custody.blob, create_root(maker, STORE, b"t" * 32, root_version=2))
    for share in custody.shares:
        custody.hand_in(share)
    reply = msgspec.msgpack.decode(custody.ask("status").data, type=State)
    assert (reply.root_versions, reply.authorisers) == ((), ())
    custody.load(custody.blob)
    for share in custody.shares:
        custody.hand_in(share)
    reply = msgspec.msgpack.decode(custody.ask("status").data, type=State)
    assert (reply.root_versions, reply.authorisers) == ((1,), (AUTHORISER,))


def test_sealing_forgets_the_shares() -> None:
    custody = Custody(2, 2)
    custody.hand_in(custody.shares[0])
    custody.ask("seal")
    assert state(custody.hand_in(custody.shares[1])).state == "sealed"


def test_each_custodian_opens_their_own_share_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    identities = [pyrage.x25519.Identity.generate() for _ in range(3)]
    provider = QuorumProvider(2, 3)
    files = hand_out(provider, tmp_path / "shares", [str(each.to_public()) for each in identities])
    assert [file.name for file in files] == [f"share-{number}-of-3.age" for number in (1, 2, 3)]
    assert f"3 shares are in {tmp_path / 'shares'}" in capsys.readouterr().err
    for number, file in enumerate(files):
        assert file.stat().st_mode & 0o077 == 0
        words = pyrage.decrypt(file.read_bytes(), [identities[number]]).decode().split()
        assert len(words) == 33
        with pytest.raises(pyrage.DecryptError):
            pyrage.decrypt(file.read_bytes(), [identities[number - 1]])


def test_shares_need_a_custodian_each_and_a_directory_of_their_own(tmp_path: Path) -> None:
    from click import ClickException

    recipient = str(pyrage.x25519.Identity.generate().to_public())
    with pytest.raises(ClickException, match="there are 3 shares"):
        hand_out(QuorumProvider(2, 3), tmp_path / "new", [recipient, recipient, recipient])
    with pytest.raises(ClickException, match="exists"):
        hand_out(QuorumProvider(2, 3), tmp_path, [])
    assert list(tmp_path.iterdir()) == []
