"""What sources and channels are handed in tests, and their sections with values that no file would be allowed."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from logcaster_guard.adapters.channels.slack import Slack, SlackSection
from logcaster_guard.adapters.channels.webhook import Webhook, WebhookSection
from logcaster_guard.adapters.kubernetes.shared_view import SharedView
from logcaster_guard.adapters.plugin_types import ChannelServices, SourceServices
from logcaster_guard.adapters.sources.probe import HttpSection, ProbeSource
from logcaster_guard.adapters.sources.prometheus import PrometheusSection, PrometheusSource
from logcaster_guard.adapters.sources.scrape import ScrapeSection, ScrapeSource
from logcaster_guard.domain.ownership import Roster
from logcaster_guard.domain.signals import SourceError, Target
from logcaster_guard.fields.metrics import MetricsSection
from logcaster_guard.messages.texts import Texts, english
from logcaster_guard.ports import Clock, Cluster, Endpoint, Endpoints, Rosters

NO_CLUSTER = cast("Cluster", None)
Read = Callable[[], str]


async def nobody(_: Target, __: bool) -> Roster:
    return Roster()


async def one_pod(_: Target, __: bool) -> Sequence[Endpoint] | SourceError:
    return [Endpoint("web-1", "127.0.0.1", "abc", 1000.0)]


def view_of(cluster: Cluster, clock: Clock, *crowded: str, shared_for: float = 1.0) -> SharedView:
    """The shared view; in the `crowded` namespaces everything is listed."""
    return SharedView(cluster, clock, crowded=crowded, shared_for=shared_for, staleness=60.0)


def source_services(
    clock: Clock,
    *,
    rosters: Rosters = nobody,
    endpoints: Endpoints = one_pod,
    metrics: MetricsSection | None = None,
    keep: float = 3_600.0,
    gauges: frozenset[str] = frozenset(),
) -> SourceServices:
    return SourceServices(
        clock,
        NO_CLUSTER,
        view_of(NO_CLUSTER, clock),
        rosters,
        endpoints,
        metrics or MetricsSection(),
        60.0,
        keep,
        gauges,
    )


def prometheus(url: str, clock: Clock, *, rosters: Rosters = nobody, **section: Any) -> PrometheusSource:
    made = PrometheusSection.model_construct(url=url, **section)
    return PrometheusSource(made, source_services(clock, rosters=rosters))


def probe(clock: Clock, **section: Any) -> ProbeSource:
    return ProbeSource(HttpSection.model_construct(**section), source_services(clock))


def scrape(clock: Clock, *, endpoints: Endpoints = one_pod, **section: Any) -> ScrapeSource:
    return ScrapeSource(ScrapeSection.model_construct(**section), source_services(clock, endpoints=endpoints))


class Told:
    """A `Secret` that a function gives."""

    plain = None

    def __init__(self, read: Read) -> None:
        self.read = read


def channel_services(
    *,
    texts: Texts | None = None,
    proxy: str | None = None,
    tls: ssl.SSLContext | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ChannelServices:
    return ChannelServices(NO_CLUSTER, {}, (), texts or english(), proxy, tls, now)


def webhook(
    name: str, url: Read, token: Read | None = None, *, timeout: float = 10.0, services: ChannelServices | None = None
) -> Webhook:
    told = None if token is None else Told(token)
    section = WebhookSection.model_construct(name=name, url=Told(url), token=told, timeout=timeout)
    return Webhook(section, services or channel_services())


def slack(name: str, url: Read, *, timeout: float = 10.0, services: ChannelServices | None = None) -> Slack:
    section = SlackSection.model_construct(name=name, timeout=timeout)
    return Slack(section, url, services or channel_services())
