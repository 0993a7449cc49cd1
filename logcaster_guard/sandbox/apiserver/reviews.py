"""TokenReview and SubjectAccessReview over the server's own tokens: answered, and not kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from logcaster_guard.sandbox.apiserver.errors import bad_request
from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value

AUDIENCE = "https://kubernetes.default.svc"
_READING = frozenset({"get", "list", "watch"})
_TOKENS = ("authentication.k8s.io/v1", "TokenReview", "tokenreviews")
_ACCESS = ("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews")


def reviewed(path: str, body: Value, tokens: Mapping[str, str], readers: Collection[str]) -> Json | None:
    """The review that is asked for under `path`, with its status; None for any other path.

    `tokens` are to user names, all of whom may do everything but for `readers`, who may only read.
    """
    for version, kind, plural in (_TOKENS, _ACCESS):
        if path == f"/apis/{version}/{plural}":
            spec = body.get("spec") if isinstance(body, dict) else None
            if not isinstance(spec, dict):
                raise bad_request(f"the body of the request is no {kind}")
            status = _token(spec, tokens) if kind == "TokenReview" else _access(spec, set(tokens.values()), readers)
            return {"kind": kind, "apiVersion": version, "metadata": {}, "spec": spec, "status": status}
    return None


def _token(spec: Json, tokens: Mapping[str, str]) -> Json:
    user = tokens.get(str(spec.get("token", "")))
    wanted = spec.get("audiences") or [AUDIENCE]
    if user is None or AUDIENCE not in wanted:
        return {"user": {}, "error": "[invalid bearer token]"}
    account = {"username": user, "uid": user, "groups": ["system:authenticated"]}
    return {"authenticated": True, "user": account, "audiences": [AUDIENCE]}


def _access(spec: Json, users: Collection[str], readers: Collection[str]) -> Json:
    attributes = spec.get("resourceAttributes") or {}
    user, verb = spec.get("user"), attributes.get("verb")
    return {"allowed": user in users and (user not in readers or verb in _READING)}
