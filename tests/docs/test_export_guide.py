"""The guide to exports, command by command."""

from __future__ import annotations

import json
from pathlib import Path

from mira_batch import read_catalogue
from tests.docs.blocks import blocks, commands
from tests.docs.guides import Terminal, shell, write_files
from tests.support.certificates import key_pem, make_certificate
from tests.support.runs.catalogue import make_catalogue
from tests.support.runs.exports import decide, visible

GUIDE = "docs/export.md"


def test_the_guide_to_exports(tmp_path: Path, terminal: Terminal) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 8)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_files(GUIDE, tmp_path)
    ice = {"TYPE": "sql", "URI": f"sqlite:///{tmp_path}/ice.db", "WAREHOUSE": f"file://{tmp_path}/ice"}
    environment = {f"PYICEBERG_CATALOG__SHOP__{name}": value for name, value in ice.items()}
    for line in commands(GUIDE):
        if "decisions.jsonl" in line:
            good = read_catalogue(str(tmp_path / "edited")).to_pylist()
            decide(tmp_path / "decisions.jsonl", good[:3], "approve")
        # pyiceberg reads the environment once, as it is imported.
        iceberg = "iceberg" in line
        said = shell(line, tmp_path, **environment) if iceberg else terminal(line, tmp_path)
        if "export" in line:
            assert "records" in said and "exported" in said
    handed = tmp_path / "handed"
    assert visible(handed / "images") == {f"images/{Path(row['image']).name}" for row in rows}
    assert len(visible(handed / "shown")) == 3 and len(visible(handed / "by-id")) == 8
    _, certificate, key = make_certificate()
    (tmp_path / "chain.pem").write_text(certificate)
    (tmp_path / "key.pem").write_text(key_pem(key))
    (sign,) = commands("docs/provenance.md")
    assert "8 of 8 records exported" in terminal(sign, tmp_path)
    assert len(visible(handed / "signed")) == 8
    (python,) = (block.text for block in blocks(GUIDE) if block.language == "python")
    cache = {"HF_HOME": str(tmp_path / "cache"), "HF_DATASETS_OFFLINE": "1"}
    # Threads of Arrow's that still let go of files may abort a Python that ends in the usual way.
    python += "import os, sys\nsys.stdout.flush()\nos._exit(0)\n"
    assert shell(f"python -c '{python}'", tmp_path, **cache).split()[-2:] == ["8", "8"]
