"""Refusals, told as Kubernetes `Status` objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.resources import Resource


@dataclass(frozen=True, slots=True)
class Cause:
    """Why one field was refused: `reason` is Kubernetes' word, such as FieldValueInvalid."""

    field: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that another manager owns, by its entry in `managedFields`."""

    owner: Json
    field: str

    @property
    def manager(self) -> str:
        """The owner in messages."""
        subresource = self.owner.get("subresource")
        through = f' with subresource "{subresource}"' if subresource else ""
        using = f" using {self.owner['apiVersion']}" if self.owner["operation"] == "Update" else ""
        return f'"{self.owner["manager"]}"{through}{using}'


class ApiError(Exception):
    """A request that is refused with HTTP status `code` and Kubernetes' `reason`."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Json:
        """The `Status` object that tells the client."""
        body: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return body


def _details(resource: Resource, name: str, **more: object) -> Json:
    found: Json = {"name": name, "kind": resource.plural}
    if resource.group:
        found["group"] = resource.group
    return {**found, **more}


def not_found(resource: Resource, name: str) -> ApiError:
    """404: no such object."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def no_such_path() -> ApiError:
    """404: nothing is served under that path."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: Resource, name: str, *, deleting: bool = False) -> ApiError:
    """409: the name is taken, perhaps by what is being deleted."""
    cause = "object is being deleted: " if deleting else ""
    message = f'{cause}{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, cause: str) -> ApiError:
    """409: the object is not in the state that the request names."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {cause}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def stale(resource: Resource, name: str) -> ApiError:
    """409: the request names an older resourceVersion."""
    cause = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, cause)


def apply_conflict(conflicts: Sequence[FieldConflict]) -> ApiError:
    """409: other managers own what an apply would change."""
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {c.manager}", "field": c.field} for c in conflicts
    ]
    if len(conflicts) == 1:
        joined = f"1 conflict: {causes[0]['message']}: {conflicts[0].field}"
    else:
        lines: list[str] = []
        for manager in sorted({c.manager for c in conflicts}):
            lines += [f"conflicts with {manager}:", *(f"- {c.field}" for c in conflicts if c.manager == manager)]
        joined = f"{len(conflicts)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", f"Apply failed with {joined}", {"causes": causes})


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """422: fields that may not be so."""
    told = [f"{c.field}: {c.message}" for c in causes]
    joined = told[0] if len(told) == 1 else "[" + ", ".join(told) + "]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    items = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    named = {"name": name, "group": resource.group, "kind": resource.kind}
    details: Json = {**{k: v for k, v in named.items() if v}, "causes": items}
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {joined}', details)


class UndecodableBody(ApiError):
    """400: what the body holds is of the wrong type, or is no base64."""

    def __init__(self, resource: Resource, cause: str) -> None:
        kind, version = resource.kind, resource.version
        super().__init__(400, "BadRequest", f'{kind} in version "{version}" cannot be handled as a {kind}: {cause}')
        self.cause = cause


def undecodable_patch(patched: Json, cause: str) -> ApiError:
    """422 where a patch makes something undecodable. As on the real server, the message holds the whole object."""
    whole = json.dumps(json.dumps(patched, separators=(",", ":"), sort_keys=True))
    message = f"Invalid value: {whole}: {cause}"
    causes = [{"reason": "FieldValueInvalid", "message": message, "field": "patch"}]
    return ApiError(422, "Invalid", f' "" is invalid: patch: {message}', {"causes": causes})


def undecodable_apply(resource: Resource, name: str, cause: str) -> ApiError:
    """500 where what is applied is undecodable, as on the real server."""
    about = f"{resource.api_version}, Kind={resource.kind}"
    return ApiError(500, "", f"failed to convert new object (/{name}; /{about}) to proper version: {cause}")


def unprocessable(cause: str) -> ApiError:
    """422: a patch that is well-formed but cannot be applied. As on the real server, the client is not told why."""
    error = ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})
    error.add_note(cause)
    return error


def bad_request(message: str) -> ApiError:
    """400: the request cannot be understood."""
    return ApiError(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, cause: str, details: Json | None = None) -> ApiError:
    """403: understood and not allowed."""
    message = f'{resource.qualified} "{name}" is forbidden: {cause}'
    return ApiError(403, "Forbidden", message, _details(resource, name, **(details or {})))


def unauthorized() -> ApiError:
    """401: no known bearer token."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def method_not_allowed(message: str) -> ApiError:
    """405: the resource has no such verb here."""
    return ApiError(405, "MethodNotAllowed", message, {})


def unsupported_media(found: str, allowed: Sequence[str]) -> ApiError:
    """415: a body in a format that this server does not read."""
    message = (
        f"the body of the request was in an unknown format ({found or 'none named'}) - "
        f"accepted media types include: {', '.join(allowed)}"
    )
    return ApiError(415, "UnsupportedMediaType", message)


def expired(message: str) -> ApiError:
    """410: the history asked for is no longer kept."""
    return ApiError(410, "Expired", message)
