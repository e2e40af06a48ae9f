"""A report as a browser would read it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from html.parser import HTMLParser

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
        if tag not in ("meta", "img"):
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
    return Shown(html, tree.root)


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
