"""What a release does once it runs: the process inside a pod, told by its image.

A `Releases` table is the scenario's hand on the world. It may be changed while pods run; what they do follows at once.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

HEALTH_PORT = 9998
TRAFFIC_PORT = 9999
MIB = 1024.0 * 1024.0
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0)
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How every pod of an image behaves.

    Attributes:
        error_rate: share of the traffic that is answered 500, 0 to 1.
        latency: seconds until traffic is answered; each request takes 0.8 to 1.2 times as long.
        memory: resident bytes after the start.
        memory_growth: further bytes a second; above the container's limit the process is killed.
        healthy: whether `/health` answers 200; 503 otherwise.
        ready: whether the readiness probe passes.
        crash_every: seconds after which the process exits with an error; None if it never does.
        startup: seconds from the start of the process until it listens and can be ready.
        pullable: whether a node gets the image at all.
        held_up: reason and message with which the kubelet never starts the container; empty where it does.
    """

    error_rate: float = 0.0
    latency: float = 0.01
    memory: float = 64 * MIB
    memory_growth: float = 0.0
    healthy: bool = True
    ready: bool = True
    crash_every: float | None = None
    startup: float = 0.0
    pullable: bool = True
    held_up: tuple[str, ...] = ()

    @property
    def waits_for(self) -> tuple[str, ...]:
        """What the kubelet says of a container that it cannot start."""
        absent = ("ImagePullBackOff", "Back-off pulling image: ErrImagePull: rpc error: code = NotFound: not found")
        return self.held_up if self.pullable else absent


Overrides = Mapping[str, Any]
"""Fields of a `Behaviour` that a process has of its settings."""

NO_OVERRIDES: Overrides = MappingProxyType({})
BROKEN: Overrides = MappingProxyType({"crash_every": 0.0, "startup": math.inf})
"""Of a process that ends at its start."""


def _share(text: str) -> float:
    share = float(text)
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"{text} is no share from 0 to 1")
    return share


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.0 <= seconds < math.inf:
        raise ValueError(f"{text} is no number of seconds")
    return seconds


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text]


_SETTINGS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "ERROR_RATE": ("error_rate", _share),
    "LATENCY": ("latency", _seconds),
    "CRASH_EVERY": ("crash_every", _seconds),
    "HEALTHY": ("healthy", _flag),
    "READY": ("ready", _flag),
}


def overrides_of(settings: Mapping[str, str]) -> Overrides:
    """What a process does differently by its environment and its files; one of a value that it cannot read ends."""
    found: dict[str, Any] = {}
    for name in _SETTINGS.keys() & settings.keys():
        field, read = _SETTINGS[name]
        try:
            found[field] = read(settings[name].strip())
        except (ValueError, KeyError):
            return BROKEN
    return found or NO_OVERRIDES


class Releases:
    """Behaviours by full image name, and the one trouble that no release is to blame for.

    `dependency_failure` is the share of traffic, 0 to 1, that fails in every pod because of something they all need.
    """

    def __init__(self, table: Mapping[str, Behaviour] | None = None, *, default: Behaviour | None = None) -> None:
        self._table = dict(table or {})
        self._default = default or Behaviour()
        self.dependency_failure = 0.0

    def of(self, image: str, overrides: Overrides = NO_OVERRIDES) -> Behaviour:
        """What pods of `image` do; the default for an image that was never registered."""
        behaviour = self._table.get(image, self._default)
        return replace(behaviour, **overrides) if overrides else behaviour

    def register(self, image: str, behaviour: Behaviour) -> None:
        """From now on pods of `image` behave like this, running ones too."""
        self._table[image] = behaviour

    def known(self, image: str) -> bool:
        """Whether `image` was registered."""
        return image in self._table

    def error_share(self, behaviour: Behaviour) -> float:
        """The share of traffic that a pod which behaves so fails now, of its own and for want of the dependency."""
        own, foreign = behaviour.error_rate, self.dependency_failure
        return own + foreign - own * foreign


@dataclass(frozen=True, slots=True)
class Answer:
    """What the process says to one request, `delay` seconds after it came."""

    status: int
    body: str
    content_type: str = "text/plain"
    delay: float = 0.0


