"""Which ConfigMaps and Secrets are never followed, and why: what others keep and renew belongs to no release."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from logcaster_guard.domain.configuration.copies import COPY_LABEL
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.message import Message

DAY = timedelta(days=1)

ROOT_CERTIFICATE = "kube-root-ca.crt"
"""The ConfigMap that the cluster puts into each namespace."""

_OWN = "guard.logcaster.io/"
_HELM_TYPE, _HELM_NAME = "helm.sh/release.v1", "sh.helm.release.v1."
_TOKEN_TYPES = frozenset({"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"})

_ISSUED = {
    "cert-manager.io/certificate-name": "cert-manager",
    "cert-manager.io/issuer-name": "cert-manager",
    "cert-manager.io/next-private-key": "cert-manager",
    "controller.cert-manager.io/fao": "cert-manager",
    "service.alpha.openshift.io/originating-service-name": "OpenShift",
    "service.beta.openshift.io/originating-service-name": "OpenShift",
}
"""Labels and annotations of certificates, and who issues and renews those that carry them."""

_INJECTED = {
    "cert-manager.io/inject-ca-from": "cert-manager",
    "cert-manager.io/inject-ca-from-secret": "cert-manager",
    "cert-manager.io/inject-apiserver-ca": "cert-manager",
    "trust.cert-manager.io/bundle": "trust-manager",
    "service.alpha.openshift.io/inject-cabundle": "OpenShift",
    "service.beta.openshift.io/inject-cabundle": "OpenShift",
    "config.openshift.io/inject-trusted-cabundle": "OpenShift",
}
"""Labels and annotations of CA bundles, and who writes them into what carries them."""


@dataclass(frozen=True, slots=True)
class HelmStorage(Message):
    """Helm keeps a release in it."""

    kind: Literal["unfollowed.helm"] = "unfollowed.helm"


@dataclass(frozen=True, slots=True)
class ClusterToken(Message):
    """The cluster issues it: a service account's token, or one that lets a node join."""

    kind: Literal["unfollowed.token"] = "unfollowed.token"


@dataclass(frozen=True, slots=True)
class IssuedCertificate(Message):
    """It is a certificate, which `issuer` renews."""

    issuer: str
    kind: Literal["unfollowed.certificate"] = "unfollowed.certificate"


@dataclass(frozen=True, slots=True)
class InjectedBundle(Message):
    """It holds certificates that `injector` writes into it."""

    injector: str
    kind: Literal["unfollowed.bundle"] = "unfollowed.bundle"


@dataclass(frozen=True, slots=True)
class GuardsOwn(Message):
    """The guard keeps something of its own in it."""

    kind: Literal["unfollowed.own"] = "unfollowed.own"


@dataclass(frozen=True, slots=True)
class Volatile(Message):
    """It changed `changes` times within a day; more than `limit` is too often for a configuration."""

    changes: int
    limit: int
    kind: Literal["unfollowed.volatile"] = "unfollowed.volatile"


@dataclass(frozen=True, slots=True)
class SecretNotRead(Message):
    """It is a Secret, which the guard does not read."""

    kind: Literal["unfollowed.secret"] = "unfollowed.secret"


@dataclass(frozen=True, slots=True)
class ReadsUnknown(Message):
    """What follows where it may not be read."""

    kind: Literal["unfollowed.unread"] = "unfollowed.unread"


@dataclass(frozen=True, slots=True)
class NothingRemembered(Message):
    """A blob does not hold what is known of a configuration, as this version writes it."""

    kind: Literal["unfollowed.forgotten"] = "unfollowed.forgotten"


def never_followed(kind: ConfigKind, raw: Mapping[str, Any]) -> Message | None:
    """Why this object is never followed; None where it is. Its values are not looked at.

    A copy is what pods read, whoever made it: another name makes another release.
    """
    metadata = raw.get("metadata") or {}
    labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    name, kept = str(metadata.get("name", "")), str(raw.get("type") or "")
    if kept.startswith(_OWN) or any(key.startswith(_OWN) and key != COPY_LABEL for key in labels):
        return GuardsOwn()
    if kept == _HELM_TYPE or (name.startswith(_HELM_NAME) and labels.get("owner") == "helm"):
        return HelmStorage()
    if kept in _TOKEN_TYPES:
        return ClusterToken()
    if kind is ConfigKind.CONFIG_MAP and name == ROOT_CERTIFICATE:
        return InjectedBundle("Kubernetes")
    marks = [key for row in (labels, notes) for key, value in row.items() if value != "false"]
    issuer = next((_ISSUED[mark] for mark in marks if mark in _ISSUED), None)
    if issuer is not None:
        return IssuedCertificate(issuer)
    injector = next((_INJECTED[mark] for mark in marks if mark in _INJECTED), None)
    return None if injector is None else InjectedBundle(injector)


def too_volatile(changes: Iterable[datetime], now: datetime, limit: int) -> Volatile | None:
    """Why an object that changed at these instants is not followed; None as long as `limit` changes a day are kept.

    It is followed again once a day has passed in which it has changed less.
    """
    recent = sum(now - DAY < at <= now for at in changes)
    return Volatile(recent, limit) if recent > limit else None
