"""Writes docs/configuration.md from the config models, whose docstrings are the documentation.

python -m mira_batch.config.reference > docs/configuration.md
"""

from __future__ import annotations

import ast
import inspect as python
import textwrap
import types
import typing
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mira_batch.config.base import find_models, find_tag
from mira_batch.config.construct import ConstructConfig
from mira_batch.config.counterfactual import CounterfactualConfig
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.config.grpo import GrpoConfig
from mira_batch.config.inspect import InspectConfig
from mira_batch.config.train import SftConfig

_INTRO = """# Configuration

Every setting of each job, made from the config models by `python -m mira_batch.config.reference`.
A config is a YAML or JSON file; `--set a.b=c` overrides one setting, its value read as YAML without comments.
Unknown keys are refused, and keys that are there twice. Top-level keys that begin with `x-` hold no settings:
a place for YAML anchors. Relative paths start at the working directory. In locations and endpoints `~`,
`$NAME` and `${NAME}` are replaced by what they stand for, and `$$NAME` is the text `$NAME`. A file URI is
percent-encoded (`file:///data/my%20shop`); in a path, and in a key of an object store, every character stands
for itself. Every run writes its resolved config to `run.json`, that of a later call with other settings to
`calls/`; `run.json` reruns the run as last called.
"""
_INSPECT = """# The inspect job

`job: inspect`, or `mira-batch inspect --config FILE`. Its other sections are those of the bulk edit.
"""
_EVALUATE = """# The evaluate job

`job: evaluate`, or `mira-batch evaluate --config FILE` ([evaluate.md](evaluate.md)). Its judges and its other
sections are those of the bulk edit.
"""
_SFT = """# Teaching a policy by demonstrations

`mira-batch train policy-sft --config FILE` ([learning.md](learning.md)).
"""
_EDITOR_SFT = """# Teaching an editor by pairs

`mira-batch train editor-sft --config FILE` ([editor-training.md](editor-training.md)). Its settings of steps,
validation and workers are those of policy-sft.
"""
_EDITOR_NFT = """# Teaching an editor by its own samples

`mira-batch train editor-nft --config FILE` ([editor-training.md](editor-training.md)). Its adapter and its
times are those of editor-sft; judges, runs and workers those of policy-grpo.
"""
_CONSTRUCT = """# Construct

`job: construct`, for `mira-batch construct --config FILE` ([training-data.md](training-data.md)).
"""
_GRPO = """# Teaching a policy by its own rollouts

`mira-batch train policy-grpo --config FILE` ([learning.md](learning.md)).
"""
_COUNTERFACTUAL = """# Which step ruined it

`mira-batch counterfactual --config FILE` ([counterfactual.md](counterfactual.md)). Its judges are those of
the evaluate job.
"""
_FLYWHEEL = """# The flywheel

`mira-batch flywheel --config FILE` ([flywheel.md](flywheel.md)). Its sections `samples`, `train`, `edit` and
`evaluate` are the configs of construct, policy-sft, the bulk edit and the evaluate job.
"""


def reference() -> str:
    """The whole page as Markdown."""
    written: set[type[BaseModel]] = set()
    edit = _write_sections(BulkEditConfig, "", written)
    inspect = _write_sections(InspectConfig, "", written)
    evaluate = _write_sections(EvaluateConfig, "", written)
    construct = _write_sections(ConstructConfig, "", written)
    sft = _write_sections(SftConfig, "", written)
    editor_sft = _write_sections(EditorSftConfig, "", written)
    grpo = _write_sections(GrpoConfig, "", written)
    editor_nft = _write_sections(EditorNftConfig, "", written)
    counterfactual = _write_sections(CounterfactualConfig, "", written)
    parts = [_INTRO, *edit, _INSPECT, *inspect, _EVALUATE, *evaluate, _CONSTRUCT, *construct, _SFT, *sft]
    parts += [_EDITOR_SFT, *editor_sft]
    flywheel = _write_sections(FlywheelConfig, "", written)
    parts += [_GRPO, *grpo, _EDITOR_NFT, *editor_nft]
    return "\n".join([*parts, _COUNTERFACTUAL, *counterfactual, _FLYWHEEL, *flywheel])


def _write_sections(model: type[BaseModel], path: str, written: set[type[BaseModel]]) -> typing.Iterator[str]:
    if model in written:  # settings that several models share are explained once
        return
    written.add(model)
    title = f"`{path}`" if path else "Top level"
    yield f"## {title}\n\n{_join_lines(model.__doc__)}\n"
    yield "| setting | type | default | meaning |\n|---|---|---|---|"
    nested: list[tuple[str, type[BaseModel]]] = []
    docstrings = read_docstrings(model)
    for name, field in model.model_fields.items():
        models = find_models(field.annotation)
        nested += [(_name_path(path, name, m, len(models)), m) for m in models]
        yield _write_row(name, field, docstrings.get(name, "Names the kind."))
    yield ""
    for where, inner in nested:
        yield from _write_sections(inner, where, written)


def _name_path(path: str, name: str, model: type[BaseModel], choices: int) -> str:
    where = f"{path}.{name}" if path else name
    return f"{where} (type: {find_tag(model)})" if choices > 1 else where


def read_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """What stands below each field of a model, and of those that it is made from. Pydantic would read it each
    time that a program starts (`use_attribute_docstrings`), which takes a quarter of what all models do."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base is BaseModel or not issubclass(base, BaseModel):
            continue
        definition = ast.parse(textwrap.dedent(python.getsource(base))).body[0]
        assert isinstance(definition, ast.ClassDef)
        for field, below in pairwise(definition.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = text
    return found


def _write_row(name: str, field: FieldInfo, docstring: str) -> str:
    default = "required" if field.is_required() else _show_default(field)
    meaning = _join_lines(docstring).replace("|", "\\|")
    return f"| `{name}` | {_show_type(field)} | {default} | {meaning} |"


def _show_default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        kind = getattr(value, "type", None)
        return f"`{kind}`" if kind else "see below"
    if value in ((), {}):
        return "empty"
    return "none" if value is None else f"`{value}`"


def _show_type(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(rule, key):,}"
        for rule in field.metadata
        for key, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if hasattr(rule, key)
    ]
    return ", ".join([_name_type(field.annotation), *bounds])


def _name_type(kind: Any) -> str:
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _name_type(inside[0])
    if origin is typing.Literal:
        return " \\| ".join(f"`{value}`" for value in inside)
    if origin in (typing.Union, types.UnionType):
        models = find_models(kind)
        names = [f"`{find_tag(m)}`" for m in models] if len(models) > 1 else [_name_type(i) for i in inside]
        return " \\| ".join(name for name in names if name != "none")
    if origin in (tuple, list):
        return f"list of {_name_type(inside[0])}"
    if origin is dict:
        return "mapping"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "settings"
    return {str: "text", int: "whole number", float: "number", bool: "yes or no", type(None): "none"}.get(
        kind, getattr(kind, "__name__", str(kind))
    )


def _join_lines(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    print(reference(), end="")
