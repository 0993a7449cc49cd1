"""Refusals because of what the workload is, whose it is, and what it could go back to."""

from __future__ import annotations

from logcaster_guard.domain.gitops import GitOps, owner_of
from logcaster_guard.domain.guardrails.decision_context import DecisionContext, Guardrail, Refusal
from logcaster_guard.domain.guardrails.refusal_messages import (
    BeingDeleted,
    KnownRevision,
    NoGoodRevision,
    NotLookedAt,
    OwnerWouldUndo,
    OwnWorkload,
    Paused,
    ScaledToZero,
    TargetMissing,
)
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.workload import Workload


def own_workload(s: DecisionContext) -> list[Refusal]:
    """The workload whose pods the guard runs in."""
    if not s.own or s.workload is None:
        return []
    return [Refusal(Guardrail.OWN_WORKLOAD, OwnWorkload(_named(s.workload)))]


def _named(workload: Workload) -> str:
    return f"{workload.kind} {workload.namespace}/{workload.name}"


def not_ready_for_it(s: DecisionContext) -> list[Refusal]:
    """A workload that is missing, on its way out, paused, or without pods."""
    if s.workload is None:
        return [Refusal(Guardrail.TARGET_MISSING, TargetMissing(s.target))]
    found = []
    if s.workload.deleting:
        found.append(Refusal(Guardrail.BEING_DELETED, BeingDeleted(s.target)))
    if s.workload.paused:
        found.append(Refusal(Guardrail.PAUSED, Paused(s.target)))
    # The run that is taken over may have brought production down itself, while its helper serves.
    if not s.workload.replicas and not s.escalates:
        found.append(Refusal(Guardrail.SCALED_TO_ZERO, ScaledToZero(_named(s.workload))))
    return found


def not_yet_observed(s: DecisionContext) -> list[Refusal]:
    """A workload that the ledger does not know as it is now."""
    if s.workload is None or (s.ledger.shows(s.workload.hash) and s.workload.uid == s.ledger.uid):
        return []
    known = s.ledger.present is not None
    made_anew = known and s.workload.uid != s.ledger.uid
    return [Refusal(Guardrail.NOT_YET_OBSERVED, NotLookedAt(s.target, known and not made_anew, made_anew))]


def no_destination(s: DecisionContext, policy: Policy) -> list[Refusal]:
    """No good release to go back to."""
    if s.ledger.destination(policy.ledger) is not None:
        return []
    known = tuple(KnownRevision(r.name, r.status(policy.ledger)) for r in s.ledger.records.values())
    unread = "" if (found := s.ledger.unread(policy.ledger)) is None else found.name
    return [Refusal(Guardrail.NO_GOOD_REVISION, NoGoodRevision(s.target, known, unread))]


def owned(s: DecisionContext, policy: Policy) -> list[Refusal]:
    """A GitOps owner that would undo the rollback, unless it can be suspended or the guard is to go on."""
    wanted = s.gitops or policy.gitops
    owner = None if s.workload is None else owner_of(s.workload.raw, policy.argocd_namespace)
    if owner is None or wanted is GitOps.PROCEED or (wanted is GitOps.SUSPEND and owner.known):
        return []
    reason = OwnerWouldUndo(s.target, owner.named, s.bad_commit or "", wanted is not GitOps.SUSPEND)
    return [Refusal(Guardrail.GITOPS_OWNER, reason)]
