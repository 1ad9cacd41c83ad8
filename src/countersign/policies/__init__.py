"""Policies: which activities go on, which wait for approval, which are refused, and why."""
