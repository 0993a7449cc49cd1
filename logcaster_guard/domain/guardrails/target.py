"""Refusals because of what the workload is, whose it is, and what it could go back to."""

from __future__ import annotations

from logcaster_guard.domain.gitops import GitOps, Owner, owner_of
from logcaster_guard.domain.guardrails.decision_context import DecisionContext, Guardrail, Refusal
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.rules import Policy


def own_workload(s: DecisionContext) -> list[Refusal]:
    """The workload whose pods the guard runs in."""
    if not s.own or s.workload is None:
        return []
    sentence = (
        f"{s.workload.kind} {s.workload.namespace}/{s.workload.name} is the guard's own workload, and rolling it back "
        "would end the guard in the middle: run the guard in a workload of its own, or with mode: sidecar."
    )
    return [Refusal(Guardrail.OWN_WORKLOAD, sentence)]


def not_ready_for_it(s: DecisionContext) -> list[Refusal]:
    """A workload that is missing, on its way out, paused, or without pods."""
    if s.workload is None:
        return [Refusal(Guardrail.TARGET_MISSING, f"Deployment {s.target} does not exist.")]
    found = []
    if s.workload.deleting:
        found.append(Refusal(Guardrail.BEING_DELETED, f"Deployment {s.target} is being deleted."))
    if s.workload.paused:
        sentence = f"Deployment {s.target} is paused: resume it if the guard is to act."
        found.append(Refusal(Guardrail.PAUSED, sentence))
    # The run that is taken over may have brought production down itself, while its helper serves.
    if not s.workload.replicas and not s.escalates:
        sentence = (
            f"{s.workload.kind} {s.workload.namespace}/{s.workload.name} is scaled to zero: without a pod nothing "
            "tells whether its release is bad, and another one would serve nobody. Scale it up if it is to serve."
        )
        found.append(Refusal(Guardrail.SCALED_TO_ZERO, sentence))
    return found


def not_yet_observed(s: DecisionContext) -> list[Refusal]:
    """A workload that the ledger does not know as it is now."""
    if s.workload is None or (s.workload.hash == s.ledger.present and s.workload.uid == s.ledger.uid):
        return []
    what = "" if s.ledger.present is None else " since its pod template changed a moment ago"
    if s.ledger.present is not None and s.workload.uid != s.ledger.uid:
        what = " since it was made anew a moment ago"
    return [Refusal(Guardrail.NOT_YET_OBSERVED, f"{s.target} has not been looked at{what or ' yet'}.")]


def no_destination(s: DecisionContext, policy: Policy) -> list[Refusal]:
    """No good release to go back to."""
    if s.ledger.destination(policy.ledger) is not None:
        return []
    known = ", ".join(_standing(r, policy) for r in s.ledger.records.values()) or "no revision is known"
    sentence = f"No revision of {s.target} but the present one is known to be good ({known}): choose one by hand."
    return [Refusal(Guardrail.NO_GOOD_REVISION, sentence)]


def _standing(record: Record, policy: Policy) -> str:
    return f"revision {record.name} {record.standing(policy.ledger)}"


def owned(s: DecisionContext, policy: Policy) -> list[Refusal]:
    """A GitOps owner that would undo the rollback, unless it can be suspended or the guard is to go on."""
    wanted = s.gitops or policy.gitops
    owner = None if s.workload is None else owner_of(s.workload.raw, policy.argocd_namespace)
    if owner is None or wanted is GitOps.PROCEED or (wanted is GitOps.SUSPEND and owner.known):
        return []
    return [Refusal(Guardrail.GITOPS_OWNER, _would_undo(s, owner, wanted))]


def _would_undo(s: DecisionContext, owner: Owner, wanted: GitOps) -> str:
    remedy = f"revert {_commit(s.bad_commit)} in its source"
    if wanted is GitOps.SUSPEND:
        return f"{s.target} belongs to {owner}, so that it cannot be suspended: {remedy}, or set gitops: proceed."
    return (
        f"{s.target} belongs to {owner}, which would undo a rollback: {remedy}, or set gitops: suspend, so that the "
        "guard suspends it meanwhile."
    )


def _commit(found: str | None) -> str:
    if not found:
        return "the bad release"
    return f"the bad release ({found})"
