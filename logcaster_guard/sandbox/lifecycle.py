"""One pod on the sandbox's node, as a state machine that is told the time: what a kubelet would do with it.

Waiting → running → crashed → running → …; a pod that is being deleted serves on for the drain and is then removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from logcaster_guard.domain.sidecar import is_guard
from logcaster_guard.sandbox.configuration import Missing, PodConfig
from logcaster_guard.sandbox.release import Answer, Behaviour, Process, Releases, overrides_of, version_of

Json = dict[str, Any]

_FACTORS = {
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "m": 1e-3,
    "": 1.0,
}


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take on the node, in seconds.

    Attributes:
        start_delay: from the binding to the start of the process.
        drain: for how long a pod that is being deleted still serves; longer than endpoints take to follow.
        crash_backoff: from the first crash to the restart; doubles with each further crash.
        crash_backoff_most: the longest wait before a restart.
        propagation: from an edit of a ConfigMap or Secret until the volumes of running pods show it.
    """

    start_delay: float = 0.5
    drain: float = 1.0
    crash_backoff: float = 1.0
    crash_backoff_most: float = 10.0
    propagation: float = 2.0


class State(StrEnum):
    """Where the pod's process is."""

    WAITING = "waiting"
    HELD_UP = "held up"
    RUNNING = "running"
    CRASHED = "crashed"


