"""What is never followed, whatever refers to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from logcaster_guard.adapters.kubernetes.stored import Place
from logcaster_guard.domain.configuration.followed import (
    ClusterToken,
    GuardsOwn,
    HelmStorage,
    InjectedBundle,
    IssuedCertificate,
    Volatile,
    never_followed,
    too_volatile,
)
from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.message import Message
from tests.domain.build import START, at


def raw(kind: str = "Secret", name: str = "app", type: str = "Opaque", **metadata: Any) -> Mapping[str, Any]:  # noqa: A002 - as the API calls it
    return {"kind": kind, "type": type, "metadata": {"name": name, **metadata}}


CERTIFICATE = {"cert-manager.io/certificate-name": "web", "cert-manager.io/issuer-name": "ca"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (raw(), None),
        (raw(type="kubernetes.io/tls"), None),
        (raw("ConfigMap"), None),
        (raw(type="kubernetes.io/dockerconfigjson"), None),
        (raw(annotations=None, labels=None), None),
        (raw(annotations={"cert-manager.io/cluster-issuer": "asked for by an Ingress"}), None),
        (raw(type="helm.sh/release.v1"), HelmStorage()),
        (raw("ConfigMap", "sh.helm.release.v1.web.v3", labels={"owner": "helm"}), HelmStorage()),
        (raw("ConfigMap", "sh.helm.release.v1.web.v3"), None),
        (raw(type="kubernetes.io/service-account-token"), ClusterToken()),
        (raw(type="bootstrap.kubernetes.io/token"), ClusterToken()),
        (raw(type="kubernetes.io/tls", annotations=CERTIFICATE), IssuedCertificate("cert-manager")),
        (raw(labels={"controller.cert-manager.io/fao": "true"}), IssuedCertificate("cert-manager")),
        (raw(annotations={"service.beta.openshift.io/originating-service-name": "w"}), IssuedCertificate("OpenShift")),
        (raw("ConfigMap", "kube-root-ca.crt"), InjectedBundle("Kubernetes")),
        (raw("Secret", "kube-root-ca.crt"), None),
        (raw("ConfigMap", annotations={"cert-manager.io/inject-ca-from": "a/b"}), InjectedBundle("cert-manager")),
        (raw("ConfigMap", labels={"trust.cert-manager.io/bundle": "org"}), InjectedBundle("trust-manager")),
        (
            raw("ConfigMap", annotations={"service.beta.openshift.io/inject-cabundle": "true"}),
            InjectedBundle("OpenShift"),
        ),
        (raw("ConfigMap", labels={"config.openshift.io/inject-trusted-cabundle": ""}), InjectedBundle("OpenShift")),
        (raw("ConfigMap", labels={"config.openshift.io/inject-trusted-cabundle": "false"}), None),
        (raw("ConfigMap", labels={"guard.logcaster.io/keeps": "blob"}), GuardsOwn()),
        (raw("ConfigMap", annotations={"guard.logcaster.io/freeze": "somebody's note"}), None),
    ],
)
def test_what_others_keep_and_renew_is_not_followed(given: Mapping[str, Any], reason: Message | None) -> None:
    assert never_followed(ConfigKind(given["kind"]), given) == reason


@pytest.mark.parametrize("keeps", ["blob", "journal"])
def test_what_the_guard_keeps_in_the_cluster_is_its_own(keeps: str) -> None:
    kept = Place("shop", "guard").manifest("guard-x", keeps, {}, {}, labels={}, annotations={})
    assert never_followed(ConfigKind.SECRET, kept) == GuardsOwn()
    del kept["metadata"]["labels"]
    assert never_followed(ConfigKind.SECRET, kept) == GuardsOwn()


@pytest.mark.parametrize(
    ("hours", "limit", "reason"),
    [
        ([], 3, None),
        ([0.0, 1.0, 2.0], 3, None),
        ([0.1, 1.0, 2.0, 3.0], 3, Volatile(4, 3)),
        ([0.0, 1.0, 2.0, 24.0], 3, None),
        ([0.1, 1.0, 2.0, 24.0, 24.1], 3, Volatile(4, 3)),
        ([0.1], 0, Volatile(1, 0)),
        ([25.0], 0, None),
    ],
)
def test_what_changes_more_often_than_the_limit_within_a_day_is_not_followed(
    hours: list[float], limit: int, reason: Volatile | None
) -> None:
    now = START + timedelta(hours=24)
    assert too_volatile([at(h * 3600) for h in hours], now, limit) == reason
