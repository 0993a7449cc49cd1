"""Checks between the parts of a settings file, made on what is sound of it, so that one fault does not hide another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from logcaster_guard.adapters.kubernetes.section import KubernetesSection
from logcaster_guard.adapters.sources.prometheus.section import PrometheusSection
from logcaster_guard.config.causes import MaintenanceSection
from logcaster_guard.config.policies import ConfigSection, PollingSection
from logcaster_guard.config.promql import check_query
from logcaster_guard.config.queries import check_selector
from logcaster_guard.config.schema import node_at, refusal_fault, validate
from logcaster_guard.config.sections import MAX_ITEMS, AuthoritySection, JournalSection
from logcaster_guard.config.signals import signal_refusals
from logcaster_guard.config.sources import SignalSection
from logcaster_guard.config.targets import TargetSection, target_of
from logcaster_guard.config.yaml import Items, Leaf, Node, Table
from logcaster_guard.domain.leadership import Terms
from logcaster_guard.domain.signals import BUILT_IN_UNITS, Target, Unit
from logcaster_guard.fields.durations import show_duration, value_of
from logcaster_guard.fields.faults import ConfigFault, Refused, quoted, unknown_target
from logcaster_guard.fields.metrics import MetricsSection
from logcaster_guard.fields.section import Section
from logcaster_guard.messages.texts import Language, phrase
from logcaster_guard.plugins import CHANNELS

SectionT = TypeVar("SectionT", bound=Section)
_Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Salvage:
    """What rules can be checked against although the settings have faults; None for what is not known.

    `signals` are units by name, `targets` names, `interval` is in seconds.
    """

    signals: Mapping[str, Unit | None]
    targets: frozenset[str] | None
    interval: float | None


class _AnyName(dict[str, Unit | None]):
    """Units of the built-in signals; any other name may be a signal's too."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)


def salvage(root: Node | None) -> Salvage:
    """What a faulty settings file still says; `root` is None if it could not be read at all."""
    if not isinstance(root, Table):
        return Salvage(_AnyName(BUILT_IN_UNITS), None, None)
    polling = _sound(root, ("polling",), PollingSection)
    return Salvage(_units(root), _names(root), polling.interval if polling else None)


def language_in(root: Node) -> Language:
    """The language that settings name, however faulty they are; English where they name none."""
    leaf, entry = node_at(root, ("notify", "language"))
    named = leaf.value if entry is not None and isinstance(leaf, Leaf) else None
    return Language(named) if named in set(Language) else Language.ENGLISH


def cross_check(root: Node, file: str) -> Iterator[ConfigFault]:
    """The faults that no section has for itself."""
    for loc, refusal in _refusals(root):
        yield refusal_fault(root, file, loc, refusal)


def _refusals(root: Node) -> Iterator[tuple[_Loc, Refused]]:
    targets = _targets(root)
    entries = list(_sections(root, ("targets",), TargetSection))
    yield from _repeated("target", "name", [(loc, t.name) for loc, t in entries if t])
    yield from _repeated(
        "Deployment", "deployment", [(loc, f"{t.namespace}/{t.deployment}") for loc, t in entries if t]
    )
    yield from _channels(root)
    windows = [(loc, w) for loc, w in _sections(root, ("maintenance",), MaintenanceSection) if w]
    yield from _repeated("maintenance window", "name", [(loc, w.name) for loc, w in windows])
    known = _names(root) if isinstance(root, Table) else None
    yield from _unknown_targets(windows, known)
    config = _sound(root, ("config",), ConfigSection)
    if config is not None and known is not None:
        for name in sorted(config.objects.keys() - known):
            yield ("config",), unknown_target(name, known, ("objects", name), at_key=True)
    metrics = _sound(root, ("metrics",), MetricsSection)
    if metrics:
        try:
            check_query(metrics.selector, targets)
            check_selector(metrics.selector)
        except Refused as refusal:
            yield ("metrics", "selector"), refusal
    yield from _signals(root, targets)
    yield from _authority(root)
    yield from _sidecar(root)


def _channels(root: Node) -> Iterator[tuple[_Loc, Refused]]:
    kinds = [(plugin.key, plugin.section) for plugin in CHANNELS if plugin.section is not None]
    channels = [(at, c.name) for key, kind in kinds for at, c in _sections(root, ("notify", key), kind) if c]
    yield from _repeated("channel", "name", channels)
    taken = {plugin.own_name for plugin in CHANNELS}
    for loc, name in channels:
        if name in taken:
            found = phrase("found.own_channel", name=quoted(name))
            yield loc, Refused(found, phrase("allowed.another_name"), key=("name",))


