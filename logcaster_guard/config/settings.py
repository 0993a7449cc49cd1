"""`guard.yaml`: every setting of the guard, with defaults that fit LogCaster, turned into the domain's values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from logcaster_guard.adapters.postgres.section import DatabaseSection
from logcaster_guard.config.causes import maintenance_of
from logcaster_guard.config.channels import NotifySection
from logcaster_guard.config.crosschecks import cross_check
from logcaster_guard.config.schema import validate
from logcaster_guard.config.sections import AuthoritySection, JournalSection, LogSection, SettingsFile, WebSection
from logcaster_guard.config.signals import signals_in
from logcaster_guard.config.sources import SourcesSection
from logcaster_guard.config.targets import target_of
from logcaster_guard.config.yaml import Node
from logcaster_guard.domain.rules import (
    AlertPolicy,
    AttributionPolicy,
    BlueGreenPolicy,
    ConfigPolicy,
    FallbackPolicy,
    GradualPolicy,
    LedgerPolicy,
    Limits,
    Policy,
    Polling,
    RolloutPolicy,
    SecretsPolicy,
    SnapshotPolicy,
    VerifyPolicy,
)
from logcaster_guard.domain.signals import Signal, SourceName, Target, Unit
from logcaster_guard.fields.faults import ConfigFault
from logcaster_guard.fields.metrics import MetricsSection


@dataclass(frozen=True)
class Settings:
    """Everything that is configured apart from the rules.

    Domain values, and the sections that adapters are built from. `rollout_window` is the rules' default, in seconds.
    `sidecar`: the guard is a container of the pods of one of the targets.
    """

    sidecar: bool
    targets: tuple[Target, ...]
    signals: Mapping[str, Signal]
    policy: Policy
    rollout_window: float | None
    sources: SourcesSection
    metrics: MetricsSection
    database: DatabaseSection | None
    journal: JournalSection
    authority: AuthoritySection
    notify: NotifySection
    web: WebSection
    log: LogSection

    @cached_property
    def units(self) -> Mapping[str, Unit]:
        """Every signal's unit, by name."""
        return {name: signal.unit for name, signal in self.signals.items()}

    def sources_of(self, names: Iterable[str]) -> frozenset[SourceName]:
        """The sources that these signals are read from."""
        return frozenset(self.signals[name].source for name in names)


def default_settings() -> Settings:
    """The settings of a guard without `guard.yaml`."""
    return _settings(SettingsFile())


def read_settings(root: Node, file: str) -> Settings | list[ConfigFault]:
    """The settings in a loaded file, or every fault in them."""
    found = validate(SettingsFile, root, file)
    faults = [*(found if isinstance(found, list) else ()), *cross_check(root, file)]
    return faults if faults or isinstance(found, list) else _settings(found)


def _settings(file: SettingsFile) -> Settings:
    polling = Polling(file.polling.interval, file.polling.staleness or 2 * file.polling.interval)
    policy = Policy(
        polling=polling,
        limits=Limits(**file.limits.model_dump()),
        ledger=LedgerPolicy(**file.ledger.model_dump()),
        snapshots=SnapshotPolicy(**file.snapshots.model_dump()),
        config=ConfigPolicy(
            **file.config.model_dump(exclude={"objects", "secrets"}),
            objects=MappingProxyType(dict(file.config.objects)),
            secrets=SecretsPolicy(**file.config.secrets.model_dump()),
        ),
        verify=VerifyPolicy(**file.verify.model_dump()),
        rollout=RolloutPolicy(**file.rollout.model_dump()),
        gradual=GradualPolicy(**file.gradual.model_dump()),
        blue_green=BlueGreenPolicy(**file.blue_green.model_dump()),
        alert=AlertPolicy(**file.alert.model_dump()),
        fallback=FallbackPolicy(**file.fallback.model_dump()),
        attribution=AttributionPolicy(**file.attribution.model_dump(exclude={"label"})),
        maintenance=tuple(maintenance_of(m) for m in file.maintenance),
        dry_run=file.dry_run,
        retention=file.journal.retention,
        gitops=file.gitops,
        argocd_namespace=file.argocd_namespace,
    )
    return Settings(
        sidecar=file.mode == "sidecar",
        targets=tuple(target_of(t) for t in file.targets),
        signals=MappingProxyType(signals_in(file)),
        policy=policy,
        rollout_window=file.rollout_window,
        sources=file.sources,
        metrics=file.metrics,
        database=file.database,
        journal=file.journal,
        authority=file.authority,
        notify=file.notify,
        web=file.web,
        log=file.log,
    )
