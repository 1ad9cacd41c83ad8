"""The web console: pages on which people come in, sign, and look after passkeys; built from ``console/`` by npm."""

from countersign.console.files import Console

__all__ = ["Console"]
