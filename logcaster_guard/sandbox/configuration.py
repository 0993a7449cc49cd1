"""What pods read of ConfigMaps and Secrets, as a kubelet gives it to them.

Environment variables, and files that are mounted by `subPath`, are read when a container starts. Other volumes follow
an edit some seconds later. An object that is immutable is looked at once: as long as any pod on the node refers to it,
it stays what it was, even if it is deleted and made again under its name.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from logcaster_guard.sandbox.client import ApiRefused, Client, Json

CONFIG_MAP, SECRET = "ConfigMap", "Secret"
_PLURALS = {CONFIG_MAP: "configmaps", SECRET: "secrets"}
_VOLUMES = {"configMap": (CONFIG_MAP, "name"), "secret": (SECRET, "secretName")}
_PROJECTED = {"configMap": CONFIG_MAP, "secret": SECRET}
_VERSIONS_KEPT = 32


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A ConfigMap or Secret that a pod refers to."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a container's `env`: its value, or else the key that it is taken from."""

    name: str
    value: str = ""
    source: Source | None = None
    key: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Import:
    """An entry of a container's `envFrom`."""

    source: Source
    prefix: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Part:
    """One source of a volume. `items` are pairs of key and path; empty for every key under its own name."""

    volume: str
    source: Source
    items: tuple[tuple[str, str], ...]
    optional: bool


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a container mounts a volume; with `sub_path` it gets what is there when it starts, for good."""

    volume: str
    sub_path: str


@dataclass(frozen=True, slots=True)
class Container:
    """What a container refers to."""

    name: str
    variables: tuple[Variable, ...]
    imports: tuple[Import, ...]
    mounts: tuple[Mount, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read of an object; version and digest are empty where it was absent."""

    source: Source
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Read:
    """What a container read at one of its starts on the node, the `number`th, at a monotonic second.

    `seen` it has for as long as it runs; `mounted` is what its other volumes held then.
    """

    pod: str
    uid: str
    container: str
    number: int
    at: float
    seen: tuple[Seen, ...]
    mounted: tuple[Seen, ...]


class Missing(Exception):
    """Why the kubelet does not start a pod's containers: the reason in the state of one of them, or of all."""

    def __init__(self, reason: str, message: str, container: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.container = container


def data_digest(item: Mapping[str, Any]) -> str:
    """The digest of what a ConfigMap or Secret holds."""
    held = [item.get("data") or {}, item.get("binaryData") or {}]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


@dataclass(slots=True)
class _Versions:
    """An object over time: each state, None for none, with the second from which on the node knew it."""

    states: list[tuple[float, Json | None]] = field(default_factory=list)

    def note(self, now: float, item: Json | None) -> None:
        if self.states and _version(self.states[-1][1]) == _version(item):
            return
        self.states = [*self.states[1 - _VERSIONS_KEPT :], (now, item)]

    @property
    def present(self) -> Json | None:
        return self.states[-1][1]

    def by(self, second: float) -> Json | None:
        """The last state that the node knew by then, if that is not a deletion."""
        known = [item for since, item in self.states if since <= second]
        return known[-1] if known else None


class ConfigObjects:
    """The objects that pods on the node refer to. `propagation` is how many seconds volumes lie behind.

    `reads` is what every container has read at its starts, pods that are gone included.
    """

    def __init__(self, client: Client, namespace: str, propagation: float) -> None:
        self.reads: list[Read] = []
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}"
        self.namespace = namespace
        self._propagation = propagation
        self._known: dict[Source, _Versions] = {}

    async def look(self, sources: frozenset[Source], now: float) -> None:
        """Take over what the API shows of these objects; what nobody refers to any more is forgotten."""
        self._known = {source: versions for source, versions in self._known.items() if source in sources}
        for source in sorted(sources):
            versions = self._known.setdefault(source, _Versions())
            if not (versions.states and (versions.present or {}).get("immutable")):
                versions.note(now, await self._get(source))

    async def _get(self, source: Source) -> Json | None:
        try:
            return await self._client.get(f"{self._path}/{_PLURALS[source.kind]}/{source.name}")
        except ApiRefused as refusal:
            if refusal.status != 404:
                raise
            return None

    def knows(self, source: Source) -> bool:
        """Whether the node has looked at it."""
        return source in self._known

    def present(self, source: Source) -> Json | None:
        """The object as a container that starts now reads it."""
        return self._known[source].present

    def propagated(self, source: Source, now: float) -> Json | None:
        """The object as volumes may show it by now; None where it is not there, or not yet."""
        return self._known[source].by(now - self._propagation) if source in self._known else None


