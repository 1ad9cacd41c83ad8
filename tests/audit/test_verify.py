"""What an auditor finds in an export, offline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from coincurve import PrivateKey

from countersign.audit import lines
from countersign.audit.checkpoint import Checkpoint, Ed25519CheckpointKey, parse_note
from countersign.audit.entry import Outcome, encode
from countersign.audit.merkle import Builder, leaf_hash
from countersign.audit.report import LISTED, Broken, Finding, Sound, Unreadable
from countersign.audit.verify import read_saved, verify_file
from countersign.encoding import base64url
from tests.audit.logs import INSTALLATION, KEY, KEY_ID, ORG, Log, Person, changed, moved, resealed, with_trailer, write

SIGNATURES = f"/keys/{KEY_ID}/signatures"
HASH_PAYLOAD = f'{{"hash":"{"ab" * 32}","kind":"Hash"}}'


def busy_log(actions: int = 30) -> Log:
    """A service account is created by consent; both users act; a key signs."""
    log = Log()
    robot = Person(log.world, b"robot", "robot")
    payload = json.dumps({"name": "robot", "publicKey": robot.pem}, sort_keys=True, separators=(",", ":"))
    log.action("POST", "/auth/service-accounts", payload, enrolled=(robot.enrolled(),))
    for index in range(actions):
        log.action(payload=f'{{"name":"n{index}"}}', by=robot if index % 2 else None)
    log.signature(log.action("POST", SIGNATURES, HASH_PAYLOAD, by=robot))
    return log


@pytest.fixture
def log() -> Log:
    return busy_log()


@pytest.fixture
def check(tmp_path: Path, log: Log) -> Callable[..., Finding]:
    def run(body: list[bytes], trust: str | None = log.fingerprint, **options: Any) -> Finding:
        return verify_file(write(tmp_path / "export.jsonl", body), trusted_fingerprint=trust, **options)

    return run


def line_of(body: list[bytes], position: int) -> int:
    """Index of the line of the entry at ``position``."""
    return next(i for i, line in enumerate(body) if line.startswith(b'{"type":"entry","position":%d,' % position))


def saved_of(finding: Finding) -> lines.SavedCheckpoint:
    assert isinstance(finding, Sound)
    return read_saved(msgspec.json.encode(finding.last))


def test_an_intact_log_is_sound(log: Log, check: Callable[..., Finding]) -> None:
    finding = check(log.export())
    assert isinstance(finding, Sound), finding
    assert finding.trusted
    assert finding.fingerprint == log.fingerprint
    summary = finding.summary
    assert (summary.entries, summary.actions, summary.signatures, summary.system) == (34, 32, 1, 1)
    assert summary.checkpoints == 4
    assert summary.unshown_enrolments == []
    assert [(item.event, item.enrolled) for item in summary.unasserted] == [
        ("Initialised", (log.admin.credential_uuid,))
    ]


def test_what_lets_somebody_in_is_listed_behind_any_number_of_entries_that_do_not(
    log: Log, check: Callable[..., Finding]
) -> None:
    for _ in range(LISTED + 10):
        log.system("SecurityEvent")
    for event in ("BreakGlass", "RegistrationCodeReissued", "NobodyKnowsThis"):
        log.system(event)
    quiet = Person(log.world, b"quiet", "robot")
    log.system("SecurityEvent", enrolled=(quiet.enrolled(),))
    finding = check(log.export())
    assert isinstance(finding, Sound), finding
    weighty = [(item.event, item.enrolled) for item in finding.summary.unasserted if item.weighty]
    assert weighty == [
        ("Initialised", (log.admin.credential_uuid,)),
        ("BreakGlass", ()),
        ("RegistrationCodeReissued", ()),
        ("NobodyKnowsThis", ()),
        ("SecurityEvent", (quiet.credential_uuid,)),
    ]
    assert len(finding.summary.unasserted) == LISTED + len(weighty)
    assert finding.summary.system == LISTED + 10 + len(weighty)


def test_without_a_trust_root_it_is_self_consistent_only(log: Log, check: Callable[..., Finding]) -> None:
    finding = check(log.export(), trust=None)
    assert isinstance(finding, Sound)
    assert not finding.trusted


def test_a_redacted_export_stays_verifiable(log: Log, check: Callable[..., Finding]) -> None:
    body = log.export(redact=True)
    assert not any(b"hash" in line and b'"payload":"' in line for line in body)
    finding = check(body)
    assert isinstance(finding, Sound)
    assert finding.summary.redacted_payloads == 32
    # Without its payload the enrolling action can't show which key it enrolled.
    assert len(finding.summary.unshown_enrolments) == 1


@pytest.mark.parametrize("position", [0, 1, 17, 33])
def test_a_changed_byte_is_found_and_named(log: Log, check: Callable[..., Finding], position: int) -> None:
    body = log.export()
    index = line_of(body, position)
    entry_id = json.loads(json.loads(body[index])["entry"])["id"]
    body[index] = body[index].replace(b'\\"datePerformed\\":\\"2', b'\\"datePerformed\\":\\"3')
    finding = check(body)
    assert isinstance(finding, Broken)
    assert (finding.position, finding.entry_id, finding.line) == (position, entry_id, index + 1)
    assert "changed" in finding.reason


def test_a_changed_payload_is_named_with_its_entry(log: Log, check: Callable[..., Finding]) -> None:
    body = log.export()
    index = next(i for i, line in enumerate(body) if b'\\"name\\":\\"n7\\"' in line)
    entry_id = json.loads(json.loads(body[index])["entry"])["id"]
    body[index] = body[index].replace(b'\\"name\\":\\"n7\\"', b'\\"name\\":\\"n6\\"')
    finding = check(body)
    assert isinstance(finding, Broken)
    assert (finding.entry_id, finding.line) == (entry_id, index + 1)


def test_any_changed_byte_of_the_file_is_found(log: Log, check: Callable[..., Finding]) -> None:
    body = log.export()
    whole = b"".join(body)
    for place in range(0, len(whole), 997):
        flipped = bytes([whole[place] ^ 1])
        finding = check([whole[:place], flipped, whole[place + 1 :]])
        assert not isinstance(finding, Sound), place


def test_threat_53_a_removed_entry_is_found(log: Log, check: Callable[..., Finding]) -> None:
    body = log.export()
    del body[line_of(body, 12)]
    finding = check(resealed(body))
    assert isinstance(finding, Broken)
    assert finding.position == 12
    assert "removed" in finding.reason


def test_a_removed_entry_is_found_after_renumbering(log: Log, check: Callable[..., Finding]) -> None:
    body = log.export()
    index = line_of(body, 12)
    del body[index]
    position = 12
    for at in range(index, len(body)):
        if body[at].startswith(b'{"type":"entry"'):
            body[at] = moved(body[at], position)
            position += 1
    finding = check(resealed(body))
    assert isinstance(finding, Broken)
    assert "a checkpoint over 20 entries stands behind 19" in finding.reason


def test_the_last_entries_cannot_be_cut_off_quietly(log: Log, check: Callable[..., Finding]) -> None:
    body = log.export()
    shorter = resealed(body[: line_of(body, 32)])
    finding = check(shorter)
    assert isinstance(finding, Broken)
    assert finding.position == 30
    assert "no checkpoint covers" in finding.reason


def test_two_swapped_entries_are_found(log: Log, check: Callable[..., Finding]) -> None:
    body = log.export()
    one, two = line_of(body, 12), line_of(body, 15)
    body[one], body[two] = body[two], body[one]
    finding = check(resealed(body))
    assert isinstance(finding, Broken)
    assert finding.position == 12


def test_two_swapped_entries_are_found_after_renumbering(log: Log, check: Callable[..., Finding]) -> None:
    body = log.export()
    one, two = line_of(body, 12), line_of(body, 15)
    body[one], body[two] = moved(body[two], 12), moved(body[one], 15)
    finding = check(resealed(body))
    assert isinstance(finding, Broken)
    assert finding.position == 13
    assert "moved or exchanged" in finding.reason


def test_a_changed_and_rehashed_entry_is_named_by_its_evidence(log: Log, check: Callable[..., Finding]) -> None:
    body = log.export()
    index = line_of(body, 14)
    body[index] = changed(body[index], lambda entry: entry.update(path="/keys/key-other"), rehash=True)
    finding = check(resealed(body))
    assert isinstance(finding, Broken)
    assert finding.position == 14
    assert "digest" in finding.reason


def test_a_changed_and_rehashed_entry_without_evidence_is_bounded_by_its_checkpoints(
    log: Log, check: Callable[..., Finding]
) -> None:
    body = log.export()
    body[1] = changed(body[1], lambda entry: entry.update(event="Nothing"), rehash=True)
    finding = check(resealed(body))
    assert isinstance(finding, Broken)
    assert finding.position == 0
    assert "one of the entries 0 to 9" in finding.reason


def rewritten(log: Log, key: Ed25519CheckpointKey) -> list[bytes]:
    """A forger's export: entry 14 is gone and every checkpoint is made anew under ``key``."""
    del log.entries[14]
    log.key = key
    log._key_from = [(0, key)]
    return log.export()


