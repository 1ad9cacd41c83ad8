"""A self-hosted custody server that speaks the Dfns API: keys that sign only what was countersigned."""

__version__ = "0.1.0"
