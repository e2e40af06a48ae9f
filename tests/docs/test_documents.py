"""What the documents show is run as a reader would run it, and what they list is complete."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from mira_batch import load_config, read_outputs
from mira_batch.config.counterfactual import CounterfactualConfig
from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.config.grpo import GrpoConfig
from mira_batch.config.load import load_own_config
from mira_batch.config.models.local import QwenVLConfig
from mira_batch.config.reference import reference
from mira_batch.models.embedded.grammar.parse import InstructionUnclear, parse
from tests.docs.blocks import ROOT, blocks, commands
from tests.docs.guides import Terminal, shell, write_files
from tests.support.runs.catalogue import make_catalogue

DOCUMENTS = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A directory as the documents assume it: a catalogue, and the files they show."""
    manifest = make_catalogue(tmp_path / "catalogue", 12)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(r | {"record_id": f"sku-{i}"}) + "\n" for i, r in enumerate(rows)))
    return tmp_path


@pytest.mark.ray
def test_readme_commands_and_library_example(workplace: Path, terminal: Terminal) -> None:
    """The run on Ray is the program itself; what needs no Ray beside it is run in this process."""
    write_files("README.md", workplace, backend="ray")
    lines = commands("README.md")
    assert [line for line in lines if line.startswith("make ")] == ["make run", "make test"]
    (run_it,) = (line for line in lines if re.fullmatch(r"mira-batch run +--config catalogue.yaml", line))
    for line in lines:
        if line.startswith("make "):
            shell(f"{line} --dry-run", ROOT)
        elif line == run_it:
            shell(line, workplace)
        else:
            inline = " --set backend=inline" if line.split()[1] in ("run", "inspect") else ""
            terminal(f"{line}{inline}", workplace)
    (example,) = [b.text for b in blocks("README.md") if b.language == "python"]
    (workplace / "example.py").write_text(example)
    printed = shell("python example.py", workplace)
    assert "sku-11" in printed


def test_readme_yaml_blocks_are_valid_settings() -> None:
    base = {"input": {"manifest": "m.jsonl"}, "output": {"uri": "out"}}
    shown = [yaml.safe_load(b.text) for b in blocks("README.md") if b.language == "yaml"]
    assert len(shown) == 4
    for settings in shown:
        load_config(base | settings)


def test_judges_are_valid_settings() -> None:
    base = {"input": {"manifest": "m.jsonl"}, "output": {"uri": "out"}, "workers": {"gpus": 1}}
    shown = [yaml.safe_load(b.text) for b in blocks("docs/judges.md") if b.language == "yaml"]
    judges = [load_config(base | settings).judge for settings in shown]
    assert [judge and judge.model.type for judge in judges] == ["score_logit", "viescore", "panel", "panel"]


def test_the_guide_of_counterfactuals_shows_valid_settings() -> None:
    (block,) = [block for block in blocks("docs/counterfactual.md") if block.file_name]
    config = load_own_config(CounterfactualConfig, yaml.safe_load(block.text))
    assert (config.sample, config.continuations, config.judge.type) == (50, 4, "score_logit")


def test_the_guide_of_teaching_an_editor_shows_valid_settings() -> None:
    pairs, samples = (block for block in blocks("docs/editor-training.md") if block.file_name)
    config = load_own_config(EditorSftConfig, yaml.safe_load(pairs.text))
    assert (config.step_samples, config.data.approved_only, config.tuning.type) == (32, True, "lora")
    by_samples = load_own_config(EditorNftConfig, yaml.safe_load(samples.text))
    assert (by_samples.records, by_samples.rollouts, by_samples.guidance) == (24, 12, 2.5)


def test_learning_by_rollouts_shows_valid_settings() -> None:
    (shown,) = [yaml.safe_load(b.text) for b in blocks("docs/learning.md") if "rewards:" in b.text]
    config = load_own_config(GrpoConfig, shown)
    assert (config.rollouts, config.edit.workers.gpus, config.credit) == (8, 1, "step")


def test_the_flywheel_shows_valid_settings() -> None:
    shown = [yaml.safe_load(b.text) for b in blocks("docs/flywheel.md") if b.language == "yaml"]
    wheel, night = load_own_config(FlywheelConfig, shown[0]), shown[1]
    assert (wheel.gate, wheel.undecided, wheel.train.workers.num) == (("overall>=0",), "learn", 4)
    base = {"input": {"manifest": "m.jsonl"}, "output": {"uri": "out"}, "workers": {"gpus": 1}}
    policy = load_config(base | night).policy
    assert isinstance(policy, QwenVLConfig) and policy.adapter is not None
    assert policy.adapter.promoted == wheel.place and policy.adapter.is_open


