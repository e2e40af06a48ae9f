"""The models that need no weights: a policy and a judge that read instructions by a grammar, an editor that
works with Pillow, a judge that measures what an edit left alone, and the passthrough policy, which is the
baseline of the loop.

Owns the grammar and its operations. Models that answer by script, for rehearsals, are in `simulated.py`.
"""

from mira_batch.models.embedded.fidelity_judge import FidelityJudge
from mira_batch.models.embedded.passthrough import PassthroughPolicy
from mira_batch.models.embedded.pillow_editor import PillowEditor
from mira_batch.models.embedded.rules_judge import RulesJudge
from mira_batch.models.embedded.rules_policy import RulesPolicy

__all__ = ["FidelityJudge", "PassthroughPolicy", "PillowEditor", "RulesJudge", "RulesPolicy"]
