"""Identity providers (OpenID Connect Core 1.0): what they say of a person, fetched from them and checked.

What decides (:mod:`id_token`, :mod:`provider_keys`, :mod:`discovery`, :mod:`authorisation`) is pure;
:class:`IdentityProviders` goes to them by the client for outgoing requests, and remembers their keys for a while.
"""

from countersign.federation.authorisation import SignIn, authorisation_url, new_sign_in, state_digest
from countersign.federation.id_token import Claimed, Expected, Identity, peek
from countersign.federation.identity_providers import Client, IdentityProviders, Unavailable

__all__ = [
    "Claimed",
    "Client",
    "Expected",
    "Identity",
    "IdentityProviders",
    "SignIn",
    "Unavailable",
    "authorisation_url",
    "new_sign_in",
    "peek",
    "state_digest",
]