def test_checkpoints_forged_under_another_key_are_refused(log: Log, check: Callable[..., Finding]) -> None:
    finding = check(rewritten(log, Ed25519CheckpointKey("sk-1", bytes(32))))
    assert isinstance(finding, Broken)
    assert "signature of the checkpoint" in finding.reason


def test_a_log_under_a_foreign_key_is_refused(log: Log, check: Callable[..., Finding]) -> None:
    trust = log.fingerprint
    foreign = Ed25519CheckpointKey("sk-1", bytes(32))
    log.published[0] = lines.ExportedKey("sk-1", base64url.encode(foreign.public_key), 0, None)
    body = rewritten(log, foreign)
    finding = check(body, trust=trust)
    assert isinstance(finding, Broken)
    assert "not signed under the trusted key" in finding.reason
    assert isinstance(check(body, trust=None), Sound)


def test_a_changed_checkpoint_is_refused(log: Log, check: Callable[..., Finding]) -> None:
    body = log.export()
    index = next(i for i, line in enumerate(body) if line.startswith(b'{"type":"checkpoint"'))
    root = json.loads(body[index])["note"].split("\n")[4]
    body[index] = body[index].replace(root.encode(), (root[:9].swapcase() + root[9:]).encode())
    finding = check(resealed(body))
    assert isinstance(finding, Broken)
    assert "signature of the checkpoint over 10 entries" in finding.reason


