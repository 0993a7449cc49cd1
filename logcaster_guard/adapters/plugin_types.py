"""What a source or channel tells of itself: its key and section in the settings, and what makes it of that section."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import Field

from logcaster_guard.cluster_view import ClusterView
from logcaster_guard.domain.signals import SourceName
from logcaster_guard.fields.metrics import MetricsSection
from logcaster_guard.fields.section import Name, Section
from logcaster_guard.messages.texts import Texts, english
from logcaster_guard.ports import Channel, Clock, Cluster, Endpoints, Kind, Rosters, Source

SectionT = TypeVar("SectionT", bound=Section)


@dataclass(frozen=True, slots=True)
class SourceServices:
    """What the sources of a guard share.

    `view` is for what is only watched. `rosters` and `endpoints` tell which pods a target has. A sample older than
    `staleness` seconds is no data; a source that remembers samples keeps them for `keep` seconds. `gauges` are the
    metrics of operators' own signals.
    """

    clock: Clock
    cluster: Cluster
    view: ClusterView
    rosters: Rosters
    endpoints: Endpoints
    metrics: MetricsSection
    staleness: float
    keep: float
    gauges: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SourcePlugin(Generic[SectionT]):
    """A source.

    `name` is its key under `sources`, `meaning` what the documentation says of that key. `answers` are the built-in
    signals that it answers without a query, `looks_back` those of them that it reads over a lookback. `own_metrics`:
    it answers an operator's own signal by a `metric`. `make` gives None where the section says that there is no such
    source.
    """

    name: SourceName
    section: type[SectionT]
    meaning: str
    make: Callable[[SectionT, SourceServices], Source | None]
    answers: frozenset[str]
    looks_back: frozenset[str] = frozenset()
    own_metrics: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """An object that Events stand at."""

    kind: Kind
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ChannelServices:
    """What the channels of a guard share.

    `kinds` are the targets' by namespace and name. `itself` is what stands for the guard in the cluster, best first.
    `proxy` is a URL and the environment's is ignored; `tls` replaces the system's certificate authorities.
    """

    cluster: Cluster
    kinds: Mapping[tuple[str, str], Kind]
    itself: Sequence[Subject]
    texts: Texts = field(default_factory=english)
    proxy: str | None = None
    tls: ssl.SSLContext | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class ChannelSection(Section):
    """The settings of one channel of a kind that may have several."""

    name: Name = Field(description="unique among all channels")


@dataclass(frozen=True, slots=True)
class ChannelPlugin:
    """A kind of channel.

    `key` stands under `notify`, `meaning` is what the documentation says of it. With a `section` there is a list of
    channels, called `noun`; without one there is a single channel, which `true` and `false` switch, and whose name
    `own_name` nobody else may have. `make` is handed the section, if there is one.
    """

    key: str
    section: type[ChannelSection] | None
    noun: str
    meaning: str
    make: Callable[[Any, ChannelServices], Channel]
    own_name: str = ""
