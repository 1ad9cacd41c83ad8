"""SQL of identity providers: those trusted, who is who at them, sign-ins under way, ID tokens that were used."""

from __future__ import annotations

from countersign.storage import Statement

# The same client at the same provider answers no row.
INSERT_PROVIDER = Statement(
    "insert_identity_provider",
    "INSERT INTO identity_providers (org_id, provider_id, kind, issuer, client_id, secret, state, created_at) "
    "VALUES (?, ?, ?, ?, ?, ?, 'Active', ?) ON CONFLICT DO NOTHING RETURNING provider_id",
)
LIST_PROVIDERS = Statement(
    "list_identity_providers",
    "SELECT org_id, provider_id, kind, issuer, client_id, secret, created_at FROM identity_providers "
    "WHERE state = 'Active' ORDER BY org_id, provider_id LIMIT 1000",
)
LIST_REDIRECTS = Statement(
    "list_provider_redirects",
    "SELECT redirect_uri FROM provider_redirects WHERE org_id = ? AND provider_id = ? ORDER BY redirect_uri LIMIT 1000",
)
FIND_BY_ID = Statement(
    "find_identity_provider_by_id",
    "SELECT org_id, kind, issuer, client_id, secret FROM identity_providers WHERE provider_id = ? AND state = 'Active'",
)
ARCHIVE_PROVIDER = Statement(
    "archive_identity_provider",
    "UPDATE identity_providers SET state = 'Archived', secret = NULL "
    "WHERE org_id = ? AND provider_id = ? AND state = 'Active' RETURNING provider_id",
)
SET_SECRET = Statement(
    "set_identity_provider_secret",
    "UPDATE identity_providers SET secret = ? "
    "WHERE org_id = ? AND provider_id = ? AND state = 'Active' RETURNING provider_id",
)
INSERT_REDIRECT = Statement(
    "insert_provider_redirect",
    "INSERT INTO provider_redirects (org_id, provider_id, redirect_uri) VALUES (?, ?, ?) "
    "ON CONFLICT DO NOTHING RETURNING redirect_uri",
)
DELETE_REDIRECT = Statement(
    "delete_provider_redirect",
    "DELETE FROM provider_redirects WHERE org_id = ? AND provider_id = ? AND redirect_uri = ? RETURNING redirect_uri",
)