def test_the_server_itself_cannot_take_back_what_a_saved_checkpoint_covers(
    log: Log, check: Callable[..., Finding]
) -> None:
    saved = saved_of(check(log.export()))
    log.action()
    assert isinstance(check(log.export(), saved=saved), Sound)
    finding = check(rewritten(log, log.key), saved=saved)
    assert isinstance(finding, Broken)
    assert "saved checkpoint" in finding.reason


def test_a_log_rolled_back_behind_a_saved_checkpoint_is_refused(log: Log, check: Callable[..., Finding]) -> None:
    saved = saved_of(check(log.export()))
    del log.entries[-3:]
    body = log.export()
    assert isinstance(check(body), Sound)
    finding = check(body, saved=saved)
    assert isinstance(finding, Broken)
    assert "rolled back" in finding.reason


def test_a_saved_checkpoint_of_another_organisation_is_refused(log: Log, check: Callable[..., Finding]) -> None:
    saved = saved_of(check(log.export()))
    note = saved.note.replace("or-0", "or-1")
    finding = check(log.export(), saved=msgspec.structs.replace(saved, note=note))
    assert isinstance(finding, Broken)
    assert "another installation or organisation" in finding.reason


def test_a_damaged_saved_checkpoint_is_refused(log: Log, check: Callable[..., Finding]) -> None:
    saved = saved_of(check(log.export()))
    for broken in (
        msgspec.structs.replace(saved, note=saved.note.replace("\n34\n", "\n35\n")),
        msgspec.structs.replace(saved, format="other"),
        msgspec.structs.replace(saved, note="nonsense"),
    ):
        with pytest.raises(ValueError, match="checkpoint"):
            read_saved(msgspec.json.encode(broken))
    with pytest.raises(ValueError, match="not a saved checkpoint"):
        read_saved(b"{}")


