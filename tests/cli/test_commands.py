"""Every command says how it is used; documents are generated from the code, and current."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from jsonschema import Draft202012Validator

from countersign.cli import main
from countersign.server.table import operations
from tests.support.commands import countersign, refusal

ROOT = Path(__file__).parents[2]


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every command, groups included."""
    yield path
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))


@pytest.mark.parametrize("path", list(commands(main)), ids=lambda path: " ".join(path) or "countersign")
def test_help_says_what_a_command_is_for(path: tuple[str, ...]) -> None:
    done = countersign(*path, "--help")
    assert done.status == 0, done.errors
    usage, _, rest = done.output.partition("\n\n")
    assert usage.startswith("Usage: countersign")
    assert rest.strip().split("\n")[0].strip().endswith((".", ",", ";")) or len(rest.split("\n")) > 2
    assert done.errors == ""


#: In a span, or at the beginning of a line or behind another command; up to the end of it.
IN_TEXT = re.compile(r"(?:`|bin/|^ *|\$ |'|-- )countersign((?: [^ `#|;)&<>'\n]+)+)", re.MULTILINE)


def stranger(words: list[str]) -> str | None:
    """The first of the words behind ``countersign`` that is no command, or no option of the command."""
    command: click.Command = main
    for place, word in enumerate(words):
        if not isinstance(command, click.Group) or word.startswith(("-", "...", "/")):
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            options = (each.strip(".,:[]") for each in words[place:] if each.startswith("--"))
            return next((each for each in options if each not in known), None)
        child = command.commands.get(word.strip(".,:"))
        if child is None:
            return word
        command = child
    return None


def test_documents_name_commands_and_options_that_exist() -> None:
    named, unknown = 0, []
    for document in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]):
        text = document.read_text(encoding="utf-8").replace("\\\n", " ")
        for found in IN_TEXT.finditer(text):
            named += 1
            if (word := stranger(found[1].split())) is not None:
                unknown.append(f"{document.name}: countersign{found[1]}: {word}")
    assert unknown == []
    assert named > 100


def find(path: tuple[str, ...]) -> click.Command:
    """The command of a path."""
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


def test_a_command_that_needs_options_shows_how_it_is_typed_and_the_example_fits() -> None:
    for path in commands(main):
        command = find(path)
        _, _, shown = (command.epilog or "").partition("Example:\n")
        needed = [each.name for each in command.params if isinstance(each, click.Option) and each.required]
        if not shown:
            assert needed == [], f"{' '.join(path)} has no example"
            continue
        assert max(len(line) for line in shown.splitlines()) <= 78, path
        words = shlex.split(shown.replace("\\\n", " "))
        assert tuple(words[: len(path) + 1]) == ("countersign", *path)
        with click.Context(command) as context:
            given, rest, _ = command.make_parser(context).parse_args(words[len(path) + 1 :])
        assert rest == []
        assert {*needed, *(each.name for each in command.params if isinstance(each, click.Argument))} <= set(given)


def test_version_and_unknown_commands() -> None:
    assert countersign("--version").output.startswith("countersign, version ")
    wrong = countersign("nonsense")
    assert wrong.status == 2
    assert "No such command 'nonsense'" in wrong.errors


def test_routes_are_those_of_the_table() -> None:
    rows = json.loads(countersign("routes", "--json").output)
    assert {(row["method"], row["path"]) for row in rows} == {(op.method, op.path) for op in operations()}
    table = countersign("routes").output.splitlines()
    assert len(table) == len(rows) + 1
    assert any(line.split()[:2] == ["POST", "/keys"] for line in table)


def test_openapi_document_holds_every_operation_with_schemas_that_are_schemas() -> None:
    document = json.loads(countersign("openapi", "--base-url", "https://keys.acme.test").output)
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": "https://keys.acme.test"}]
    listed = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    apart = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/console"), ("GET", "/console/{file}")}
    assert listed == {(op.method, op.path) for op in operations()} - apart
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    ids = [entry["operationId"] for item in document["paths"].values() for entry in item.values()]
    assert len(ids) == len(set(ids))
    assert _dangling(document) == set()


