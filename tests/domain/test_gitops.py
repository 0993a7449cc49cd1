"""Who owns a workload, how that owner is paused and resumed, and when it wants something else."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from logcaster_guard.domain import gitops
from logcaster_guard.domain.gitops import Desired, Owner, OwnerKind, Reference, owner_called, owner_of
from logcaster_guard.sandbox.apiserver.patching import json_patch
from tests.domain.build import deployment

Json = dict[str, Any]
APP = Owner(OwnerKind.APPLICATION, "argocd", "web")


def owned(labels: Mapping[str, str] | None = None, tracking: str = "", manager: str = "", **field: Any) -> Json:
    raw = deployment(annotations={gitops.TRACKING_ID: tracking} if tracking else {})
    raw["metadata"]["labels"] = dict(labels or {})
    if manager:
        fields = {"fieldsV1": {"f:spec": {"f:template": {}}}} | field
        raw["metadata"]["managedFields"] = [{"manager": manager, "operation": "Apply", **fields}]
    return raw


def flux(group: str, name: str, namespace: str = "") -> dict[str, str]:
    found = {f"{group}.toolkit.fluxcd.io/name": name}
    return found | ({f"{group}.toolkit.fluxcd.io/namespace": namespace} if namespace else {})


@pytest.mark.parametrize(
    ("raw", "owner"),
    [
        (owned(), None),
        (owned({gitops.INSTANCE: "web"}), None),
        (owned({gitops.INSTANCE: "web", "app.kubernetes.io/managed-by": "Helm"}, manager="helm"), None),
        (owned(tracking="web:apps/Deployment:default/logcaster-prod"), APP),
        (
            owned(tracking="team_web:apps/Deployment:default/logcaster-prod"),
            Owner(OwnerKind.APPLICATION, "team", "web"),
        ),
        (owned(tracking="web:apps/Deployment:default/another"), None),
        (owned(tracking="web:apps/Deployment:other/logcaster-prod"), None),
        (owned(tracking="web:apps/StatefulSet:default/logcaster-prod"), None),
        (owned(tracking="web"), None),
        (owned({gitops.INSTANCE: "web"}, manager="argocd-controller"), APP),
        (owned({gitops.INSTANCE: "web"}, manager="argocd-application-controller"), APP),
        (owned(manager="argocd-controller"), Owner(OwnerKind.APPLICATION)),
        (owned(manager="argocd-controller", fieldsV1={"f:metadata": {}}), None),
        (owned(manager="argocd-controller", subresource="status"), None),
        (owned(flux("kustomize", "web", "flux-system")), Owner(OwnerKind.KUSTOMIZATION, "flux-system", "web")),
        (owned(flux("kustomize", "web")), Owner(OwnerKind.KUSTOMIZATION, "default", "web")),
        (owned(manager="kustomize-controller"), Owner(OwnerKind.KUSTOMIZATION)),
        (owned(flux("helm", "web", "apps")), Owner(OwnerKind.HELM_RELEASE, "apps", "web")),
        (owned(manager="helm-controller"), Owner(OwnerKind.HELM_RELEASE)),
        (owned(flux("helm", "web", "a") | flux("kustomize", "all", "b")), Owner(OwnerKind.HELM_RELEASE, "a", "web")),
    ],
)
def test_the_owner_is_recognised(raw: Json, owner: Owner | None) -> None:
    assert owner_of(raw) == owner


def test_an_application_is_where_argo_cd_is_unless_it_says_otherwise() -> None:
    raw = owned(tracking="web:apps/Deployment:default/logcaster-prod")
    assert owner_of(raw, "ops") == Owner(OwnerKind.APPLICATION, "ops", "web")


@pytest.mark.parametrize("owner", [APP, Owner(OwnerKind.KUSTOMIZATION, "flux-system", "web")])
def test_an_owner_is_found_again_by_its_words(owner: Owner) -> None:
    assert owner_called(owner.object) == owner
    assert owner_called(owner.kind) is None


def application(spec: Mapping[str, Any] | None = None, **status: Any) -> Json:
    meta = {"name": "web", "namespace": "argocd", "resourceVersion": "1"}
    return {"kind": "Application", "metadata": meta, "spec": {**(spec or {})}, "status": status}


def kustomization(spec: Mapping[str, Any] | None = None, **status: Any) -> Json:
    meta = {"name": "web", "namespace": "flux-system", "resourceVersion": "1", "annotations": {"a": "b"}}
    source = {"kind": "GitRepository", "name": "repository"}
    return {"kind": "Kustomization", "metadata": meta, "spec": {"sourceRef": source, **(spec or {})}, "status": status}


def helm_release(spec: Mapping[str, Any] | None = None, **status: Any) -> Json:
    meta = {"name": "web", "namespace": "apps", "resourceVersion": "1"}
    chart = {"chart": {"spec": {"chart": "web", "version": "1.x"}}}
    return {"kind": "HelmRelease", "metadata": meta, "spec": {**chart, **(spec or {})}, "status": status}


AUTOMATED = {"prune": True, "selfHeal": True, "allowEmpty": False}


@pytest.mark.parametrize(
    "raw",
    [
        application({"syncPolicy": {"automated": AUTOMATED, "retry": {"limit": 5}}}),
        application({"syncPolicy": {"automated": {}}}),
        application({"syncPolicy": {"automated": {"enabled": True}}}),
        kustomization(),
        kustomization({"suspend": False}),
        helm_release(),
    ],
)
def test_what_is_suspended_comes_back_exactly(raw: Json) -> None:
    assert not gitops.is_suspended(raw)
    before, fields = copy.deepcopy(raw), gitops.fields_of(raw)
    suspended = json_patch(raw, gitops.suspending(raw, "run-1", "token"))
    mark = gitops.mark_of(suspended)
    assert gitops.is_suspended(suspended)
    assert (mark.run, mark.fields) == ("run-1", fields) if mark else False
    resumed = json_patch(suspended, gitops.resuming(suspended, fields))
    assert resumed["spec"] == before["spec"]
    assert list((resumed["spec"].get("syncPolicy") or {}).get("automated") or {}) == list(
        (before["spec"].get("syncPolicy") or {}).get("automated") or {}
    )
    assert gitops.mark_of(resumed) is None
    assert raw == before


def test_an_application_whose_sync_policy_was_taken_away_gets_its_own_back() -> None:
    raw = application({"syncPolicy": {"automated": AUTOMATED}})
    suspended = json_patch(raw, gitops.suspending(raw, "run-1", "token"))
    del suspended["spec"]["syncPolicy"]
    assert json_patch(suspended, gitops.resuming(suspended, gitops.fields_of(raw)))["spec"] == raw["spec"]


def test_who_was_resumed_by_somebody_else_only_loses_the_mark() -> None:
    raw = kustomization()
    suspended = json_patch(raw, gitops.suspending(raw, "run-1", "token"))
    suspended["spec"]["suspend"] = False
    theirs = json_patch(suspended, gitops.resuming(suspended, {}))
    assert (theirs["spec"], gitops.mark_of(theirs)) == (suspended["spec"], None)


@pytest.mark.parametrize(
    "raw",
    [
        application(),
        application({"syncPolicy": {}}),
        application({"syncPolicy": {"automated": {"enabled": False, "prune": True}}}),
        kustomization({"suspend": True}),
        helm_release({"suspend": True}),
    ],
)
def test_who_is_suspended_already_is_known(raw: Json) -> None:
    assert gitops.is_suspended(raw)


@pytest.mark.parametrize("text", ["", "words", "[]", '{"run": "run-1"}', '{"run": "r", "fields": 3}'])
def test_what_is_no_mark_of_the_guards_counts_for_none(text: str) -> None:
    raw = kustomization()
    raw["metadata"]["annotations"][gitops.MARK] = text
    assert gitops.mark_of(raw) is None


def git(revision: str) -> Json:
    return {"kind": "GitRepository", "status": {"artifact": {"revision": revision}}}


@pytest.mark.parametrize(
    ("raw", "revision"),
    [
        (application(operationState={"syncResult": {"revision": "c2"}}, history=[{"revision": "c1"}]), "c2"),
        (application(history=[{"revision": "c0"}, {"revision": "c1"}], sync={"revision": "c2"}), "c1"),
        (application(history=[], sync={"revision": "c2"}), "c2"),
        (application(history=[{"revisions": ["c1", "d1"]}]), "c1, d1"),
        (application(), ""),
        (kustomization(lastAppliedRevision="main@sha1:1", lastAttemptedRevision="main@sha1:2"), "main@sha1:2"),
        (kustomization(lastAppliedRevision="main@sha1:1"), "main@sha1:1"),
        (helm_release(lastAttemptedRevision="1.2.3"), "1.2.3"),
    ],
)
def test_the_revision_that_was_rolled_out_last_is_named(raw: Json, revision: str) -> None:
    assert gitops.rolled_out(raw) == revision


@pytest.mark.parametrize(
    ("raw", "source"),
    [
        (application({"source": {}}), None),
        (kustomization(), Reference("GitRepository", "flux-system", "repository")),
        (
            kustomization({"sourceRef": {"kind": "OCIRepository", "name": "r", "namespace": "ops"}}),
            Reference("OCIRepository", "ops", "r"),
        ),
        (helm_release(helmChart="charts/apps-web"), Reference("HelmChart", "charts", "apps-web")),
        (helm_release({"chartRef": {"kind": "OCIRepository", "name": "r"}}), Reference("OCIRepository", "apps", "r")),
        (helm_release(), None),
    ],
)
def test_where_the_wanted_revision_is_read(raw: Json, source: Reference | None) -> None:
    assert gitops.source_of(raw) == source


BAD_APP = application({"source": {"path": "a"}}, sync={"revision": "c2"}, history=[{"revision": "c2"}])
BAD_KS = kustomization(lastAttemptedRevision="main@sha1:2")
BAD_HR = helm_release({"values": {"tag": "2"}}, lastAttemptedRevision="1.2.3+0a1b2c", helmChart="apps/apps-web")


@pytest.mark.parametrize(
    ("before", "source", "now", "then", "news"),
    [
        (BAD_APP, None, BAD_APP, None, False),
        (BAD_APP, None, application({"source": {"path": "a"}}, sync={"revision": "c3"}), None, True),
        (BAD_APP, None, application({"source": {"path": "b"}}, sync={"revision": "c2"}), None, True),
        (BAD_APP, None, application({"source": {"path": "a"}, "project": "p"}, sync={"revision": "c2"}), None, False),
        (BAD_APP, None, application({"source": {"path": "a"}}), None, False),
        (BAD_KS, git("main@sha1:2"), BAD_KS, git("main@sha1:2"), False),
        (BAD_KS, git("main@sha1:2"), BAD_KS, git("main@sha1:3"), True),
        (BAD_KS, git("main@sha1:3"), BAD_KS, git("main@sha1:3"), True),
        (BAD_KS, git("main@sha1:2"), BAD_KS, None, False),
        (BAD_KS, None, kustomization({"interval": "1m"}, lastAttemptedRevision="main@sha1:2"), None, False),
        (BAD_KS, None, kustomization({"path": "./old"}, lastAttemptedRevision="main@sha1:2"), None, True),
        (BAD_HR, git("1.2.3"), BAD_HR, git("1.2.3"), False),
        (BAD_HR, git("1.2.3"), BAD_HR, git("1.2.4"), True),
        (BAD_HR, git("1.2.3"), helm_release({"values": {"tag": "1"}}), git("1.2.3"), True),
    ],
)
def test_what_is_another_revision(before: Json, source: Json | None, now: Json, then: Json | None, news: bool) -> None:
    assert gitops.differs(gitops.baseline(before, source), gitops.desired(now, then)) is news


def test_what_cannot_be_told_is_no_other_revision() -> None:
    assert not gitops.differs(Desired("", "a"), Desired("c3", "a"))
    assert not gitops.differs(Desired("c2", "a"), Desired("", "a"))
