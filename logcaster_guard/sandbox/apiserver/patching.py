"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386). Both return a new document and leave the old one alone."""

from __future__ import annotations

from types import MappingProxyType

from jsonpatch import InvalidJsonPatch, JsonPatch, JsonPatchException, JsonPatchTestFailed, TestOperation
from jsonpointer import JsonPointerException

from logcaster_guard.sandbox.apiserver.errors import ApiError, bad_request, unprocessable
from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value, cloned

_MAX_OPERATIONS = 10_000


def merge_patch(document: Value, patch: Value) -> Value:
    """RFC 7386: null deletes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return cloned(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


class _Test(TestOperation):
    """As the real API server tests: what is missing is null."""

    def apply(self, obj: Value) -> Value:
        try:
            return super().apply(obj)
        except JsonPatchTestFailed:
            if self.operation["value"] is None and self.pointer.resolve(obj, None) is None:
                return obj
            raise


class _Patch(JsonPatch):
    operations = MappingProxyType({**JsonPatch.operations, "test": _Test})


def json_patch(document: Json, operations: Value) -> Json:
    """RFC 6902; raises `ApiError` 422 where an operation or a test fails, 400 where the patch is malformed."""
    if not isinstance(operations, list):
        raise bad_request("json patch: the patch must be a list of operations")
    if len(operations) > _MAX_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(operations)}",
        )
    try:
        patch = _Patch(operations)
    except (InvalidJsonPatch, JsonPointerException) as error:
        raise bad_request(f"json patch: {error}") from error
    try:
        patched = patch.apply(cloned(document), in_place=True)
    except (JsonPatchException, JsonPointerException) as error:
        raise unprocessable(f"json patch: {error}") from error
    if not isinstance(patched, dict) or any(operation["path"] == "" for operation in operations):
        raise unprocessable("json patch: the whole document cannot be replaced")
    return patched
