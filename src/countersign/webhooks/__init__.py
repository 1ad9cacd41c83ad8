"""Webhooks: endpoints of customers that are told of events, signed, again and again until they take them.

A domain tells of an event with :func:`emit`, inside the transaction of the change.
"""

from countersign.webhooks.events import emit, listening
from countersign.webhooks.kinds import EventKind

__all__ = ["EventKind", "emit", "listening"]
