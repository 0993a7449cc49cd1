"""Which resources the server has, and what sets each apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

_META_FIELDS = frozenset({"metadata.name", "metadata.namespace"})


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource type.

    `counts_generation`: metadata.generation follows its spec. `returns_deleted`: a DELETE answers with the object
    and not with a Status. `unconditional`: a PUT may leave resourceVersion out. `create_on_update`: a PUT to a
    missing name creates it. `custom`: as a CustomResourceDefinition makes it: anything is kept, and no strategic merge.
    `fields`: what a field selector may name.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    counts_generation: bool = False
    returns_deleted: bool = False
    unconditional: bool = True
    create_on_update: bool = False
    custom: bool = False
    fields: frozenset[str] = _META_FIELDS

    @property
    def api_version(self) -> str:
        """`apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Its name in messages: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_status(self) -> bool:
        """Whether /status is written apart from the rest."""
        return "status" in self.subresources


_POD_FIELDS = {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "status.phase", "status.podIP"}
_EVENT_FIELDS = {
    *(f"involvedObject.{f}" for f in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")),
    *("reason", "reportingComponent", "source", "type"),
}

NAMESPACES = Resource(
    "",
    "v1",
    "namespaces",
    "Namespace",
    namespaced=False,
    short=("ns",),
    subresources=frozenset({"status"}),
    returns_deleted=True,
    fields=_META_FIELDS | {"status.phase"},
)
PODS = Resource(
    "",
    "v1",
    "pods",
    "Pod",
    short=("po",),
    subresources=frozenset({"status", "binding"}),
    counts_generation=True,
    returns_deleted=True,
    fields=_META_FIELDS | _POD_FIELDS,
)
SERVICES = Resource(
    "",
    "v1",
    "services",
    "Service",
    short=("svc",),
    subresources=frozenset({"status"}),
    returns_deleted=True,
    create_on_update=True,
)
EVENTS = Resource(
    "", "v1", "events", "Event", short=("ev",), create_on_update=True, fields=_META_FIELDS | frozenset(_EVENT_FIELDS)
)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", short=("cm",))
SECRETS = Resource("", "v1", "secrets", "Secret", fields=_META_FIELDS | {"type"})
DEPLOYMENTS = Resource(
    "apps",
    "v1",
    "deployments",
    "Deployment",
    short=("deploy",),
    subresources=frozenset({"status", "scale"}),
    counts_generation=True,
)
REPLICA_SETS = Resource(
    "apps",
    "v1",
    "replicasets",
    "ReplicaSet",
    short=("rs",),
    subresources=frozenset({"status", "scale"}),
    counts_generation=True,
    fields=_META_FIELDS | {"status.replicas"},
)
AUTOSCALERS = Resource(
    "autoscaling",
    "v2",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    short=("hpa",),
    subresources=frozenset({"status"}),
)
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", counts_generation=True)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", unconditional=False, create_on_update=True)
BUDGETS = Resource(
    "policy",
    "v1",
    "poddisruptionbudgets",
    "PodDisruptionBudget",
    short=("pdb",),
    subresources=frozenset({"status"}),
    counts_generation=True,
    unconditional=False,
)
VOLUME_CLAIMS = Resource(
    "",
    "v1",
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    short=("pvc",),
    subresources=frozenset({"status"}),
    returns_deleted=True,
)
NODES = Resource(
    "",
    "v1",
    "nodes",
    "Node",
    namespaced=False,
    short=("no",),
    subresources=frozenset({"status"}),
    fields=_META_FIELDS | {"spec.unschedulable"},
)


def _custom(group: str, version: str, plural: str, kind: str) -> Resource:
    status = frozenset({"status"})
    return Resource(group, version, plural, kind, subresources=status, counts_generation=True, custom=True)


APPLICATIONS = replace(_custom("argoproj.io", "v1alpha1", "applications", "Application"), subresources=frozenset())
"""Argo CD's definition has no status subresource: a status is written with the rest."""

GITOPS = (
    APPLICATIONS,
    _custom("kustomize.toolkit.fluxcd.io", "v1", "kustomizations", "Kustomization"),
    _custom("helm.toolkit.fluxcd.io", "v2", "helmreleases", "HelmRelease"),
    _custom("source.toolkit.fluxcd.io", "v1", "gitrepositories", "GitRepository"),
    _custom("source.toolkit.fluxcd.io", "v1", "ocirepositories", "OCIRepository"),
    _custom("source.toolkit.fluxcd.io", "v1", "buckets", "Bucket"),
    _custom("source.toolkit.fluxcd.io", "v1", "helmcharts", "HelmChart"),
)
"""The kinds of Argo CD and Flux that a guard looks at, kept as they are: no controller stands behind them."""

ALL = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    EVENTS,
    CONFIG_MAPS,
    SECRETS,
    VOLUME_CLAIMS,
    DEPLOYMENTS,
    REPLICA_SETS,
    AUTOSCALERS,
    ENDPOINT_SLICES,
    LEASES,
    BUDGETS,
    *GITOPS,
)
BY_PATH = {(r.group, r.version, r.plural): r for r in ALL}
GROUPS: dict[tuple[str, str], tuple[Resource, ...]] = {
    key: tuple(r for r in ALL if (r.group, r.version) == key)
    for key in dict.fromkeys((r.group, r.version) for r in ALL)
}
