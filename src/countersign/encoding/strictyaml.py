"""YAML without surprises: the values of JSON, each with one spelling, numbers as they were written.

The usual reader turns ``0xabc`` into a number, ``no`` into false and ``0.1`` into a binary fraction: an address, a
name and a limit that nobody wrote. Here a plain text is ``true``, ``false``, ``null``, a decimal number, or text.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import yaml

MAX_DEPTH = 64
_MAX_DIGITS = 64


class BadYaml(ValueError):
    """A text that can't be read; the message says where and why."""


def _composed(loader: Any, parent: Any, index: Any) -> Any:
    """The next node, unless it lies too deep: what the library does with each level takes longer than with the last."""
    loader.level = getattr(loader, "level", -1) + 1
    if loader.level >= MAX_DEPTH:
        raise _too_deep()
    node = yaml.SafeLoader.compose_node(loader, parent, index)
    loader.level -= 1
    return node


def _too_deep() -> BadYaml:
    return BadYaml(f"nested deeper than {MAX_DEPTH} levels")


# The library's reader without anything that it takes a text or a tag for: that is said here alone.
_Loader: Any = type(
    "_Loader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {}, "yaml_constructors": {}, "compose_node": _composed}
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:null|~|)\Z"), ["n", "~", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"-?(?:0|[1-9][0-9]*)\Z", re.ASCII), list("-0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,2})?\Z", re.ASCII),
    list("-0123456789"),
)


def _number(loader: Any, node: yaml.ScalarNode) -> int | Decimal:
    text = str(loader.construct_scalar(node))
    if len(text) > _MAX_DIGITS:
        raise BadYaml(f"line {node.start_mark.line + 1}: a number has more than {_MAX_DIGITS} digits; quote it")
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else number


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise BadYaml(f"line {key_node.start_mark.line + 1}: a name has to be a text; quote it")
        if key in result:
            raise BadYaml(f"line {key_node.start_mark.line + 1}: {key} occurs twice")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


def _unknown(loader: Any, node: yaml.Node) -> None:
    raise BadYaml(f"line {node.start_mark.line + 1}: the tag {node.tag} is not read here")


_Loader.add_constructor(None, _unknown)
_Loader.add_constructor("tag:yaml.org,2002:str", yaml.SafeLoader.construct_yaml_str)
_Loader.add_constructor("tag:yaml.org,2002:seq", yaml.SafeLoader.construct_yaml_seq)
_Loader.add_constructor("tag:yaml.org,2002:null", yaml.SafeLoader.construct_yaml_null)
_Loader.add_constructor("tag:yaml.org,2002:bool", yaml.SafeLoader.construct_yaml_bool)
_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse(text: str) -> Any:
    """The value of one YAML document (JSON is YAML too); raises ``BadYaml``.

    Refused: names that occur twice or are no text, tags and anchors of other types, several documents, nesting beyond
    64 levels. Numbers come as ``int`` or exact ``Decimal``.
    """
    try:
        return _parse(_Loader(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f"line {mark.line + 1}: "
        raise BadYaml(f"{where}{error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise BadYaml(f"it holds a character that is not allowed: {error.reason}") from None


def _parse(loader: Any) -> Any:
    node = loader.get_single_node()
    if node is None:
        return None
    _check_depth(node)
    return loader.construct_document(node)


def _check_depth(node: yaml.Node) -> None:
    level, depth, seen = [node], 0, 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        inner: list[yaml.Node] = []
        for one in level:
            if isinstance(one, yaml.MappingNode):
                inner.extend(part for pair in one.value for part in pair)
            elif isinstance(one, yaml.SequenceNode):
                inner.extend(one.value)
        seen += len(inner)
        if seen > 1_000_000:
            raise BadYaml("it holds more than a million values, counting what aliases repeat")
        level = inner


# A text that nobody could take for anything else is written plainly, where YAML lets it; any other in quotes.
_PLAIN = re.compile(
    r"(?!(?:true|false|null|yes|no|on|off|y|n)\Z)[A-Za-z][A-Za-z0-9 _:./,()'-]*", re.ASCII | re.IGNORECASE
)
_Dumper: Any = type("_Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda _self, _value: True})


def _show_text(dumper: Any, value: str) -> yaml.ScalarNode:
    style = None if _PLAIN.fullmatch(value) else '"'
    node: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", value, style)
    return node


def _show_number(dumper: Any, value: Decimal) -> yaml.ScalarNode:
    text = format(value, "f")
    tag = "float" if "." in text else "int"
    node: yaml.ScalarNode = dumper.represent_scalar(f"tag:yaml.org,2002:{tag}", text)
    return node


_Dumper.add_representer(str, _show_text)
_Dumper.add_representer(Decimal, _show_number)


def write(value: Any) -> str:
    """A text that :func:`parse` reads as the same value: of objects, lists, texts, whole numbers and ``Decimal``."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
