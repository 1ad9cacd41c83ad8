"""The names of rights: what there is, and what older names mean today."""

from __future__ import annotations

from countersign.access import catalogue
from countersign.server.table import operations


def test_every_name_occurs_once_and_looks_like_one() -> None:
    assert len(set(catalogue.OPERATIONS)) == len(catalogue.OPERATIONS)
    for name in catalogue.OPERATIONS:
        parts = name.split(":")
        assert len(parts) >= 2, name
        assert all(part.isascii() and part.isalpha() and part[0].isupper() for part in parts), name


def test_every_right_that_an_operation_asks_for_is_in_the_catalogue() -> None:
    asked = {operation.permission for operation in operations()} - {None}
    assert asked <= set(catalogue.OPERATIONS)


def test_older_names_lead_to_current_ones_and_are_none_themselves() -> None:
    aliases = catalogue._ALIASES
    assert set(aliases.values()) <= set(catalogue.OPERATIONS)
    assert set(aliases).isdisjoint(catalogue.OPERATIONS)
    assert catalogue.resolve(aliases) == set(aliases.values())


def test_current_and_unknown_names_stay_as_they_are() -> None:
    names = {"Keys:Read", "keys:read", "*", ""}
    assert catalogue.resolve(names) == names


def test_known_are_current_and_older_names_exactly_as_written() -> None:
    assert catalogue.is_known("Keys:Read")
    assert catalogue.is_known("Wallets:GenerateSignature")
    for name in ("keys:read", "Keys:Read ", "Keys:*", "", "Ｋeys:Read"):
        assert not catalogue.is_known(name)


def test_end_users_get_only_rights_that_exist() -> None:
    assert set(catalogue.DEFAULT_END_USER_OPERATIONS) <= set(catalogue.OPERATIONS)