def test_trust_in_the_old_key_carries_over_to_a_rotated_one(log: Log, check: Callable[..., Finding]) -> None:
    log.rotate_checkpoint_key()
    log.action()
    log.rotate_checkpoint_key()
    log.action()
    finding = check(log.export())
    assert isinstance(finding, Sound)
    assert finding.fingerprint != log.fingerprint
    # The newest key vouches for the whole tree, so it alone is a trust root too.
    assert isinstance(check(log.export(), trust=finding.fingerprint), Sound)


def test_a_key_that_nobody_handed_over_to_is_not_trusted(log: Log, check: Callable[..., Finding]) -> None:
    log.rotate_checkpoint_key(signed_by=Ed25519CheckpointKey("sk-1", bytes(32)))
    log.action()
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert "handed over" in finding.reason


def test_the_unsequenced_tail_is_checked_and_marked(log: Log, check: Callable[..., Finding]) -> None:
    finding = check(log.export(tail=4))
    assert isinstance(finding, Sound)
    assert (finding.summary.entries, finding.summary.unsequenced) == (30, 4)
    body = log.export(tail=4)
    index = next(i for i, line in enumerate(body) if line.startswith(b'{"type":"unsequenced"'))
    body[index] = body[index].replace(b'\\"method\\":\\"PUT', b'\\"method\\":\\"PIT')
    finding = check(resealed(body))
    assert isinstance(finding, Broken)
    assert (finding.position, finding.line) == (None, index + 1)


def test_an_entry_is_not_hidden_in_the_tail_of_a_log_without_checkpoints(
    log: Log, check: Callable[..., Finding]
) -> None:
    finding = check(log.export(tail=len(log.entries)))
    assert isinstance(finding, Broken)
    assert "no checkpoint" in finding.reason


LIES: list[tuple[str, dict[str, Any], str]] = [
    ("another user", {"user_id": "us-00000-00000-0000000000000009"}, "digest"),
    ("another path", {"path": "/keys/other"}, "digest"),
    ("another method", {"method": "DELETE"}, "digest"),
    ("another payload", {"payload_sha256": "00" * 32}, "payload"),
    ("another digest", {"digest": "A" * 43}, "digest"),
    ("a query that nobody signed", {"actual_query": "?force=true"}, "query"),
    ("a later time than the challenge allows", {"date_signed": "2027-01-01T00:00:00.000Z"}, "expired"),
    ("a second id for one consent", {"id": "uj-00000-00000-0000000000000009"}, "id"),
]


@pytest.mark.parametrize(("name", "members", "reason"), LIES, ids=[lie[0] for lie in LIES])
def test_the_server_cannot_claim_what_nobody_consented_to(
    check: Callable[..., Finding], log: Log, name: str, members: dict[str, Any], reason: str
) -> None:
    position = len(log.entries)
    entry = log.action(change=lambda action: action.update(members))
    log.action()
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert (finding.position, finding.entry_id) == (position, entry.id)
    assert reason in finding.reason


def test_a_forged_signature_of_a_user_is_found(check: Callable[..., Finding], log: Log) -> None:
    def forge(members: dict[str, Any]) -> None:
        members["evidence"] = msgspec.structs.replace(members["evidence"], signature=base64url.encode(bytes(64)))

    position = len(log.entries)
    log.action(change=forge)
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert finding.position == position
    assert "signature does not hold" in finding.reason