class PodConfig:
    """What one pod reads; made by `config_of`."""

    def __init__(self, pod: Mapping[str, Any], objects: ConfigObjects) -> None:
        spec = pod["spec"]
        self._name, self._uid = str(pod["metadata"]["name"]), str(pod["metadata"]["uid"])
        self._objects = objects
        self._init = tuple(map(_container, spec.get("initContainers") or []))
        self._containers = tuple(map(_container, spec.get("containers") or []))
        self._parts = tuple(_parts(spec.get("volumes") or []))
        self._mounted: dict[Part, Json | None] = {}
        self._sub_paths: dict[str, dict[str, str]] = {}
        self._environments: dict[str, dict[str, str]] = {}
        self.sources = frozenset(_sources(self._init + self._containers, self._parts))

    def start(self, number: int, now: float) -> None:
        """All containers of the pod start for the `number`th time; raises `Missing` where one cannot."""
        if not all(map(self._objects.knows, self.sources)):
            raise Missing("ContainerCreating", "")
        first = number == 1
        mounted = {part: self._to_mount(part) for part in self._parts} if first else self._mounted
        starting = (self._init if first else ()) + self._containers
        environments = {c.name: self._environment(c) for c in starting}
        self._mounted, self._environments = mounted, environments
        self._sub_paths = {c.name: dict(self._sub_files(c)) for c in self._containers}
        for container in starting:
            seen, shown = tuple(self._seen(container)), tuple(self._shown(container))
            if seen or shown:
                self._objects.reads.append(Read(self._name, self._uid, container.name, number, now, seen, shown))

    def follow(self, now: float) -> None:
        """Volumes show what has come through by now."""
        for part in self._mounted:
            item = self._objects.propagated(part.source, now)
            # A volume keeps its files where they cannot be made anew.
            if item is not None and not (_absent_keys(part, item) and not part.optional):
                before = self._mounted[part]
                if before is None or int(_version(item)) > int(_version(before)):
                    self._mounted[part] = item

    def volumes(self) -> dict[str, tuple[Seen, ...]]:
        """What the volumes hold now, by name."""
        found: dict[str, tuple[Seen, ...]] = {}
        for part, item in self._mounted.items():
            found[part.volume] = (*found.get(part.volume, ()), _seen_of(part.source, item))
        return found

    def settings(self, container: str) -> dict[str, str]:
        """What a process in that container finds: files by their names, and over them its environment."""
        found: dict[str, str] = {}
        for mount in next((c.mounts for c in self._containers if c.name == container), ()):
            if not mount.sub_path:
                found |= {path.rpartition("/")[2]: text for path, text in self._files(mount.volume).items()}
        return found | self._sub_paths.get(container, {}) | self._environments.get(container, {})

    def _to_mount(self, part: Part) -> Json | None:
        item = self._objects.present(part.source)
        kind, name = part.source.kind.lower(), part.source.name
        cause = ""
        if item is None:
            cause = f'{kind} "{name}" not found'
        elif absent := _absent_keys(part, item):
            words = "config key" if part.source.kind == CONFIG_MAP else "secret key"
            cause = f"references non-existent {words}: {absent[0]}"
        if cause and not part.optional:
            raise Missing("ContainerCreating", f'MountVolume.SetUp failed for volume "{part.volume}" : {cause}')
        return item

    def _environment(self, container: Container) -> dict[str, str]:
        found: dict[str, str] = {}
        for each in container.imports:
            # The names are not checked: since v1.34 any key of an object may name a variable.
            texts = self._texts(container, each.source, optional=each.optional)
            found |= {each.prefix + key: text for key, text in texts.items()}
        for variable in container.variables:
            if variable.source is None:
                found[variable.name] = variable.value
                continue
            texts = self._texts(container, variable.source, optional=variable.optional)
            if variable.key in texts:
                found[variable.name] = texts[variable.key]
            elif not variable.optional:
                kind, name = variable.source.kind, variable.source.name
                told = f"couldn't find key {variable.key} in {kind} {self._objects.namespace}/{name}"
                raise Missing("CreateContainerConfigError", told, container.name)
        return found

    def _texts(self, container: Container, source: Source, *, optional: bool) -> dict[str, str]:
        """What of an object can be a variable: a ConfigMap's text, all of a Secret."""
        item = self._objects.present(source)
        if item is None and not optional:
            told = f'{source.kind.lower()} "{source.name}" not found'
            raise Missing("CreateContainerConfigError", told, container.name)
        held = (item or {}).get("data") or {}
        return {k: _decoded(v) for k, v in held.items()} if source.kind == SECRET else dict(held)

    def _files(self, volume: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for part, item in self._mounted.items():
            if part.volume == volume and item is not None:
                held = _held(item)
                items = part.items or tuple((key, key) for key in held)
                found |= {path: held[key] for key, path in items if key in held}
        return found

    def _sub_files(self, container: Container) -> Iterator[tuple[str, str]]:
        for mount in container.mounts:
            files = self._files(mount.volume) if mount.sub_path else {}
            if mount.sub_path in files:
                yield mount.sub_path.rpartition("/")[2], files[mount.sub_path]

    def _seen(self, container: Container) -> Iterator[Seen]:
        """What the container reads as it starts, each object once."""
        variables = {v.source for v in container.variables if v.source is not None}
        for source in sorted(variables | {i.source for i in container.imports}):
            yield _seen_of(source, self._objects.present(source))
        volumes = {m.volume for m in container.mounts if m.sub_path}
        yield from (_seen_of(p.source, item) for p, item in self._mounted.items() if p.volume in volumes)

    def _shown(self, container: Container) -> Iterator[Seen]:
        """What the volumes hold that it mounts whole."""
        volumes = {m.volume for m in container.mounts if not m.sub_path}
        yield from (_seen_of(p.source, item) for p, item in self._mounted.items() if p.volume in volumes)


def config_of(pod: Mapping[str, Any], objects: ConfigObjects) -> PodConfig | None:
    """What the pod reads; None if it refers to no ConfigMap and to no Secret."""
    spec = pod["spec"]
    refers = any(
        "envFrom" in c or any("valueFrom" in v for v in c.get("env") or [])
        for c in (*(spec.get("initContainers") or []), *(spec.get("containers") or []))
    )
    if not refers and not spec.get("volumes"):
        return None
    config = PodConfig(pod, objects)
    return config if config.sources else None


def _container(container: Mapping[str, Any]) -> Container:
    mounts = tuple(Mount(str(m["name"]), str(m.get("subPath", ""))) for m in container.get("volumeMounts") or [])
    imports = tuple(_imports(container.get("envFrom") or []))
    return Container(str(container["name"]), tuple(map(_variable, container.get("env") or [])), imports, mounts)


def _variable(variable: Mapping[str, Any]) -> Variable:
    source = variable.get("valueFrom") or {}
    for name, kind in (("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET)):
        if name in source:
            taken = source[name]
            optional = bool(taken.get("optional"))
            return Variable(str(variable["name"]), "", Source(kind, str(taken["name"])), str(taken["key"]), optional)
    return Variable(str(variable["name"]), str(variable.get("value", "")))


def _imports(entries: Iterable[Mapping[str, Any]]) -> Iterator[Import]:
    for entry in entries:
        for name, kind in (("configMapRef", CONFIG_MAP), ("secretRef", SECRET)):
            if name in entry:
                source = Source(kind, str(entry[name]["name"]))
                yield Import(source, str(entry.get("prefix", "")), bool(entry[name].get("optional")))


def _parts(volumes: Iterable[Mapping[str, Any]]) -> Iterator[Part]:
    for volume in volumes:
        name = str(volume["name"])
        for key, (kind, named) in _VOLUMES.items():
            if key in volume:
                yield _part(name, kind, volume[key], named)
        for projected in (volume.get("projected") or {}).get("sources") or []:
            for key, kind in _PROJECTED.items():
                if key in projected:
                    yield _part(name, kind, projected[key], "name")


def _part(volume: str, kind: str, source: Mapping[str, Any], named: str) -> Part:
    items = tuple((str(i["key"]), str(i["path"])) for i in source.get("items") or [])
    return Part(volume, Source(kind, str(source[named])), items, bool(source.get("optional")))


def _sources(containers: Iterable[Container], parts: Iterable[Part]) -> Iterator[Source]:
    for container in containers:
        yield from (i.source for i in container.imports)
        yield from (v.source for v in container.variables if v.source is not None)
    yield from (part.source for part in parts)


def _held(item: Json) -> dict[str, str]:
    """The files that an object makes, as text."""
    data = item.get("data") or {}
    if item.get("kind") == SECRET:
        return {k: _decoded(v) for k, v in data.items()}
    return {**data, **{k: _decoded(v) for k, v in (item.get("binaryData") or {}).items()}}


def _absent_keys(part: Part, item: Json) -> list[str]:
    held = _held(item) if part.items else {}
    return [key for key, _ in part.items if key not in held]


def _decoded(value: str) -> str:
    return base64.b64decode(value).decode(errors="replace")


def _version(item: Json | None) -> str:
    return "" if item is None else str(item["metadata"]["resourceVersion"])


def _seen_of(source: Source, item: Json | None) -> Seen:
    return Seen(source, _version(item), "" if item is None else data_digest(item))
