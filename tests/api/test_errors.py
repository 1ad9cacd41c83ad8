from __future__ import annotations

from pathlib import Path

import pytest

from countersign.api.errors import CATALOGUE, ApiError, conflict, not_found, reference, validation

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"


def test_the_documented_catalogue_is_that_of_the_code() -> None:
    assert DOCUMENT.read_text(encoding="utf-8").endswith(reference())


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_error_says_what_to_do(code: str) -> None:
    kind = CATALOGUE[code]
    assert 400 <= kind.status < 600
    assert kind.message
    assert kind.remedy.endswith(".")


def test_a_missing_object_gives_no_hint_that_would_tell_it_from_a_foreign_one() -> None:
    assert not_found("key").details == {}


def test_an_internal_fault_says_nothing() -> None:
    error = ApiError("INTERNAL")
    assert (error.status, error.message, error.details) == (500, "Internal Server Error", {})


def test_a_validation_error_names_the_member() -> None:
    error = validation("name", "Expected `str`, got `int`")
    assert error.message == "Bad Request: name: Expected `str`, got `int`"
    assert error.details == {"issues": [{"path": "name", "message": "Expected `str`, got `int`"}]}


def test_a_conflict_names_what_stands_in_the_way() -> None:
    assert conflict("Conflict", entity_id="us-1", external_id="a").details == {
        "duplicate": {"id": "us-1", "externalId": "a"}
    }
