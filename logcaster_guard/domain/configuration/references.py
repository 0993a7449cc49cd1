"""What a pod template refers to: ConfigMaps and Secrets, which keys of them, and when a container reads them.

Left out, because nothing of them can be put back or ordered: imagePullSecrets, projected service-account tokens and
certificates, the downward API, CSI and other drivers' Secrets. A volume that no container mounts is read by nobody, and
the kubelet does not look for it. The guard's own container is no part of a release.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from posixpath import normpath
from typing import Any

from logcaster_guard.domain.sidecar import without_guard

Json = Mapping[str, Any]

POD = ""
"""In the place of a container: the pod as a whole."""


class ConfigKind(StrEnum):
    """Kinds that hold configuration."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"  # noqa: S105 - the name of a kind


class ReadAt(StrEnum):
    """When a container reads what a reference names.

    A container that is started again reads its environment from the API; a subPath, and whatever an init container
    mounts, it reads from the pod's volume, which the kubelet brings up to date only after a while.
    """

    START = "start"
    START_FROM_VOLUME = "start, from a volume"
    WHENEVER = "whenever it changes"


@dataclass(frozen=True, slots=True, order=True)
class ConfigObject:
    """A ConfigMap or Secret by name. Pods refer only to objects of their own namespace."""

    kind: ConfigKind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ConfigReference:
    """What one container reads of an object.

    `keys` are those it reads, None for all; at a subPath there may be none. `prefix` is that of envFrom.
    `binary`: a key of `binaryData` is read as well, which no environment variable can be. Unless it is `optional`, the
    object and the keys in `needed` must be there: without them the container does not start, and a volume stays as it
    is.
    """

    object: ConfigObject
    container: str
    read_at: ReadAt
    keys: tuple[str, ...] | None = None
    needed: tuple[str, ...] = ()
    optional: bool = False
    prefix: str = ""
    binary: bool = True


def references_of(template: Json, namespace: str) -> tuple[ConfigReference, ...]:
    """All references of a pod template (or of a pod), each once, in the order in which they stand there."""
    spec = without_guard(template).get("spec") or {}
    found: list[ConfigReference] = []
    volumes = {str(v.get("name")): v for v in spec.get("volumes") or []}
    for container, once in _containers(spec):
        name = str(container.get("name"))
        found += _environment(container, name, namespace)
        for mount in container.get("volumeMounts") or []:
            volume = volumes.get(str(mount.get("name")), {})
            found += _mount(mount, volume, name, namespace, once=once)
    return tuple(dict.fromkeys(found))


def named_in_settings(object: ConfigObject) -> ConfigReference:  # noqa: A002 - as the field is called
    """An object that the pods read by themselves: all of it, at any time, and it need not be there."""
    return ConfigReference(object, POD, ReadAt.WHENEVER, None, optional=True)


def objects_of(references: Iterable[ConfigReference]) -> tuple[ConfigObject, ...]:
    """The objects that are referred to, each once, in a fixed order."""
    return tuple(sorted({r.object for r in references}))


@dataclass(frozen=True, slots=True)
class _Projection:
    """An object in a volume. `items` are keys and their paths there; without any, each key is a file of its name."""

    object: ConfigObject
    items: tuple[tuple[str, str], ...]
    optional: bool

    @property
    def needed(self) -> tuple[str, ...]:
        return tuple(sorted({key for key, _ in self.items}))

    def keys_at(self, path: str) -> tuple[str, ...] | None:
        """The keys that are found at `path` of the volume; `.` is its root."""
        if path == ".":
            return self.needed or None
        if not self.items:
            return (path,)
        return tuple(sorted({key for key, at in self.items if at == path or at.startswith(f"{path}/")}))


def _containers(spec: Json) -> Iterator[tuple[Json, bool]]:
    """Each container, and whether it is over before the pod is Ready: it reads its volumes once then."""
    for container in spec.get("initContainers") or []:
        yield container, container.get("restartPolicy") != "Always"
    for field in ("containers", "ephemeralContainers"):
        for container in spec.get(field) or []:
            yield container, False


def _environment(container: Json, name: str, namespace: str) -> Iterator[ConfigReference]:
    variables = [variable.get("valueFrom") or {} for variable in container.get("env") or []]
    for reference, found in _sources(variables, namespace, "configMapKeyRef", "secretKeyRef"):
        keys, optional = (str(reference.get("key")),), bool(reference.get("optional"))
        yield ConfigReference(found, name, ReadAt.START, keys, keys, optional, binary=False)
    for source in container.get("envFrom") or []:
        prefix = str(source.get("prefix") or "")
        for reference, found in _sources([source], namespace, "configMapRef", "secretRef"):
            optional = bool(reference.get("optional"))
            yield ConfigReference(found, name, ReadAt.START, None, (), optional, prefix, binary=False)


def _sources(
    sources: Iterable[Json], namespace: str, config_map: str, secret: str
) -> Iterator[tuple[Json, ConfigObject]]:
    """What the sources refer to under these names of fields, and which object that is."""
    for source in sources:
        for kind, field in ((ConfigKind.CONFIG_MAP, config_map), (ConfigKind.SECRET, secret)):
            reference = source.get(field) or {}
            name = reference.get("name") or reference.get("secretName")
            if name:
                yield reference, ConfigObject(kind, namespace, str(name))


def _mount(mount: Json, volume: Json, container: str, namespace: str, *, once: bool) -> Iterator[ConfigReference]:
    part = mount.get("subPath") or mount.get("subPathExpr")
    read_at = ReadAt.START_FROM_VOLUME if part or once else ReadAt.WHENEVER
    path = normpath(str(mount.get("subPath") or "."))
    for source in _projections(volume, namespace):
        yield ConfigReference(
            source.object, container, read_at, source.keys_at(path), source.needed, source.optional
        )  # fmt: skip


def _projections(volume: Json, namespace: str) -> Iterator[_Projection]:
    sources = [volume, *((volume.get("projected") or {}).get("sources") or [])]
    for reference, found in _sources(sources, namespace, "configMap", "secret"):
        items = tuple((str(i.get("key")), normpath(str(i.get("path")))) for i in reference.get("items") or [])
        yield _Projection(found, items, bool(reference.get("optional")))
