"""Cloud Run v2: messages, and the enums that say what state things are in."""

from __future__ import annotations

from typing import Any

from google.cloud import run_v2

State = run_v2.Condition.State
CommonReason = run_v2.Condition.CommonReason
RevisionReason = run_v2.Condition.RevisionReason
ExecutionReason = run_v2.Condition.ExecutionReason
CompletionStatus = run_v2.ExecutionReference.CompletionStatus
Allocation = run_v2.TrafficTargetAllocationType
SplitAllocation = run_v2.InstanceSplitAllocationType
Ingress = run_v2.IngressTraffic
Environment = run_v2.ExecutionEnvironment
GA = 4  # google.api.LaunchStage


def __getattr__(name: str) -> Any:
    """The protobuf class of a message; proto-plus makes them while running, so mypy sees Any."""
    return getattr(run_v2, name).pb()
