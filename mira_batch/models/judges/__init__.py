"""Judges that ask a vision-language model by a published protocol or in our own words, and panels of judges.

Owns questions, prompts, parsers and arithmetic, a file per protocol, and the clients that put them over a
model (`clients.py`, `comparing.py`, `panel.py`). Leaves the models themselves to qwen/ and remote/, batches
and retries to serving/. What each measures, and how it fails, is in docs/judges.md.
"""

from mira_batch.models.judges.clients import ProtocolJudge
from mira_batch.models.judges.comparing import AgainstOriginal, BothOrders, ByScores
from mira_batch.models.judges.editscore import EditScore
from mira_batch.models.judges.imgedit import AXES as IMGEDIT_AXES
from mira_batch.models.judges.imgedit import ImgEdit
from mira_batch.models.judges.pairwise import Pairwise
from mira_batch.models.judges.panel import Escalation, Panel, PanelRules
from mira_batch.models.judges.protocol import JudgeProtocol
from mira_batch.models.judges.score_logit import ScoreLogit
from mira_batch.models.judges.viescore import VIEScore

__all__ = [
    "IMGEDIT_AXES",
    "AgainstOriginal",
    "BothOrders",
    "ByScores",
    "EditScore",
    "Escalation",
    "ImgEdit",
    "JudgeProtocol",
    "Pairwise",
    "Panel",
    "PanelRules",
    "ProtocolJudge",
    "ScoreLogit",
    "VIEScore",
]
