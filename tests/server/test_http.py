"""Who the client is, as the peer and the proxies before it say."""

from __future__ import annotations

from unittest import mock

import pytest

from countersign.server.http import Face

_TRUSTED = ("127.0.0.1", "10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # Whoever is behind the proxies writes in front of what they add.
        ("127.0.0.1", ["203.0.113.9, 198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        ("127.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["203.0.113.9, unknown"], "127.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        # A server that listens on :: sees IPv4 peers under another name.
        ("::ffff:127.0.0.1", ["198.51.100.1, ::ffff:10.1.2.3"], "198.51.100.1"),
        ("::ffff:203.0.113.7", ["198.51.100.1"], "::ffff:203.0.113.7"),
    ],
)
def test_threat_44_only_trusted_proxies_say_who_the_client_is(peer: str, forwarded: list[str], client: str) -> None:
    face = Face(mock.Mock(), _TRUSTED, None)
    assert face._client_address(peer, [(b"x-forwarded-for", line.encode()) for line in forwarded]) == client
