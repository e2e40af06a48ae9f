"""The nodes of a cluster: which are being drained, and whether one that is gone was taken away or died."""

from __future__ import annotations

import math
from collections.abc import Mapping

import ray
from ray._private.state import state as ray_state
from ray.core.generated import common_pb2
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mira_batch.runtime.loss import Loss

_DEATHS = common_pb2.NodeDeathInfo  # pyright: ignore[reportAttributeAccessIssue]
_TAKEN = {
    _DEATHS.EXPECTED_TERMINATION,
    _DEATHS.AUTOSCALER_DRAIN_PREEMPTED,
    _DEATHS.AUTOSCALER_DRAIN_IDLE,
}
"""Deaths of nodes that somebody wanted. `ActorDiedError.preempted` is read off the second; here nobody gets
that error, since our actors are restarted without end."""


def find_draining_nodes() -> Mapping[str, float]:
    """The ids of nodes that are being drained, and when they will be gone, in seconds of Unix time; infinity
    where nobody said."""
    draining = ray_state.get_draining_nodes()
    return {node: deadline / 1000 if deadline else math.inf for node, deadline in draining.items()}


def stay_here() -> NodeAffinitySchedulingStrategy:
    """Where an actor is put that the driver can't do without: on the driver's own node, so that no lost node
    takes it along."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)


def is_up(node: str) -> bool:
    """Whether the node of this id is there, draining or not."""
    return any(entry["NodeID"] == node and entry["Alive"] for entry in ray.nodes())


def find_loss(node: str) -> Loss:
    """With what a process was lost that died on this node."""
    for entry in ray.nodes():
        if entry["NodeID"] != node:
            continue
        if entry["Alive"]:
            return Loss.preempted if node in find_draining_nodes() else Loss.process
        return Loss.preempted if entry["DeathReason"] in _TAKEN else Loss.node
    return Loss.node  # so long ago that Ray has forgotten it