def test_the_tiny_models_example(workplace: Path, terminal: Terminal) -> None:
    write_files("docs/models.md", workplace)
    *_, validate, run_it = lines = commands("docs/models.md")
    assert len(lines) == 3
    for line in (lines[0], validate, run_it):
        terminal(line, workplace)
    (results,) = (workplace / "tiny-edited").glob("*/results")
    assert len(read_outputs(str(results.parent), ["record_id"])) == 12


def find_run(output: Path) -> Path:
    """The only run under an output, beside its catalogue."""
    (about,) = output.glob("*/run.json")
    return about.parent


def test_custom_models_example(workplace: Path) -> None:
    """In one process; workers of Ray call a factory of one's own in `test_faults_models`."""
    write_files("docs/custom-models.md", workplace)
    for line in commands("docs/custom-models.md"):
        shell(line, workplace)
    run = find_run(workplace / "noir")
    rows = read_outputs(str(run), columns=["status", "num_steps", "models"]).to_pylist()
    ok = [row for row in rows if row["status"] == "ok"]
    assert len(ok) == 12 and max(row["num_steps"] for row in ok) > 1
    assert ok[0]["models"]["policy"] == "noir-policy/1 limit=40"


def test_simulated_models_example(workplace: Path, terminal: Terminal) -> None:
    write_files("docs/simulated-models.md", workplace)
    for line in commands("docs/simulated-models.md"):
        terminal(line, workplace)
    run = find_run(workplace / "rehearsal")
    rows = {row["record_id"]: row for row in read_outputs(str(run)).to_pylist()}
    assert rows["sku-3"]["error_kind"] == "editor_failed"
    assert rows["sku-7"]["stop_reason"] == "no_progress"
    assert rows["sku-0"]["status"] == "ok"


@pytest.mark.parametrize(
    "backend", [pytest.param("inline", marks=pytest.mark.soak), pytest.param("ray", marks=pytest.mark.ray)]
)
def test_a_job_in_sixty_lines(workplace: Path, backend: str) -> None:
    write_files("docs/jobs.md", workplace, backend)
    code = (workplace / "palette.py").read_text()
    assert sum(1 for line in code.splitlines() if line.strip() and "import" not in line) <= 60
    for line in commands("docs/jobs.md"):
        shell(line, workplace)
    run = find_run(workplace / "palettes")
    rows = read_outputs(str(run), columns=["record_id", "status", "colour"]).to_pylist()
    assert len(rows) == 12 and all(row["status"] == "ok" for row in rows)
    assert all(re.fullmatch("#[0-9a-f]{6}", row["colour"]) for row in rows)
    assert len({row["colour"] for row in rows}) == 8, "as many as there are photographs"
    before = sorted(path.stat().st_mtime_ns for path in (run / "results").iterdir())
    shell(commands("docs/jobs.md")[0], workplace)
    assert sorted(path.stat().st_mtime_ns for path in (run / "results").iterdir()) == before


def test_phrases_of_the_embedded_models() -> None:
    text = (ROOT / "docs/embedded-models.md").read_text()
    understood, refused = text.split("| refused |")
    phrases = re.findall(r"^\| (.+?) \| (.+?) \|$", understood, re.MULTILINE)[1:]
    assert len(phrases) > 25
    for phrase, edit in phrases:
        assert "; ".join(operation.describe() for operation in parse(phrase)) == edit
    for phrase, _ in (rows := re.findall(r"^\| (.+?) \| (.+?) \|$", refused, re.MULTILINE)):
        with pytest.raises(InstructionUnclear):
            parse(phrase)
    assert len(rows) > 20


def test_configuration_reference_is_current() -> None:
    again = "python -m mira_batch.config.reference > docs/configuration.md"
    assert (ROOT / "docs/configuration.md").read_text() == reference(), f"run {again}"
    assert "Names the kind" not in reference().replace("| Names the kind. |", ""), (
        "each field has a docstring"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_loads(path: Path) -> None:
    load_config(path)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), f"{document} links to {target}"
