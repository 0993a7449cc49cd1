"""Refusals, told as Kubernetes `Status` objects."""

from __future__ import annotations

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


def already_exists(resource: Resource, name: str) -> ApiError:
    """409: the name is taken."""
    return ApiError(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', _details(resource, name))


def conflict(resource: Resource, name: str, cause: str) -> ApiError:
    """409: the object is not in the state that the request names."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {cause}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def stale(resource: Resource, name: str) -> ApiError:
    """409: the request names an older resourceVersion."""
    cause = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, cause)


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """422: fields that may not be so."""
    told = [f"{c.field}: {c.message}" for c in causes]
    joined = told[0] if len(told) == 1 else "[" + ", ".join(told) + "]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    items = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    named = {"name": name, "group": resource.group, "kind": resource.kind}
    details: Json = {**{k: v for k, v in named.items() if v}, "causes": items}
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {joined}', details)


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