def test_a_consent_used_twice_is_found(check: Callable[..., Finding], log: Log) -> None:
    log.entries.append(log.entries[5])
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert finding.position == len(log.entries) - 1
    assert "twice" in finding.reason


def test_a_credential_that_was_never_enrolled_is_found(check: Callable[..., Finding], log: Log) -> None:
    stranger = Person(log.world, b"stranger")
    position = len(log.entries)
    log.action(by=stranger)
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert finding.position == position
    assert "never enrolled" in finding.reason


def test_a_credential_with_another_key_than_the_enrolled_is_found(check: Callable[..., Finding], log: Log) -> None:
    stranger = Person(log.world, b"stranger")
    stranger.credential_uuid, stranger.user_id = log.admin.credential_uuid, log.admin.user_id
    log.action(by=stranger)
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert "not the one enrolled" in finding.reason


def test_a_credential_enrolled_again_with_another_key_is_found(check: Callable[..., Finding], log: Log) -> None:
    stranger = Person(log.world, b"stranger")
    stranger.credential_uuid = log.admin.credential_uuid
    log.system("BreakGlass", enrolled=(stranger.enrolled(),))
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert "a second time" in finding.reason


def test_an_enrolment_that_the_payload_does_not_show_is_listed(check: Callable[..., Finding], log: Log) -> None:
    stranger = Person(log.world, b"stranger")
    log.action(enrolled=(stranger.enrolled(),))
    finding = check(log.export())
    assert isinstance(finding, Sound)
    assert finding.summary.unshown_enrolments == [stranger.credential_uuid]


@pytest.mark.parametrize(
    "change",
    [{"key_id": "key-2"}, {"payload_sha256": "11" * 32}, {"action_id": "uj-00000-00000-0000000000000000"}],
    ids=["another key", "another payload", "no action"],
)
def test_a_key_that_signed_without_consent_is_found(
    check: Callable[..., Finding], log: Log, change: dict[str, str]
) -> None:
    position = len(log.entries) + 1
    log.signature(log.action("POST", SIGNATURES, HASH_PAYLOAD), **change)
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert finding.position == position
    assert "without a consent" in finding.reason


OTHER_KEY = PrivateKey(bytes(range(2, 34)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"signature": "00" * 64}, "not one of what was consented to"),
        (
            {"signature": KEY.sign_recoverable(bytes.fromhex("cd" * 32), hasher=None)[:64].hex()},
            "not one of what was consented to",
        ),
        ({"public_key": OTHER_KEY.public_key.format().hex(), "key_id": KEY_ID}, "not one of what was consented to"),
        ({"taproot_tweak": ""}, "tweaked otherwise"),
        ({"scheme": "EdDSA"}, "no signature or key of the scheme"),
        ({"signature": "zz"}, "cannot be read"),
    ],
    ids=["nothing", "another digest", "another key", "tweak", "scheme", "no hex"],
)
def test_a_key_that_signed_something_else_is_found(
    check: Callable[..., Finding], change: dict[str, str], reason: str
) -> None:
    """The consent is there, and so is a signature; it is not the one that was asked for."""
    log = Log()
    log.signature(log.action("POST", SIGNATURES, HASH_PAYLOAD), **change)
    finding = check(log.export(), trust=log.fingerprint)
    assert isinstance(finding, Broken)
    assert finding.position == 2
    assert reason in finding.reason
    # Redacted, nobody can see what was asked for.
    assert isinstance(check(log.export(redact=True), trust=log.fingerprint), Sound)


def test_a_key_keeps_its_public_key(check: Callable[..., Finding], log: Log) -> None:
    action = log.action("POST", SIGNATURES, HASH_PAYLOAD)
    made = OTHER_KEY.sign_recoverable(bytes.fromhex("ab" * 32), hasher=None)[:64]
    log.signature(action, public_key=OTHER_KEY.public_key.format().hex(), signature=made.hex())
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert "another public key" in finding.reason


