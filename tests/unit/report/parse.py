"""A report as a browser would read it: its HTML, and records as its script shows them.

What the script makes of them in truth is seen in test_report_page.py; here are but the names of its elements.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import numpy as np
from PIL import Image


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list[Element | str] = field(default_factory=list)

    def find(self, tag: str = "", of: str = "") -> list[Element]:
        """The elements below, of this tag and class, in order."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                kinds = (child.attributes.get("class") or "").split()
                if (not tag or child.tag == tag) and (not of or of in kinds):
                    found.append(child)
                found += child.find(tag, of)
        return found

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in ("meta", "img", "input"):
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


@dataclass
class Shown:
    """A report as a browser would read it."""

    html: str
    root: Element
    data: dict[str, Any] = field(default_factory=dict)
    """What the page's script is given."""
    chunks: dict[str, Any] = field(default_factory=dict)
    """Pictures, where they are in the page."""

    @property
    def cards(self) -> list[Element]:
        return self.root.find("article")

    @property
    def names(self) -> list[str]:
        return [card.find("bdi")[0].text for card in self.cards]

    @property
    def figures(self) -> dict[str, str]:
        cells = self.root.find("dl", "figures")[0].find("div")
        return {cell.find("dt")[0].text: cell.find("dd")[0].text.strip() for cell in cells}


def parse_page(html: str) -> Shown:
    tree = _Tree()
    tree.feed(html)
    tree.close()
    assert tree.open == [tree.root], "every element is closed"
    return Shown(html, tree.root, *_show_records(tree.root))


def _show_records(root: Element) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put the records of the page's data into the tree, and take their JSON out of it."""
    blocks = [script for script in root.find("script") if script.attributes.get("type") == "application/json"]
    if not blocks:
        return {}, {}
    data, chunks = (json.loads(block.text) for block in blocks)
    for block in blocks:
        block.children.clear()
    order = {name: rank for rank, name in enumerate(("failed", "unfinished", "ok"))}
    for place, row in sorted(enumerate(data["records"]), key=lambda item: order[item[1]["status"]]):
        strip = chunks[f"strips-{place // data['per']}"][place % data["per"]]
        root.children.append(_show_record(row, strip))
    return data, chunks


def _element(tag: str, *children: Element | str, **attributes: str) -> Element:
    return Element(tag, {name.rstrip("_"): value for name, value in attributes.items()}, list(children))


def _show_record(row: dict[str, Any], strip: dict[str, Any]) -> Element:
    failed = row["status"] == "failed"
    return _element(
        "article",
        _element("bdi", row.get("name", row["id"])),
        _element("span", row["status"], class_="badge"),
        _element("p", row["ask"]),
        _element("p", strip["last"]),
        *([] if failed else [_element("p", "ended by ", row["outcome"])]),
        *(_show_entry(entry) for entry in strip["entries"]),
        *([_element("p", row["outcome"], row.get("message", ""), class_="message")] if failed else []),
    )


def _show_entry(entry: dict[str, Any]) -> Element:
    shown = _element(
        "li", _element("b", entry["label"]), class_="entry undone" if "undone" in entry else "entry"
    )
    if "words" in entry:
        words = _element("ol", *(_element("li", text) for text in entry["words"]), start=str(entry["first"]))
        shown.children.append(_element("div", words, f"and {entry['more']} more", class_="words"))
    elif "missing" in entry:
        shown.children.append(f"Image {entry['missing']}")
    else:
        picture = entry["picture"]
        alt = f"{entry['label']}: {entry['caption']}" if "caption" in entry else entry["label"]
        kind = "transparent" if "clear" in picture else ""
        shown.children.append(_element("img", src=picture["uri"], alt=alt, class_=kind))
    shown.children += [f"score {entry['score']:.2f}"] if "score" in entry else []
    kinds = {name: entry[name] for name in ("caption", "thought") if name in entry}
    shown.children += [_element("p", text, class_=name) for name, text in kinds.items()]
    return shown


def labels(card: Element) -> list[str]:
    return [still.find("b")[0].text for still in card.find("li", "entry")]


def picture(element: Element) -> Image.Image:
    uri = element.attributes["src"] or ""
    assert uri.startswith("data:image/webp;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def colours(card: Element) -> list[str]:
    """Of each picture the channel that is strongest in its middle."""
    found = []
    for image in map(picture, card.find("img")):
        pixel = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
        assert isinstance(pixel, tuple)
        found.append(["red", "green", "blue"][int(np.argmax(pixel))])
    return found
