"""A plan in words: one line for each step, and how many pods it speaks of."""

from __future__ import annotations

from typing import assert_never

from logcaster_guard.domain import steps as s
from logcaster_guard.domain.steps import Plan, Step


def pods(count: int) -> str:
    """So many pods."""
    return "1 pod" if count == 1 else f"{count} pods"


def wanted(count: int) -> str:
    """How many pods a workload asks for."""
    return f"{pods(count)} wanted"


def plan_lines(plan: Plan) -> list[str]:
    """What each step of the plan does, in its order."""
    return [_line(plan, step) for step in plan.steps]


def _line(plan: Plan, step: Step) -> str:
    name = f"{plan.kind} {plan.namespace}/{plan.deployment}"
    good = ", ".join(plan.to_images) or "the good release"
    match step:
        case s.AskPeople(grace=grace, require_approval=True):
            return "wait for somebody's approval"
        case s.AskPeople(grace=grace):
            return f"wait {grace:g} s for a veto"
        case s.SuspendOwner(owner=owner):
            return f"suspend {owner}, until it wants another revision"
        case s.RaiseAutoscalerMinimum(autoscaler=autoscaler, minimum=minimum):
            return f"raise the minimum of autoscaler {autoscaler} to {minimum}"
        case s.PinAutoscaler(autoscaler=autoscaler, size=size):
            return f"set both bounds of autoscaler {autoscaler} to {size}"
        case s.RestoreTemplate():
            return f"put the template of {good} into {name}"
        case s.DeleteStuckPods():
            return "delete the pods that are not Ready and hold up the rollout"
        case s.AwaitRollout(timeout=timeout):
            return f"wait for the rollout, {timeout:g} s at most"
        case s.VerifyRecovery(stable_for=stable, timeout=timeout):
            return f"watch until the rules are quiet for {stable:g} s, {timeout:g} s at most"
        case _:
            return _beside(step, good)


def _beside(step: Step, good: str) -> str:
    match step:
        case s.CreateHelper(helper=helper, replicas=replicas):
            return f"run {good} beside production as Deployment {helper}, pods: {replicas}"
        case s.ScaleHelper(helper=helper, replicas=replicas):
            return f"scale Deployment {helper} to {replicas}"
        case s.AwaitHelper(helper=helper, replicas=replicas):
            return f"wait until {replicas} pods of {helper} serve"
        case s.ScaleProduction(replicas=replicas):
            return f"scale production to {replicas}"
        case s.JudgeHelper(share=share, wait=wait, threshold=threshold):
            return f"at {share:.0%} of the pods: after {wait:g} s its error rate must not be above {threshold:.2%}"
        case s.RemoveHelper(helper=helper):
            return f"delete Deployment {helper}"
        case _:
            return _switching(step, good)


def _switching(step: Step, good: str) -> str:
    match step:
        case s.RestoreEnvironment(replicas=replicas):
            return f"create the other environment with {good} again, pods: {replicas}"
        case s.ScaleEnvironment(replicas=replicas):
            return f"scale the other environment to {replicas}"
        case s.AwaitEnvironment(replicas=replicas):
            return f"wait until {replicas} pods of the other environment are Ready"
        case s.CheckEnvironment():
            return "wait until each of them answers its health check"
        case s.SwitchService(label=label, before=before, after=after):
            return f"switch the Service from {label}={before} to {label}={after}"
        case s.AwaitEndpoints(least=least):
            return f"wait until the Service lists only the other environment, at least {least} pods"
        case s.JudgeEnvironment(wait=wait, threshold=threshold):
            return f"after {wait:g} s: switch back if its error rate is above {threshold:.2%} and above what it was"
        case (
            s.AskPeople()
            | s.SuspendOwner()
            | s.RaiseAutoscalerMinimum()
            | s.PinAutoscaler()
            | s.RestoreTemplate()
            | s.DeleteStuckPods()
            | s.AwaitRollout()
            | s.VerifyRecovery()
            | s.CreateHelper()
            | s.ScaleHelper()
            | s.AwaitHelper()
            | s.ScaleProduction()
            | s.JudgeHelper()
            | s.RemoveHelper()
        ):
            raise ValueError(f"the step {step.kind} is told elsewhere")
        case _:
            assert_never(step)
