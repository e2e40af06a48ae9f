"""How requests reach a model and answers come back: batches, endpoints, faults, memory, images, time.

Owns the clients (`ModelClient`: the micro-batcher of models in the process, the endpoint of served ones), the
roles as data, what errors mean, and the checks of what models return. Knows no model and no job: which models
there are is `registry.py`'s business, who gets which client `loader.py`'s.

Importing it loads no third party beside pydantic; Pillow and tenacity come with the first image and call.
"""

from mira_batch.models.serving.answers import check_frame
from mira_batch.models.serving.batch_limits import CallsInProgress
from mira_batch.models.serving.client import ModelClient, OnCall
from mira_batch.models.serving.endpoint import Endpoint
from mira_batch.models.serving.faults import (
    MOST_TEXT,
    UNSUPPORTED,
    EndpointFault,
    Meaning,
    charge_errors,
    classify_status,
    describe_redirect,
    parse_retry_after,
    quote,
)
from mira_batch.models.serving.images import guard_images, lay_on_white
from mira_batch.models.serving.microbatch import MicroBatcher
from mira_batch.models.serving.outcome import free_memory, is_engine_dead, is_out_of_memory
from mira_batch.models.serving.roles import EDITOR, JUDGE, POLICY, ROLES, Role
from mira_batch.models.serving.turns import Turns

__all__ = [
    "EDITOR",
    "JUDGE",
    "MOST_TEXT",
    "POLICY",
    "ROLES",
    "UNSUPPORTED",
    "CallsInProgress",
    "Endpoint",
    "EndpointFault",
    "Meaning",
    "MicroBatcher",
    "ModelClient",
    "OnCall",
    "Role",
    "Turns",
    "charge_errors",
    "check_frame",
    "classify_status",
    "describe_redirect",
    "free_memory",
    "guard_images",
    "is_engine_dead",
    "is_out_of_memory",
    "lay_on_white",
    "parse_retry_after",
    "quote",
]
