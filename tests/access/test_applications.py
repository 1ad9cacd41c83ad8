"""The secrets of server-signed applications."""

from __future__ import annotations

from countersign.access import server_keys
from countersign.access.applications import Application, Applications, Demands, Secret, mint_secret
from countersign.access.keyring import KeyRing, mint
from countersign.storage import Database
from countersign.world import World

NOW = 1_790_000_000_000
KEYS = bytes(range(32))
TOKEN = "to-00000-00000-0000000000000001"


async def test_threat_17_only_the_very_secret_that_was_issued_is_one(database: Database) -> None:
    clock = [NOW]
    world = World(clock=lambda: clock[0])
    await database.write(lambda: server_keys.create_all(KEYS, world))
    ring = KeyRing(database, KEYS, "issuer", world)
    await ring.load()

    def minted(
        app_id: str = "ap-1", org_id: str = "or-1", token_id: str = TOKEN, lifetime: int = 60
    ) -> tuple[str, str]:
        return mint_secret(ring, org_id=org_id, app_id=app_id, token_id=token_id, lifetime=lifetime, now_ms=NOW)

    text, digest = minted()
    live = (Secret(TOKEN, digest, NOW + 60_000),)
    application = Application("or-1", "ap-1", True, 0, 0, None, Demands(), None, live)
    known = Applications(database, ring, world)
    session, _ = mint(
        ring, org_id="or-1", user_id="", username="", token_id=TOKEN, kind="Token", lifetime=60, now_ms=NOW
    )
    for _ in range(2):  # read, and then remembered
        assert await known.secret_refusal(text, application) is None
        # Forged with the server's own key, under the id of the live one.
        assert await known.secret_refusal(minted(lifetime=61)[0], application) is not None
        assert await known.secret_refusal(minted(app_id="ap-2")[0], application) is not None
        assert await known.secret_refusal(minted(org_id="or-2")[0], application) is not None
        assert await known.secret_refusal(minted(token_id=TOKEN[:-1] + "2")[0], application) is not None
        assert await known.secret_refusal(session, application) is not None
    clock[0] += 60_000
    assert await known.secret_refusal(text, application) == "expired"
    clock[0] = NOW
    signed_with = ring.keys.active("token").kid
    await database.write(lambda: server_keys.rotate("token", KEYS, world))
    await database.write(lambda: server_keys.retire(signed_with, world))
    await ring.load()
    assert await known.secret_refusal(text, application) is not None