_PROVIDER = "SELECT p.org_id, p.provider_id, p.issuer, p.client_id, p.secret FROM identity_providers p "
# Only with a redirect URI that is on its list, to the letter; the oldest where several fit.
_SSO = (
    _PROVIDER + "JOIN organisations o ON o.org_id = p.org_id AND o.is_active = 1 "
    "JOIN provider_redirects r ON r.org_id = p.org_id AND r.provider_id = p.provider_id AND r.redirect_uri = ? "
    "WHERE p.org_id = ? AND p.kind = 'Sso' AND p.state = 'Active' "
)
_OLDEST = "ORDER BY p.created_at, p.provider_id LIMIT 1"
FIND_SSO = Statement("find_sso_provider", _SSO + _OLDEST)
FIND_SSO_CLIENT = Statement("find_sso_client", _SSO + "AND p.client_id = ? " + _OLDEST)
FIRST_SSO_CLIENT = Statement(
    "first_sso_client",
    "SELECT p.client_id FROM identity_providers p WHERE p.org_id = ? AND p.kind = 'Sso' AND p.state = 'Active' "
    "ORDER BY p.created_at, p.provider_id LIMIT 1",
)
# Two rows say that the organisation has to be named.
_SOCIAL = _PROVIDER + "WHERE p.issuer = ? AND p.client_id = ? AND p.kind = 'Social' AND p.state = 'Active' "
FIND_SOCIAL = Statement("find_social_provider", _SOCIAL + "LIMIT 2")
FIND_SOCIAL_OF = Statement("find_social_provider_of", _SOCIAL + "AND p.org_id = ?")
LIST_SOCIAL_CLIENTS = Statement(
    "list_social_clients",
    "SELECT client_id FROM identity_providers "
    "WHERE org_id = ? AND issuer = ? AND kind = 'Social' AND state = 'Active' ORDER BY client_id LIMIT 100",
)
# On PostgreSQL whoever would end the trust waits for those who are coming in, and then ends what they were given.
_IS_ACTIVE = (
    "SELECT 1 FROM identity_providers p JOIN organisations o ON o.org_id = p.org_id "
    "WHERE p.org_id = ? AND p.provider_id = ? AND p.state = 'Active' AND o.is_active = 1"
)
IS_ACTIVE = Statement("is_identity_provider_active", _IS_ACTIVE, postgresql=_IS_ACTIVE + " FOR SHARE OF p")
# Changes nothing: whoever exchanges a session meanwhile, or comes in, is waited for.
_HELD_USERS = (
    "SELECT COUNT(*) FROM (SELECT 1 FROM users WHERE org_id = ? AND user_id IN "
    "(SELECT user_id FROM federated_identities WHERE org_id = ? AND issuer = ?){held}) AS held"
)
HOLD_USERS_OF_ISSUER = Statement(
    "hold_users_of_issuer",
    _HELD_USERS.format(held=""),
    postgresql=_HELD_USERS.format(held=" ORDER BY user_id FOR UPDATE"),
)
# What an identity of an issuer opened, with sessions of this name, and began.
END_SESSIONS_OF_ISSUER = Statement(
    "end_sessions_of_issuer",
    "UPDATE tokens SET state = 'Archived', epoch = epoch + 1 "
    "WHERE org_id = ? AND kind = 'Token' AND state = 'Active' AND name = ? "
    "AND user_id IN (SELECT user_id FROM federated_identities WHERE org_id = ? AND issuer = ?)",
)
END_REGISTRATIONS_OF_ISSUER = Statement(
    "end_registrations_of_issuer",
    "DELETE FROM registrations WHERE org_id = ? "
    "AND user_id IN (SELECT user_id FROM federated_identities WHERE org_id = ? AND issuer = ?)",
)

INSERT_SIGN_IN = Statement(
    "insert_sign_in",
    "INSERT INTO sign_ins (state_hash, org_id, provider_id, flow, redirect_uri, sealed, expires_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)",
)
# Whoever deletes the row completes the sign-in, and nobody else.
TAKE_SIGN_IN = Statement(
    "take_sign_in",
    "DELETE FROM sign_ins WHERE state_hash = ? AND flow = ? RETURNING org_id, provider_id, redirect_uri, sealed, "
    "expires_at",
)
FORGET_SIGN_INS = Statement("forget_sign_ins", "DELETE FROM sign_ins WHERE expires_at < ?")
# Which may send people back to this URI no longer.
READ_PROVIDER = Statement(
    "read_identity_provider",
    _PROVIDER
    + "JOIN provider_redirects r ON r.org_id = p.org_id AND r.provider_id = p.provider_id AND r.redirect_uri = ? "
    "WHERE p.org_id = ? AND p.provider_id = ? AND p.state = 'Active'",
)

USE_ID_TOKEN = Statement(
    "use_id_token",
    "INSERT INTO used_id_tokens (digest, expires_at) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING RETURNING digest",
)
FORGET_ID_TOKENS = Statement("forget_id_tokens", "DELETE FROM used_id_tokens WHERE expires_at < ?")

# As above: whoever would end the link waits for who comes in by it.
_FIND_LINK = "SELECT user_id FROM federated_identities WHERE org_id = ? AND issuer = ? AND subject = ?"
FIND_LINK = Statement("find_federated_identity", _FIND_LINK, postgresql=_FIND_LINK + " FOR SHARE")
# No row where the identity is somebody's already, or the person has another one.
LINK = Statement(
    "link_federated_identity",
    "INSERT INTO federated_identities (org_id, issuer, subject, user_id, linked_at) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING RETURNING user_id",
)
UNLINK = Statement(
    "unlink_federated_identity",
    "DELETE FROM federated_identities WHERE org_id = ? AND user_id = ? RETURNING issuer, subject",
)
