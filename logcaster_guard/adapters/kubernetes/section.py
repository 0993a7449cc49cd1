"""The settings of the API server, which the source `kubernetes` and all else that is in the cluster are asked of."""

from __future__ import annotations

from pydantic import Field

from logcaster_guard.fields.section import Duration, PathName, Section


class KubernetesSection(Section):
    """The API server; `kubeconfig: null` means the pod's service account, or the default kubeconfig outside a pod."""

    kubeconfig: PathName | None = Field(
        default=None, description="`null`: the pod's service account, outside a pod the default kubeconfig"
    )
    context: str | None = Field(default=None, description="the kubeconfig's context; `null`: its current one")
    timeout: Duration = Field(default=10.0, description="for each request")