def _sidecar(root: Node) -> Iterator[tuple[_Loc, Refused]]:
    """What a guard needs whose own pod ends with each rollback."""
    mode, entry = node_at(root, ("mode",))
    if entry is None or not isinstance(mode, Leaf) or mode.value != "sidecar":
        return
    authority = _sound(root, ("authority",), AuthoritySection)
    journal = _sound(root, ("journal",), JournalSection)
    if authority is not None and authority.lease is None:
        yield (), Refused(phrase("found.sidecar_alone"), phrase("allowed.lease_in_each_pod"), key=("mode",))
    if journal is not None and journal.backend != "kubernetes":
        found = phrase("found.sidecar_backend", backend=journal.backend)
        yield (), Refused(found, phrase("allowed.journal_outside"), key=("mode",))


def _authority(root: Node) -> Iterator[tuple[_Loc, Refused]]:
    authority = _sound(root, ("authority",), AuthoritySection)
    kubernetes = _sound(root, ("sources", "kubernetes"), KubernetesSection)
    if authority is None or kubernetes is None or authority.lease is None:
        return
    least = Terms(authority.duration, authority.renew_every, kubernetes.timeout).least_duration
    if authority.duration <= least:
        found = phrase(
            "found.three_values",
            one=value_of("duration", authority.duration),
            other=value_of("renew_every", authority.renew_every),
            third=value_of("sources.kubernetes.timeout", kubernetes.timeout),
        )
        allowed = phrase("allowed.longer_for_requests", least=show_duration(math.ceil(least)))
        yield ("authority",), Refused(found, allowed, key=("duration",))


def _signals(root: Node, targets: tuple[Target, ...] | None) -> Iterator[tuple[_Loc, Refused]]:
    prometheus = _sound(root, ("sources", "prometheus"), PrometheusSection)
    section, entry = node_at(root, ("signals",))
    if entry is None or not isinstance(section, Table):
        return
    for name in itertools.islice(section.entries, MAX_ITEMS):
        signal = _sound(root, ("signals", name), SignalSection)
        if signal is not None:
            blind = prometheus is not None and prometheus.url is None
            metricsql = prometheus is None or prometheus.dialect == "metricsql"
            for refusal in signal_refusals(name, signal, targets, no_prometheus=blind, metricsql=metricsql):
                yield ("signals",), refusal


def _unknown_targets(
    windows: Sequence[tuple[_Loc, MaintenanceSection]], known: frozenset[str] | None
) -> Iterator[tuple[_Loc, Refused]]:
    for loc, window in windows:
        for index, name in enumerate(window.targets or ()):
            if known is not None and name not in known:
                yield loc, unknown_target(name, known, ("targets", index))


def _repeated(noun: str, key: str, values: Sequence[tuple[_Loc, str]]) -> Iterator[tuple[_Loc, Refused]]:
    seen: set[str] = set()
    for loc, value in values:
        if value in seen:
            found = phrase("found.again", noun=noun, name=quoted(value))
            yield loc, Refused(found, phrase("allowed.each_once"), key=(key,))
        seen.add(value)


def _sections(root: Node, loc: _Loc, model: type[SectionT]) -> Iterator[tuple[_Loc, SectionT | None]]:
    """The items of a list with their places, None for one that has faults."""
    node, entry = node_at(root, loc)
    if entry is not None and entry.key == loc[-1] and isinstance(node, Items):
        for index in range(min(len(node.items), MAX_ITEMS)):
            yield (*loc, index), _sound(root, (*loc, index), model)


def _sound(root: Node, loc: _Loc, model: type[SectionT]) -> SectionT | None:
    """The section at `loc`, the default one if nothing stands there, None if it has faults."""
    node = root
    for part in loc:
        if isinstance(node, Table) and part not in node.entries:
            return model()
        following, _ = node_at(node, (part,))
        if following is node:
            return None
        node = following
    found = validate(model, node, "")
    return None if isinstance(found, list) else found


def _targets(root: Node) -> tuple[Target, ...] | None:
    """The targets; None unless each of them is sound."""
    _, entry = node_at(root, ("targets",))
    found = [t for _, t in _sections(root, ("targets",), TargetSection)] if entry else [TargetSection()]
    sound = tuple(target_of(t) for t in found if t is not None)
    return sound if sound and len(sound) == len(found) else None


def _names(root: Table) -> frozenset[str] | None:
    """The targets' names, as far as each of them has one."""
    node, entry = node_at(root, ("targets",))
    if entry is None:
        return frozenset({TargetSection().name})
    names: set[str] = set()
    for target in node.items if isinstance(node, Items) else ():
        leaf, named = node_at(target, ("name",))
        name = leaf.value if isinstance(leaf, Leaf) else TargetSection().name if named is None else None
        if not isinstance(name, str):
            return None
        names.add(name)
    return frozenset(names) or None


def _units(root: Table) -> dict[str, Unit | None]:
    units: dict[str, Unit | None] = dict(BUILT_IN_UNITS)
    section, _ = node_at(root, ("signals",))
    if isinstance(section, Table) and section is not root:
        for name in section.entries:
            leaf, entry = node_at(root, ("signals", name, "unit"))
            text = leaf.value if entry is not None and entry.key == "unit" and isinstance(leaf, Leaf) else None
            units.setdefault(name, next((u for u in Unit if u == text), None))
    return units
