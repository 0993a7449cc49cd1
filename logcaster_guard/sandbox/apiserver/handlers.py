"""Answers to resource requests: each verb of the API on the stored objects."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from logcaster_guard.sandbox.apiserver.deletion import DeleteOptions
from logcaster_guard.sandbox.apiserver.errors import ApiError, bad_request, expired, unsupported_media
from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value, cloned
from logcaster_guard.sandbox.apiserver.merging import strategic_merge
from logcaster_guard.sandbox.apiserver.objects import Caller, Objects
from logcaster_guard.sandbox.apiserver.patching import json_patch, merge_patch
from logcaster_guard.sandbox.apiserver.resources import Resource
from logcaster_guard.sandbox.apiserver.routes import Route, is_true
from logcaster_guard.sandbox.apiserver.selectors import as_text, matcher
from logcaster_guard.sandbox.apiserver.store import Store

_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
APPLY_PATCH = "application/apply-patch+yaml"
_KEPT_PAGES = 100
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class Query:
    """The rest of a request: parameters, media type of the body, the body as JSON (None: there was none), caller."""

    parameters: Mapping[str, str]
    media_type: str
    body: Value
    caller: Caller


@dataclass(frozen=True, slots=True)
class Page:
    """What is left of a list that was begun, as it stood then."""

    items: list[Json]
    version: int


def parsed(raw: bytes) -> Value:
    """The body as JSON; raises `ApiError` 400."""

    def refuse(word: str) -> Value:
        raise ValueError(f"{word} is no JSON")

    try:
        return json.loads(raw, parse_constant=refuse)
    except (ValueError, RecursionError) as e:
        raise bad_request(f"the body of the request is no JSON: {e}") from e


def scale_of(item: Json) -> Json:
    """The autoscaling/v1 Scale of a Deployment or ReplicaSet."""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {k: item["metadata"][k] for k in kept},
        "spec": {"replicas": item["spec"]["replicas"]},
        "status": {
            "replicas": (item.get("status") or {}).get("replicas", 0),
            "selector": as_text(item["spec"]["selector"]),
        },
    }


def _resized(item: Json, scale: Json) -> Json:
    size = (scale.get("spec") or {}).get("replicas", 0)
    version = (scale.get("metadata") or {}).get("resourceVersion", item["metadata"]["resourceVersion"])
    metadata = {**item["metadata"], "resourceVersion": version}
    return {**item, "metadata": metadata, "spec": {**item["spec"], "replicas": size}}


class Handlers:
    """One method for each verb; each returns HTTP status and body, or raises `ApiError`."""

    def __init__(self, store: Store, objects: Objects) -> None:
        self._store = store
        self._objects = objects
        self._pages: dict[str, Page] = {}
        self._verbs: dict[str, Callable[[Route, Query], tuple[int, Json]]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
        }

    def answer(self, route: Route, query: Query) -> tuple[int, Json]:
        """Status and body for a request; watches are not answered here."""
        return self._verbs[route.verb](route, query)

    def _get(self, route: Route, _: Query) -> tuple[int, Json]:
        item = self._objects.get(route.resource, route.namespace, route.name)
        return 200, scale_of(item) if route.subresource == "scale" else item

    def _list(self, route: Route, query: Query) -> tuple[int, Json]:
        limit_text = query.parameters.get("limit") or "0"
        if not limit_text.isdigit():
            raise bad_request(f"limit must be a whole number, not {limit_text!r}")
        limit, token = int(limit_text), query.parameters.get("continue", "")
        labels, fields = query.parameters.get("labelSelector", ""), query.parameters.get("fieldSelector", "")
        if token:
            page = self._pages.pop(token, None)
            if page is None and not _TOKEN.fullmatch(token):
                raise bad_request("invalid continue token: it was not given out by this server")
            if page is None:
                raise expired("The provided continue parameter is too old to display a consistent list result.")
        else:
            matches = matcher(route.resource, labels, fields)
            version = _exact_version(query) or self._store.version
            known = self._store.items_at(version, route.resource, route.namespace)
            page = Page([item for item in known if matches(item)], version)
        metadata: Json = {"resourceVersion": str(page.version)}
        shown = page.items
        if limit and len(shown) > limit:
            rest, shown = shown[limit:], shown[:limit]
            metadata["continue"] = self._keep_page(Page(rest, page.version))
            if not labels and not fields:
                metadata["remainingItemCount"] = len(rest)
        kind = f"{route.resource.kind}List"
        return 200, {"kind": kind, "apiVersion": route.resource.api_version, "metadata": metadata, "items": shown}

    def _keep_page(self, page: Page) -> str:
        token = secrets.token_urlsafe(16)
        self._pages[token] = page
        while len(self._pages) > _KEPT_PAGES:
            del self._pages[next(iter(self._pages))]
        return token

    def _create(self, route: Route, query: Query) -> tuple[int, Json]:
        body = _body(query)
        if route.subresource == "binding":
            self._objects.bind(route.resource, route.namespace, route.name, body, query.caller)
            return 201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return 201, self._objects.create(route.resource, route.namespace, body, query.caller)

    def _update(self, route: Route, query: Query) -> tuple[int, Json]:
        body = _body(query)
        if route.subresource == "scale":
            item = self._objects.get(route.resource, route.namespace, route.name)
            return 200, scale_of(self._write(route, query, _resized(item, body)))
        item, created = self._objects.update(
            route.resource, route.namespace, route.name, body, query.caller, subresource=route.subresource
        )
        return (201 if created else 200), item

    def _write(self, route: Route, query: Query, item: Json) -> Json:
        return self._objects.update(
            route.resource, route.namespace, route.name, item, query.caller, subresource=route.subresource
        )[0]

    def _apply(self, route: Route, query: Query) -> tuple[int, Json]:
        """Server-side apply: of whole objects only, and of kinds whose lists are known."""
        if route.subresource or route.resource.custom:
            raise unsupported_media(query.media_type, _PATCHES[:2])
        if not query.parameters.get("fieldManager"):
            raise _bad_option("fieldManager", "FieldValueRequired", "Required value: is required for apply patch")
        item, created = self._objects.apply(
            route.resource,
            route.namespace,
            route.name,
            _configuration(route.resource, query.body),
            query.caller,
            force=is_true(query.parameters.get("force")),
        )
        return (201 if created else 200), item

    def _patch(self, route: Route, query: Query) -> tuple[int, Json]:
        if query.media_type == APPLY_PATCH:
            return self._apply(route, query)
        if "force" in query.parameters:
            raise _bad_option("force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch")
        change = _patcher(route.resource, query)
        if route.subresource == "scale":
            item = self._objects.get(route.resource, route.namespace, route.name)
            return 200, scale_of(self._write(route, query, _resized(item, change(scale_of(item)))))
        return 200, self._objects.patch(
            route.resource, route.namespace, route.name, change, query.caller, subresource=route.subresource
        )

    def _delete(self, route: Route, query: Query) -> tuple[int, Json]:
        options = _delete_options(query)
        item, gone = self._objects.delete(
            route.resource, route.namespace, route.name, options, dry_run=query.caller.dry_run
        )
        if route.resource.returns_deleted or not gone:
            return 200, item
        details = {"name": route.name, "kind": route.resource.plural, "uid": item["metadata"]["uid"]}
        if route.resource.group:
            details["group"] = route.resource.group
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return 200, status


def _exact_version(query: Query) -> int | None:
    """The state that a list is asked for; None where it is not that of one resourceVersion."""
    if query.parameters.get("resourceVersionMatch") != "Exact":
        return None
    version = query.parameters.get("resourceVersion", "")
    if "continue" in query.parameters:
        raise bad_request("resourceVersionMatch is forbidden when continue is provided")
    if not version.isdigit():
        raise bad_request(f"Invalid resource version: {version!r}")
    return int(version)


def _body(query: Query) -> Json:
    if query.media_type not in {"application/json", ""}:
        raise unsupported_media(query.media_type, ["application/json"])
    if not isinstance(query.body, dict):
        raise bad_request("the body of the request must be a JSON object")
    found: Json = query.body
    return found


def _bad_option(field: str, reason: str, message: str) -> ApiError:
    """422: what a PATCH asks for besides its body."""
    details: Json = {"group": "meta.k8s.io", "kind": "PatchOptions"}
    details["causes"] = [{"reason": reason, "message": message, "field": field}]
    return ApiError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {field}: {message}', details)


def _configuration(resource: Resource, body: Value) -> Json:
    """The body of an apply; raises `ApiError` 400 where it is no object of that kind, or says who owns what."""
    if not isinstance(body, dict):
        raise bad_request("error decoding YAML: only an object, written as JSON, is read here")
    found: Json = body
    if (found.get("apiVersion"), found.get("kind")) != (resource.api_version, resource.kind):
        group, _, version = str(found.get("apiVersion") or "").rpartition("/")
        raise bad_request(f"invalid object type: {group}/{version}, Kind={found.get('kind') or ''}")
    if (found.get("metadata") or {}).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    return found


def _patcher(resource: Resource, query: Query) -> Callable[[Json], Json]:
    if query.media_type == "application/json-patch+json":
        return partial(json_patch, operations=query.body)
    if query.media_type == "application/merge-patch+json":
        if not isinstance(query.body, dict):
            raise bad_request("merge patch: the patch must be an object")
        return partial(merge_patch, patch=query.body)
    if query.media_type == "application/strategic-merge-patch+json" and not resource.custom:
        patch = query.body
        return lambda item: strategic_merge(resource.kind, cloned(item), patch)
    raise unsupported_media(query.media_type, _PATCHES[:2] if resource.custom else _PATCHES)


def _delete_options(query: Query) -> DeleteOptions:
    body = query.body or {}
    if not isinstance(body, dict):
        raise bad_request("DeleteOptions must be a JSON object")
    preconditions = body.get("preconditions") or {}
    propagation = query.parameters.get("propagationPolicy") or body.get("propagationPolicy")
    if body.get("orphanDependents") is not None or "orphanDependents" in query.parameters:
        orphan = body.get("orphanDependents") or is_true(query.parameters.get("orphanDependents"))
        propagation = "Orphan" if orphan else "Background"
    grace = query.parameters.get("gracePeriodSeconds") or body.get("gracePeriodSeconds")
    try:
        seconds = None if grace is None else int(grace)
    except (TypeError, ValueError) as e:
        raise bad_request(f"gracePeriodSeconds must be a whole number, not {grace!r}") from e
    if not isinstance(preconditions, dict):
        raise ApiError(400, "BadRequest", "preconditions must be a JSON object")
    return DeleteOptions(seconds, propagation, preconditions.get("uid"), preconditions.get("resourceVersion"))