def test_a_signature_that_was_refused_rests_on_no_consent(check: Callable[..., Finding], log: Log) -> None:
    refused = {"response": Outcome(status=404, code="NOT_FOUND")}
    log.signature(log.action("POST", SIGNATURES, HASH_PAYLOAD, change=lambda members: members.update(refused)))
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert "without a consent" in finding.reason


def test_one_consent_covers_one_signature(check: Callable[..., Finding], log: Log) -> None:
    action = log.action("POST", SIGNATURES, HASH_PAYLOAD)
    log.signature(action)
    log.signature(action)
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert "without a consent" in finding.reason


def test_a_signature_may_stand_before_its_action(check: Callable[..., Finding], log: Log) -> None:
    action = log.action("POST", SIGNATURES, HASH_PAYLOAD)
    log.signature(action, signature=None, failure="signer unavailable")
    log.entries[-2:] = reversed(log.entries[-2:])
    finding = check(log.export())
    assert isinstance(finding, Sound)
    assert finding.summary.failed_signatures == 1


def test_a_payload_that_was_not_consented_to_is_found(check: Callable[..., Finding], log: Log) -> None:
    body = log.export()
    index = line_of(body, 9)
    body[index] = json.dumps(json.loads(body[index]) | {"payload": "{}"}, separators=(",", ":")).encode() + b"\n"
    finding = check(resealed(body))
    assert isinstance(finding, Broken)
    assert finding.position == 9
    assert "payload" in finding.reason


@pytest.mark.parametrize("kept", [1, 5, -1])
def test_a_file_that_is_cut_off_is_broken(check: Callable[..., Finding], log: Log, kept: int) -> None:
    finding = check(log.export()[:kept])
    assert isinstance(finding, Broken)
    assert "cut off" in finding.reason
    finding = check([b"".join(log.export()[: kept + 1 or None])[:-5]])
    assert isinstance(finding, Broken)


@pytest.mark.parametrize(
    "body",
    [[], [b"\x00\xff\n"], [b"{}\n"], [b'{"type":"trailer","entries":0,"checkpoints":0,"unsequenced":0,"sha256":""}\n']],
    ids=["empty", "binary", "other JSON", "no header"],
)
def test_what_is_no_export_is_unreadable(check: Callable[..., Finding], body: list[bytes]) -> None:
    assert isinstance(check(body), Unreadable)


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    assert isinstance(verify_file(tmp_path / "missing", trusted_fingerprint=None), Unreadable)


def test_entries_of_another_organisation_are_refused(check: Callable[..., Finding], log: Log) -> None:
    position = len(log.entries)
    log.action(change=lambda members: members.update(org_id="or-other"))
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert finding.position == position


def test_an_entry_of_another_log_is_refused_also_where_nobody_signed_it(check: Callable[..., Finding]) -> None:
    for other in ({"org_id": "or-other"}, {"installation_id": "in-other"}):
        log = Log()
        entry = log.system("OriginRemoved")
        log.entries[-1] = encode(msgspec.structs.replace(entry, **other)), None
        finding = check(log.export(), log.fingerprint)
        assert isinstance(finding, Broken)
        assert finding.reason == "an entry of another installation or organisation"


def test_a_checkpoint_of_another_log_vouches_for_none(log: Log, check: Callable[..., Finding]) -> None:
    """One key signs the checkpoints of every organisation."""
    body = log.export()
    for other in (("in-other", ORG), (INSTALLATION, "or-other")):
        forged = []
        for line in body:
            read = lines.decode_line(line)
            if isinstance(read, lines.CheckpointLine):
                real = parse_note(read.note)
                note = Checkpoint(*other, real.size, real.root, real.created_at).note()
                signature = base64url.encode(log.key.sign(note.encode()))
                line = lines.encode_line(lines.CheckpointLine(note, read.kid, signature))
            forged.append(line)
        finding = check(resealed(forged))
        assert isinstance(finding, Broken)
        assert finding.reason == "a checkpoint of another installation or organisation"


