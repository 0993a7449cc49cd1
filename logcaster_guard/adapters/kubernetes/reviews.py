"""Asks the API server who holds a token (TokenReview) and what they may do (SubjectAccessReview).

https://kubernetes.io/docs/reference/access-authn-authz/webhook/ describes both. Nothing is remembered: a right that is
taken away is gone with the next request.
"""

from __future__ import annotations

from logcaster_guard.adapters.kubernetes.api_paths import RESOURCES
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.ports import Caller, Json, Kind

TOKEN_REVIEWS = ("authentication.k8s.io/v1", "TokenReview", "tokenreviews")
ACCESS_REVIEWS = ("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews")
CHANGE = "patch"
"""The verb that a caller needs on the workload: what writing the annotation by kubectl needs."""


class KubernetesGate:
    """`ports.Gate` by the cluster's own users and rights; closes the cluster that it is given.

    With an `audience`, only tokens that were made for it are taken; without, those for the API server. Raises
    `ClusterError` where the API server does not tell.
    """

    def __init__(self, cluster: KubernetesCluster, audience: str | None) -> None:
        self._cluster = cluster
        self._audience = audience

    async def caller(self, token: str) -> Caller | None:
        """Whose token it is; None if it is nobody's, or made for somebody else to read."""
        spec: Json = {"token": token} | ({"audiences": [self._audience]} if self._audience else {})
        status = await self._cluster.review(*TOKEN_REVIEWS, spec)
        user = status.get("user")
        name = user.get("username") if isinstance(user, dict) else None
        if (
            status.get("authenticated") is not True
            or not isinstance(user, dict)
            or not isinstance(name, str)
            or not name
        ):
            return None
        # An authenticator that knows of no audiences names none: it did not look whom the token is for.
        if self._audience is not None and self._audience not in (status.get("audiences") or []):
            return None
        return Caller(name, {k: user[k] for k in ("uid", "groups", "extra") if user.get(k)})

    async def may_change(self, caller: Caller, kind: Kind, namespace: str, name: str) -> bool:
        """Whether they may patch that object."""
        resource = RESOURCES[kind]
        attributes = {
            "verb": CHANGE,
            "group": resource.group,
            "resource": resource.plural,
            "namespace": namespace,
            "name": name,
        }
        spec = {"user": caller.name, **caller.attributes, "resourceAttributes": attributes}
        status = await self._cluster.review(*ACCESS_REVIEWS, spec)
        return status.get("allowed") is True and status.get("denied") is not True

    async def aclose(self) -> None:
        """Release connections."""
        await self._cluster.aclose()