class Process:
    """One run of a release in one pod: it counts what it really answered, and its counters die with it.

    `started` is a monotonic second, `epoch` the same instant in Unix seconds for `process_start_time_seconds`.
    `overrides` may change while it runs.
    """

    def __init__(
        self, image: str, version: str, releases: Releases, *, started: float, epoch: float, seed: str = ""
    ) -> None:
        self.started = started
        self.overrides = NO_OVERRIDES
        self._image = image
        self._version = version
        self._releases = releases
        self._epoch = epoch
        self._random = random.Random(seed)  # noqa: S311 # a spread of latencies, repeatable
        self._owed = 0.0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * len(BUCKETS)
        self._count = 0
        self._sum = 0.0

    @property
    def _behaviour(self) -> Behaviour:
        return self._releases.of(self._image, self.overrides)

    def listening(self, now: float) -> bool:
        """Whether connections are accepted."""
        return now >= self.started + self._behaviour.startup

    def memory(self, now: float) -> float:
        """Resident bytes."""
        behaviour = self._behaviour
        return behaviour.memory + behaviour.memory_growth * max(0.0, now - self.started)

    def answer(self, method: str, port: int, path: str, now: float) -> Answer | None:
        """The answer to one request; None if the connection is refused, because nothing listens on `port`."""
        if not self.listening(now) or port not in {HEALTH_PORT, TRAFFIC_PORT}:
            return None
        behaviour = self._behaviour
        match port, path:
            case (9998, "/health"):
                return Answer(200, "ok\n") if behaviour.healthy else Answer(503, "unhealthy\n")
            case (9998, "/ready"):
                return Answer(200, "ready\n") if behaviour.ready else Answer(503, "not ready\n")
            case (9999, "/"):
                return self._serve(method, behaviour)
            case (9999, "/metrics"):
                return Answer(200, self.metrics(now), METRICS_TYPE)
        return Answer(404, "not found\n")

    def _serve(self, method: str, behaviour: Behaviour) -> Answer:
        delay = behaviour.latency * (0.8 + 0.4 * self._random.random())
        # What is owed to the error share is paid whole, so n requests fail share * n of them to the nearest one.
        self._owed += self._releases.error_share(behaviour)
        failed = self._owed >= 1.0 - 1e-9
        self._owed -= 1.0 if failed else 0.0
        status = 500 if failed else 200
        self._requests[(method, status)] += 1
        self._count += 1
        self._sum += delay
        for i, bound in enumerate(BUCKETS):
            self._buckets[i] += delay <= bound
        return Answer(status, "failed\n" if failed else "relayed\n", delay=delay)

    def metrics(self, now: float) -> str:
        """The counters in Prometheus' text format; a series appears with its first request, as client libraries do."""
        version = escaped(self._version)
        lines = ["# HELP http_requests_total Requests answered.", "# TYPE http_requests_total counter"]
        for (method, status), count in sorted(self._requests.items()):
            labels = f'method="{escaped(method)}",status="{status}",version="{version}"'
            lines.append(f"http_requests_total{{{labels}}} {count}")
        name = "http_request_duration_seconds"
        lines += [f"# HELP {name} Time to answer.", f"# TYPE {name} histogram"]
        if self._count:
            lines += [
                f'{name}_bucket{{version="{version}",le="{bound}"}} {count}'
                for bound, count in zip(BUCKETS, self._buckets, strict=True)
            ]
            lines += [
                f'{name}_bucket{{version="{version}",le="+Inf"}} {self._count}',
                f'{name}_sum{{version="{version}"}} {self._sum}',
                f'{name}_count{{version="{version}"}} {self._count}',
            ]
        lines += [
            "# HELP process_resident_memory_bytes Resident memory.",
            "# TYPE process_resident_memory_bytes gauge",
            f"process_resident_memory_bytes {self.memory(now)}",
            "# HELP process_start_time_seconds Start of the process, Unix seconds.",
            "# TYPE process_start_time_seconds gauge",
            f"process_start_time_seconds {self._epoch}",
        ]
        return "\n".join(lines) + "\n"


def version_of(image: str) -> str:
    """The tag of an image, else the start of its digest, else `latest`."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag or digest.rpartition(":")[2][:12] or "latest"


def escaped(text: str) -> str:
    """A label's value as Prometheus' text format writes it."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
