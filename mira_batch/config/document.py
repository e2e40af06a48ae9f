"""A YAML or JSON text as plain data, and the line of each key in it.

YAML is read by PyYAML's safe loader. What it would take in silence is refused: a key that is there twice,
aliases that unfold without end, a colour that is a comment, a number in base 8.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from mira_batch.core.text import clean_text

Path = tuple[str, ...]
Lines = dict[Path, int]
"""Where each key stands in the file: path of keys -> line, from 1."""
_MOST_VALUES = 100_000
"""Values of a document, aliases unfolded. Real ones have some hundred."""
_MOST_COMPOSED = 200_000
"""Characters of a JSON text whose lines are looked for."""
_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3,4}){1,2}(?=\s|$)")
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_COMMENT = "what follows ' #' is a comment in YAML; if it was meant as the value, put it in quotes"


class DocumentError(Exception):
    """A text can't be read; in one line."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line
        """Where, if that is known."""


class Document:
    """A text that was read."""

    def __init__(self, data: Any, node: yaml.Node | None, text: str) -> None:
        self.data = data
        """Mappings, lists, text, numbers and so on."""
        self.lines: Lines = {}
        """Where each key stands."""
        self.comments: dict[Path, str] = {}
        """Comments that stand in the place of a value."""
        self._rows = text.splitlines()
        self._walk(node, ())

    def _walk(self, node: yaml.Node | None, path: Path) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self.lines[(*path, str(key.value))] = key.start_mark.line + 1
                self._walk(value, (*path, str(key.value)))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self.lines[(*path, str(index))] = value.start_mark.line + 1
                self._walk(value, (*path, str(index)))
        elif (
            isinstance(node, yaml.ScalarNode) and node.value == "" and node.start_mark.line < len(self._rows)
        ):
            rest = self._rows[node.start_mark.line][node.start_mark.column :]
            if found := re.match(r"\s+(#\S.*)", rest):
                self.comments[path] = found[1]
                if colour := _COLOUR.match(found[1]):
                    problem = f"{'.'.join(path)}: has no value: {_COMMENT}: '{colour[0]}'"
                    raise DocumentError(problem, node.start_mark.line + 1)


class _Loader(yaml.SafeLoader):
    """Safe YAML without its two traps in numbers; what a value is wrong in has a line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:  # a date of month 13, an integer of 5,000 digits
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        """An integer or float. 12:30 is text, as everybody means it, and 010 is neither ten nor eight."""
        if ":" in node.value:
            return node.value
        if _OCTAL.fullmatch(node.value):
            raise ValueError(f"{node.value} begins with 0, and YAML would read it in base 8; leave the 0 out")
        is_float = node.tag.endswith("float")
        return self.construct_yaml_float(node) if is_float else self.construct_yaml_int(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def read_document(text: str, form: str) -> Document:
    """Read a whole file.

    Args:
        text: its contents.
        form: JSON or YAML.

    Raises:
        DocumentError: it is no such document, or would be taken for another than it says.
    """
    try:
        if form == "YAML":
            node, data = _load_yaml(text)
            return Document(data, node, text)
        # As YAML, JSON's 1e-05 would be a text and an escaped emoji two broken halves.
        node = _compose_json(text)
        return Document(json.loads(text, object_pairs_hook=_refuse_twice), node, text)
    except json.JSONDecodeError as error:
        raise DocumentError(f"is not valid JSON: {error.msg} (column {error.colno})", error.lineno) from None
    except RecursionError:
        raise DocumentError(f"is not valid {form}: it is nested too deep") from None
    except ValueError as error:
        raise DocumentError(f"is not valid {form}: {error}") from None


def read_value(text: str) -> Any:
    """Read one value, as it follows a key in YAML. It has no comments: what begins with # is text.

    Raises:
        DocumentError: it is not valid YAML.
    """
    try:
        node, value = _load_yaml(text)
    except RecursionError:
        raise DocumentError("is nested too deep") from None
    end = 0 if node is None else node.end_mark.index
    if text[end:].strip():  # YAML takes the rest, or all, for a comment
        if node is not None and not isinstance(node, yaml.ScalarNode):
            raise DocumentError(f"{text[end:].strip()} would be left out: {_COMMENT}")
        return text.strip()
    return value


def _load_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        _check(node)
        return node, loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        place = error.position if isinstance(error.position, int) else 0
        problem = f"is not valid YAML: it holds the character U+{_code(error.character):04X}"
        raise DocumentError(problem, text.count("\n", 0, place) + 1) from None
    except yaml.MarkedYAMLError as error:
        raise _explain_yaml(error, text) from None
    finally:
        if loader is not None:
            loader.dispose()


def _code(character: Any) -> int:
    return character if isinstance(character, int) else ord(str(character)[:1] or "\0")


def _explain_yaml(error: yaml.MarkedYAMLError, text: str) -> DocumentError:
    """PyYAML's words in one line, with what mostly is behind them."""
    mark = error.problem_mark or error.context_mark
    line = None if mark is None else mark.line + 1
    words = ", ".join(clean_text(part, 300) for part in (error.context, error.problem) if part)
    rows = text.splitlines()
    before = rows[: line or 0]
    if "'\\t'" in words:
        words += " (indent with spaces)"
    elif any(re.search(r"\s#\S", row) for row in before[-2:]):
        words += f" ({_COMMENT})"
    return DocumentError(f"is not valid YAML: {' '.join(words.split())}", line)


def _compose_json(text: str) -> yaml.Node | None:
    """JSON is YAML but for tabs between values. The nodes say where keys stand; of the odd text that PyYAML
    refuses, and of a long one that it takes minutes for, nothing does."""
    if len(text) > _MOST_COMPOSED:
        return None
    loader = None
    try:
        loader = yaml.SafeLoader(text.replace("\t", " "))
        node = loader.get_single_node()
    except yaml.YAMLError:
        return None
    finally:
        if loader is not None:
            loader.dispose()
    if node is not None:
        _check(node)
    return node


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise DocumentError(
            f"{next(n for n in names if names.count(n) > 1)}: is there twice; keep one of them"
        )
    return found


def _check(root: yaml.Node) -> None:
    """Refuse keys that are there twice, and aliases that unfold to a huge document or to no end."""
    sizes: dict[int, int | None] = {}

    def measure(node: yaml.Node, path: Path) -> int:
        if id(node) in sizes:
            size = sizes[id(node)]
            if size is None:
                raise DocumentError(f"{'.'.join(path)}: is an alias of what it is part of", line_of(node))
            return size
        sizes[id(node)] = None
        size = 1
        if isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, value in node.value:
                name = str(key.value)
                if name in first and isinstance(key, yaml.ScalarNode):
                    where = f"in lines {first[name]} and {line_of(key)}"
                    if first[name] == line_of(key):
                        where = "in one line"
                    problem = f"{'.'.join((*path, name))}: is there twice, {where}; keep one of them"
                    raise DocumentError(problem, line_of(key))
                first[name] = line_of(key)
                size += measure(key, path) + measure(value, (*path, name))
        elif isinstance(node, yaml.SequenceNode):
            size += sum(measure(item, (*path, str(index))) for index, item in enumerate(node.value))
        if size > _MOST_VALUES:
            raise DocumentError(f"its aliases unfold to more than {_MOST_VALUES:,} values", line_of(node))
        sizes[id(node)] = size
        return size

    measure(root, ())


def line_of(node: yaml.Node) -> int:
    """The line in which a node begins, from 1."""
    return node.start_mark.line + 1
