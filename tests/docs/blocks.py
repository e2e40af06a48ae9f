"""Fenced blocks of the Markdown documents, so that tests run what readers will type."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support import ROOT


@dataclass(frozen=True)
class Block:
    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """`# name.ext` on the first line says that the block is a file."""
        match = re.match(r"#\s+([\w./-]+\.\w+)\s*$", self.text.splitlines()[0])
        return match[1] if match else None


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [Block(m[1], m[2]) for m in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def commands(document: str) -> list[str]:
    """The lines of the bash blocks, without their trailing remarks."""
    lines = [
        line for block in blocks(document) if block.language == "bash" for line in block.text.splitlines()
    ]
    return [re.split(r"\s{2,}#", line)[0].strip() for line in lines if line.strip()]
