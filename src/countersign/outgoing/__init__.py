"""Requests to URLs that customers name: to public addresses only, however the name is written or resolves.

    client = OutgoingClient(Rules(), user_agent="Countersign/1.0")
    answer = await client.post("https://example.com/hook", body, headers)

One client for every such URL, so that none of them reaches what lies inside the operator's network.
"""

from countersign.outgoing.addresses import Networks, Refusal, check_address
from countersign.outgoing.client import Answer, OutgoingClient, Unreached
from countersign.outgoing.rules import Rules, check_url, host_of

__all__ = [
    "Answer",
    "Networks",
    "OutgoingClient",
    "Refusal",
    "Rules",
    "Unreached",
    "check_address",
    "check_url",
    "host_of",
]