def _dangling(document: object) -> set[str]:
    """References in the document that lead nowhere."""
    found: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                found.add(node["$ref"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    def leads_somewhere(reference: str) -> bool:
        target = document
        for part in reference.removeprefix("#/").split("/"):
            if not isinstance(target, dict) or part not in target:
                return False
            target = target[part]
        return True

    walk(document)
    return {reference for reference in found if not leads_somewhere(reference)}


def test_postman_collection_holds_every_operation() -> None:
    collection = json.loads(countersign("openapi", "--postman").output)
    assert collection["info"]["schema"].endswith("/v2.1.0/collection.json")

    def requests(items: list[dict[str, object]]) -> Iterator[object]:
        for item in items:
            children = item.get("item")
            if isinstance(children, list):
                yield from requests(children)
            else:
                yield item["request"]

    assert len(list(requests(collection["item"]))) == len(operations()) - 4


def test_settings_page_is_what_the_command_prints() -> None:
    printed = countersign("settings").output
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert printed in page, "write the table in docs/settings.md anew: countersign settings"
    assert all(len(row.split(" | ")[2].strip(" |")) > 3 for row in printed.splitlines()[2:])


def test_settings_that_do_not_exist_or_do_not_fit_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "countersign.toml"
    for text, expected in (
        ('databse = "sqlite:////tmp/x.db"\n', "databse"),
        ('port = "many"\n', "port"),
        ("port = 70000\n", "port"),
        ("port = \n", "countersign.toml"),
        ('tls_certificate = "a.pem"\n', "tls_key"),
        ('processes = 2\ndatabase = "sqlite:////tmp/x.db"\n', "SQLite"),
        ('mount_prefix = "custody"\n', "mount_prefix"),
    ):
        config.write_text(text)
        assert expected in refusal(countersign("migrate", "--config", config))
    assert "COUNTERSIGN_DATABSE" in refusal(countersign("migrate", env={"COUNTERSIGN_DATABSE": "x"}))
    assert "nowhere.toml" in refusal(countersign("migrate", "--config", tmp_path / "nowhere.toml"))


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "countersign.toml"
    config.write_text(f'database = "sqlite://{tmp_path / "file.db"}"\n')
    url = f"sqlite://{tmp_path / 'environment.db'}"
    done = countersign("migrate", "--config", config, env={"COUNTERSIGN_DATABASE": url})
    assert done.status == 0, done.errors
    assert "0001_initial ... applied" in done.output
    assert (tmp_path / "environment.db").exists()
    assert not (tmp_path / "file.db").exists()


def test_migrate_brings_the_schema_up_to_date_once(database_url: str) -> None:
    done = countersign("migrate", env={"COUNTERSIGN_DATABASE": database_url})
    assert (done.status, done.output) == (0, "the schema is up to date\n")


def test_migrate_says_what_it_cannot_reach(tmp_path: Path) -> None:
    for url in ("mysql://x", "postgresql://nobody@127.0.0.1:1/none", f"sqlite://{tmp_path}/none/x.db"):
        refusal(countersign("migrate", env={"COUNTERSIGN_DATABASE": url}))
    url = f"postgresql://nobody@/none?host={tmp_path}"
    assert "nothing listens" in refusal(countersign("migrate", env={"COUNTERSIGN_DATABASE": url}))


def test_api_page_is_what_the_command_prints_and_names_every_operation() -> None:
    printed = countersign("routes", "--markdown").output
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert page.endswith(printed), "write the end of docs/api.md anew: countersign routes --markdown"
    for op in operations():
        assert f"### {op.method} {op.path}\n" in printed
        assert f"\n`{op.id}` · " in printed