def test_a_header_or_trailer_that_contradicts_itself_is_refused(log: Log, check: Callable[..., Finding]) -> None:
    body = log.export()
    for counts in ((35, 4, 0), (34, 5, 0), (34, 4, 1)):
        finding = check(with_trailer(body[:-1], *counts))
        assert isinstance(finding, Broken)
        assert finding.reason == "the trailer counts other entries than the file holds"
    thief = Ed25519CheckpointKey("sk-1", bytes(32))
    log.published.append(lines.ExportedKey("sk-1", base64url.encode(thief.public_key), 1, None))
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert finding.reason == "the header names a checkpoint key twice"


def test_entries_of_a_newer_version_are_not_called_good(check: Callable[..., Finding], log: Log) -> None:
    log.action(change=lambda members: members.update(version=2))
    finding = check(log.export())
    assert isinstance(finding, Broken)
    assert "version 2" in finding.reason


def test_lines_that_do_not_belong_are_refused(check: Callable[..., Finding], log: Log) -> None:
    body = log.export()
    for extra in (body[0], b'{"type":"note"}\n', b"\n", body[-1]):
        assert isinstance(check([*body[:5], extra, *body[5:]]), Broken)
    assert isinstance(check([*body, body[-1]]), Broken)


def test_many_entries_are_checked_on_all_processors(tmp_path: Path) -> None:
    log = busy_log(6000)
    body = log.export(batch=256)
    path = write(tmp_path / "export.jsonl", body)
    seen: list[tuple[str, int, int]] = []
    finding = verify_file(
        path,
        trusted_fingerprint=log.fingerprint,
        processes=2,
        progress=lambda stage, done, total: seen.append((stage, done, total)),
    )
    assert isinstance(finding, Sound), finding
    assert finding.summary.actions == 6002
    assert {stage for stage, done, total in seen if done == total} == {"structure", "consent"}

    def forge(members: dict[str, Any]) -> None:
        members["evidence"] = msgspec.structs.replace(members["evidence"], signature=base64url.encode(bytes(64)))

    log.action(change=forge)
    log.action(change=forge)
    write(path, log.export(batch=256))
    finding = verify_file(path, trusted_fingerprint=log.fingerprint, processes=2)
    assert isinstance(finding, Broken)
    assert finding.position == 6004


def test_damage_in_a_hundred_thousand_entries_is_found(tmp_path: Path) -> None:
    log = busy_log(100_000 - 4)
    body = log.export(batch=256)
    log.entries.clear()
    path = tmp_path / "export.jsonl"
    one, two = line_of(body, 99_000), line_of(body, 99_100)

    damaged = list(body)
    damaged[one] = damaged[one].replace(b'\\"n', b'\\"m', 1).replace(b"PUT", b"PIT", 1)
    finding = verify_file(write(path, damaged), trusted_fingerprint=log.fingerprint)
    assert isinstance(finding, Broken)
    assert finding.position == 99_000

    finding = verify_file(write(path, [*body[:one], *body[one + 1 :]]), trusted_fingerprint=log.fingerprint)
    assert isinstance(finding, Broken)
    assert finding.position == 99_000

    swapped = list(body)
    swapped[one], swapped[two] = body[two], body[one]
    finding = verify_file(write(path, swapped), trusted_fingerprint=log.fingerprint)
    assert isinstance(finding, Broken)
    assert finding.position == 99_000


def test_roots_are_recomputed_from_the_exact_text() -> None:
    log = busy_log(3)
    tree = Builder()
    for data, _ in log.entries:
        tree.append(leaf_hash(data))
    note = json.loads(log.export()[-2])["note"]
    assert note.split("\n")[3] == str(len(log.entries))
    assert tree.size == len(log.entries)
