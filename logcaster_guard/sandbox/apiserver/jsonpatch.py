"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386). Both return a new document and leave the old one alone."""

from __future__ import annotations

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


def _tokens(pointer: Value) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise bad_request(f"json patch: {pointer!r} is no JSON pointer")
    return [t.replace("~1", "/").replace("~0", "~") for t in pointer.split("/")[1:]]


def _index(token: str, size: int, pointer: str) -> int:
    if not token.isdigit() or int(token) >= size:
        raise unprocessable(f"json patch: path {pointer!r}: index {token!r} is out of bounds of a list of {size}")
    return int(token)


def _step(container: Value, token: str, pointer: str) -> Value:
    if isinstance(container, dict) and token in container:
        return container[token]
    if isinstance(container, list):
        return container[_index(token, len(container), pointer)]
    raise unprocessable(f"json patch: path {pointer!r} does not exist: missing {token!r}")


def _resolve(document: Value, pointer: str) -> Value:
    for token in _tokens(pointer):
        document = _step(document, token, pointer)
    return document


def _parent(document: Value, pointer: str) -> tuple[Value, str]:
    tokens = _tokens(pointer)
    if not tokens:
        raise unprocessable("json patch: the whole document cannot be replaced")
    for token in tokens[:-1]:
        document = _step(document, token, pointer)
    if not isinstance(document, dict | list):
        raise unprocessable(f"json patch: path {pointer!r} leads into a plain value")
    return document, tokens[-1]


def _add(document: Value, pointer: str, value: Value) -> None:
    container, last = _parent(document, pointer)
    if isinstance(container, dict):
        container[last] = value
    elif last == "-":
        container.append(value)
    else:
        container.insert(_index(last, len(container) + 1, pointer), value)


def _remove(document: Value, pointer: str) -> Value:
    container, last = _parent(document, pointer)
    if isinstance(container, dict):
        if last not in container:
            raise unprocessable(f"json patch: unable to remove nonexistent key: {last!r} of {pointer!r}")
        return container.pop(last)
    return container.pop(_index(last, len(container), pointer))


def _replace(document: Value, pointer: str, value: Value) -> None:
    container, last = _parent(document, pointer)
    _step(container, last, pointer)
    if isinstance(container, dict):
        container[last] = value
    else:
        container[int(last)] = value


def _same(left: Value, right: Value) -> bool:
    """JSON equality: true is not 1, as Python has it."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(v, right[k]) for k, v in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _test(document: Value, pointer: str, value: Value) -> None:
    try:
        found = _resolve(document, pointer)
    except ApiError as e:
        if value is None:
            return
        raise unprocessable(f"testing path {pointer} failed: it does not exist") from e
    if not _same(found, value):
        raise unprocessable(f"testing value {pointer} failed")


def _apply(document: Value, operation: Value) -> None:
    if not isinstance(operation, dict) or "op" not in operation or "path" not in operation:
        raise bad_request("json patch: each operation needs op and path")
    pointer, value = operation["path"], cloned(operation.get("value"))
    if operation["op"] in {"add", "replace", "test"} and "value" not in operation:
        raise unprocessable(f"json patch: operation {operation['op']} of {pointer!r} has no value")
    match operation["op"]:
        case "add":
            _add(document, pointer, value)
        case "remove":
            _remove(document, pointer)
        case "replace":
            _replace(document, pointer, value)
        case "test":
            _test(document, pointer, value)
        case "move":
            _add(document, pointer, _remove(document, str(operation.get("from"))))
        case "copy":
            _add(document, pointer, cloned(_resolve(document, str(operation.get("from")))))
        case other:
            raise bad_request(f"json patch: {other!r} is no operation")


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
    patched: Json = cloned(document)
    for operation in operations:
        _apply(patched, operation)
    return patched