class Life:
    """A pod bound to the node, from the binding until the API has forgotten it.

    `now` is a monotonic second everywhere, `wall` the same instant in UTC. `restarts` and `ip` are taken over from the
    pod's status by a node that finds the pod already there. `config` is what the pod reads of ConfigMaps and Secrets,
    None if it reads none. `main` is the container whose image, environment and files tell how the pod behaves, `starts`
    how often this node started it. All containers start together: one that cannot holds up the others.
    """

    # Eight: all but two of them are facts of this one pod, which nothing else puts together.
    def __init__(
        self,
        pod: Mapping[str, Any],
        ip: str,
        releases: Releases,
        pace: Pace,
        *,
        now: float,
        seed: str,
        restarts: int = 0,
        config: PodConfig | None = None,
    ) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        self.uid = str(metadata["uid"])
        self.name = str(metadata["name"])
        self.ip = ip
        self.state = State.WAITING
        self.restarts = restarts
        self.terminating_since: float | None = None
        self.labels: Mapping[str, str] = metadata.get("labels") or {}
        self.containers: Sequence[Json] = list(spec.get("containers") or [])
        self.config = config
        self.missing: Missing | None = None
        self._init_containers: Sequence[Json] = list(spec.get("initContainers") or [])
        self._releases = releases
        self._pace = pace
        self._seed = seed
        self.main = _main(self.containers, releases)
        self._limit = memory_limit(self.main)
        self._process: Process | None = None
        self._resume_at = now + pace.start_delay
        self._crashes = 0
        self.starts = 0
        self._exit: Json | None = None
        self._state_at: datetime | None = None
        self._ready_seen = False
        self._ready_at: datetime | None = None

    @property
    def image(self) -> str:
        """The image that tells how the pod behaves."""
        return str(self.main.get("image", ""))

    @property
    def version(self) -> str:
        """The pod's `version` label, else its image's tag: the `version` label of its metrics."""
        return self.labels.get("version") or version_of(self.image)

    @property
    def process(self) -> Process | None:
        """The present run of the release; None while nothing runs."""
        return self._process

    def memory(self, now: float) -> float | None:
        """Bytes that the process uses; None while nothing runs."""
        return None if self._process is None else self._process.memory(now)

    def answer(self, method: str, port: int, path: str, now: float) -> Answer | None:
        """What the pod says to a request; None if the connection is refused."""
        if self._process is None:
            return None
        return self._process.answer(method, port, path, now)

    def ready(self, now: float) -> bool:
        """Whether the readiness probe passes; a pod that is being deleted is not asked any more."""
        process = self._process
        if process is None or self.terminating_since is not None:
            return False
        return process.listening(now) and self._behaviour.ready

    def over(self, now: float) -> bool:
        """Whether the pod has drained and is to be removed."""
        if self.terminating_since is None:
            return False
        return self._process is None or now >= self.terminating_since + self._pace.drain

    def stop(self) -> None:
        """End the process: connections are refused from now on."""
        self._process = None

    def advance(self, now: float, wall: datetime, *, terminating: bool) -> None:
        """Let the time up to `now` pass."""
        if terminating and self.terminating_since is None:
            self.terminating_since = now
        if self.over(now):
            self.stop()
            return
        self._step(now, wall)
        if self.ready(now) is not self._ready_seen or self._ready_at is None:
            self._ready_seen, self._ready_at = self.ready(now), wall

    def _step(self, now: float, wall: datetime) -> None:
        process = self._process
        if process is not None and self.config is not None:
            self.config.follow(now)
            process.overrides = overrides_of(self._settings())
        behaviour = self._behaviour
        if process is not None:
            outlived = behaviour.crash_every is not None and now >= process.started + behaviour.crash_every
            too_big = self._limit is not None and process.memory(now) > self._limit
            if outlived or too_big:
                self._crash(now, wall, "OOMKilled" if too_big else "Error", 137 if too_big else 1)
        elif behaviour.waits_for and self.starts == 0:
            self._enter(State.HELD_UP, wall)
        elif now >= self._resume_at:
            self._start(now, wall)

    @property
    def _behaviour(self) -> Behaviour:
        process = self._process
        return self._releases.of(self.image) if process is None else self._releases.of(self.image, process.overrides)

    def _settings(self) -> Mapping[str, str]:
        """What the process finds in its environment and in its files."""
        if self.config is not None:
            return self.config.settings(str(self.main.get("name", "")))
        return {v["name"]: str(v.get("value", "")) for v in self.main.get("env") or []}

    def _configured(self, now: float) -> bool:
        """Whether everything is there that the containers need to start."""
        try:
            if self.config is not None:
                self.config.start(self.starts + 1, now)
        except Missing as missing:
            self.missing = missing
            return False
        self.missing = None
        return True

    def _start(self, now: float, wall: datetime) -> None:
        if not self._configured(now):
            self._enter(State.HELD_UP, wall)
            return
        if self.starts:
            self.restarts += 1
        self.starts += 1
        self._process = Process(
            self.image,
            self.version,
            self._releases,
            started=now,
            epoch=wall.timestamp(),
            seed=f"{self._seed}/{self.starts}",
        )
        self._process.overrides = overrides_of(self._settings())
        self._enter(State.RUNNING, wall)

    def _crash(self, now: float, wall: datetime, reason: str, code: int) -> None:
        self._exit = {
            "terminated": {
                "exitCode": code,
                "reason": reason,
                "startedAt": _stamp(self._state_at or wall),
                "finishedAt": _stamp(wall),
            }
        }
        self.stop()
        backoff = self._pace.crash_backoff * 2 ** min(self._crashes, 16)
        self._resume_at = now + min(backoff, self._pace.crash_backoff_most)
        self._crashes += 1
        self._enter(State.CRASHED, wall)

    def _enter(self, state: State, wall: datetime) -> None:
        if self.state is not state:
            self.state, self._state_at = state, wall

    def status(self, now: float, bound_at: datetime) -> Json:
        """The pod's status as a kubelet would write it; `bound_at` is when the node first saw it."""
        ready = self.ready(now)
        since = _stamp(self._ready_at or bound_at)
        unready = {} if ready else {"reason": "ContainersNotReady", "message": "a container is not ready"}
        return {
            "phase": "Running" if self.starts else "Pending",
            "startTime": _stamp(bound_at),
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "conditions": [
                _condition("PodScheduled", _stamp(bound_at), holds=True),
                _condition("Initialized", _stamp(bound_at), holds=True),
                _condition("ContainersReady", since, holds=ready) | unready,
                _condition("Ready", since, holds=ready) | unready,
            ],
            "containerStatuses": [self._container_status(c, bound_at, ready=ready) for c in self.containers],
            **self._init_statuses(bound_at),
        }

    def _init_statuses(self, bound_at: datetime) -> Json:
        """Init containers end as soon as they start."""
        if self.config is None or not self._init_containers:
            return {}
        at = _stamp(self._state_at or bound_at)
        ended = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at}}
        statuses = []
        for container in self._init_containers:
            state = ended if self.starts else self._waiting(container, "PodInitializing")
            about = {k: str(container.get(k, "")) for k in ("name", "image")}
            statuses.append({**about, "imageID": "", "ready": self.starts > 0, "restartCount": 0, "state": state})
        return {"initContainerStatuses": statuses}

    def _waiting(self, container: Json, otherwise: str) -> Json:
        """The state of a container that does not start, of its own or because another one does not."""
        missing = self.missing
        if missing is None or missing.container not in {"", container["name"]}:
            return {"waiting": {"reason": otherwise}}
        # Why a volume cannot be mounted stands in an event.
        message = {"message": missing.message} if missing.container else {}
        return {"waiting": {"reason": missing.reason, **message}}

    def _container_status(self, container: Json, bound_at: datetime, *, ready: bool) -> Json:
        image = str(container.get("image", ""))
        return {
            "name": container["name"],
            "image": image,
            "imageID": "" if self.starts == 0 else f"sandbox://{image}",
            "ready": ready,
            "started": self._process is not None,
            "restartCount": self.restarts,
            "state": self._container_state(container, bound_at),
            "lastState": self._exit or {},
        }

    def _container_state(self, container: Json, bound_at: datetime) -> Json:
        match self.state:
            case State.RUNNING:
                return {"running": {"startedAt": _stamp(self._state_at or bound_at)}}
            case State.CRASHED:
                return {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
            case State.HELD_UP if self.missing is not None:
                return self._waiting(container, "ContainerCreating")
            case State.HELD_UP:
                image = str(container.get("image", ""))
                reason, message = self._releases.of(image).waits_for or ("ContainerCreating", "")
                return {"waiting": {"reason": reason, "message": message}}
            case State.WAITING:
                return {"waiting": {"reason": "ContainerCreating"}}


def shown(status: Mapping[str, Any]) -> Json:
    """What of a pod's status the node answers for, without times: equal means that nothing need be written."""
    return {
        "phase": status.get("phase"),
        "ip": status.get("podIP"),
        "conditions": {c["type"]: c["status"] for c in status.get("conditions") or []},
        "containers": [
            (c.get("name"), c.get("ready"), c.get("restartCount"), sorted(c.get("state") or {}), _reason(c))
            for c in (status.get("containerStatuses") or []) + (status.get("initContainerStatuses") or [])
        ],
    }


def memory_limit(container: Mapping[str, Any]) -> float | None:
    """The container's memory limit in bytes; None if it has none that can be read."""
    quantity = str(((container.get("resources") or {}).get("limits") or {}).get("memory", ""))
    digits = quantity.rstrip("KMGTikm")
    factor = _FACTORS.get(quantity[len(digits) :])
    try:
        return None if factor is None else float(digits) * factor
    except ValueError:
        return None


def _main(containers: Sequence[Json], releases: Releases) -> Json:
    others = [c for c in containers if not is_guard(c)]
    registered = [c for c in others if releases.known(str(c.get("image", "")))]
    return next(iter(registered or others), {})


def _reason(container: Mapping[str, Any]) -> str | None:
    waiting = (container.get("state") or {}).get("waiting") or {}
    return waiting.get("reason")


def _condition(kind: str, since: str, *, holds: bool) -> Json:
    return {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": since}


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
