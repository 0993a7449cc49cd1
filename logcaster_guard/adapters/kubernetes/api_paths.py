"""Where each kind that the guard knows lives in the Kubernetes API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from logcaster_guard.ports import Kind


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind lives in the API. `group` is empty for the core group."""

    group: str
    version: str
    plural: str

    @property
    def path(self) -> str:
        """The path of the collection in a namespace, with `{namespace}` to be filled in."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{{namespace}}/{self.plural}"


RESOURCES: Mapping[Kind, Resource] = {
    Kind.DEPLOYMENT: Resource("apps", "v1", "deployments"),
    Kind.REPLICA_SET: Resource("apps", "v1", "replicasets"),
    Kind.STATEFUL_SET: Resource("apps", "v1", "statefulsets"),
    Kind.DAEMON_SET: Resource("apps", "v1", "daemonsets"),
    Kind.CONTROLLER_REVISION: Resource("apps", "v1", "controllerrevisions"),
    Kind.JOB: Resource("batch", "v1", "jobs"),
    Kind.CRON_JOB: Resource("batch", "v1", "cronjobs"),
    Kind.POD: Resource("", "v1", "pods"),
    Kind.SERVICE: Resource("", "v1", "services"),
    Kind.AUTOSCALER: Resource("autoscaling", "v2", "horizontalpodautoscalers"),
    Kind.DISRUPTION_BUDGET: Resource("policy", "v1", "poddisruptionbudgets"),
    Kind.VOLUME_CLAIM: Resource("", "v1", "persistentvolumeclaims"),
    Kind.ENDPOINT_SLICE: Resource("discovery.k8s.io", "v1", "endpointslices"),
    Kind.EVENT: Resource("", "v1", "events"),
    Kind.LEASE: Resource("coordination.k8s.io", "v1", "leases"),
    Kind.CONFIG_MAP: Resource("", "v1", "configmaps"),
    Kind.SECRET: Resource("", "v1", "secrets"),
    Kind.APPLICATION: Resource("argoproj.io", "v1alpha1", "applications"),
    Kind.KUSTOMIZATION: Resource("kustomize.toolkit.fluxcd.io", "v1", "kustomizations"),
    Kind.HELM_RELEASE: Resource("helm.toolkit.fluxcd.io", "v2", "helmreleases"),
    Kind.GIT_REPOSITORY: Resource("source.toolkit.fluxcd.io", "v1", "gitrepositories"),
    Kind.OCI_REPOSITORY: Resource("source.toolkit.fluxcd.io", "v1", "ocirepositories"),
    Kind.BUCKET: Resource("source.toolkit.fluxcd.io", "v1", "buckets"),
    Kind.HELM_CHART: Resource("source.toolkit.fluxcd.io", "v1", "helmcharts"),
}
