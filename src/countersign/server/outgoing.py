"""The ways out to what is not the operator's own: URLs of customers, and identity providers."""

from __future__ import annotations

from dataclasses import replace

from countersign import __version__
from countersign.outgoing import OutgoingClient, Rules
from countersign.server.settings import Settings


def customer_rules(settings: Settings) -> Rules:
    """Where URLs that customers name may lead."""
    return Rules(
        allow_http=settings.outgoing_allow_http,
        any_port=settings.outgoing_any_port,
        allowed=settings.outgoing_allowed_networks,
        denied=settings.outgoing_denied_networks,
        allowed_hosts=tuple(host.lower() for host in settings.outgoing_allowed_hosts),
    )


def provider_rules(settings: Settings) -> Rules:
    """Where identity providers may be, whom the operator named: no URL of a customer gets there by it."""
    rules = customer_rules(settings)
    own = tuple(host.lower() for host in settings.identity_provider_hosts)
    return replace(rules, any_port=True, allowed_hosts=(*rules.allowed_hosts, *own))


def outgoing_client(settings: Settings, rules: Rules, name: str) -> OutgoingClient:
    """A client under these rules; ``name`` is what it calls itself."""
    return OutgoingClient(rules, user_agent=f"{name}/{__version__}", ca_bundle=settings.outgoing_ca_bundle)
