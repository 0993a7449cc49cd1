"""Every kind of message that there is: a new one is a value in one of these modules, and a text in each catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from logcaster_guard.domain import configuration_reasons as configuration
from logcaster_guard.domain import evidence, problems, promql, reasons, theirs
from logcaster_guard.domain import guard_reasons as own
from logcaster_guard.domain import measurements as measured
from logcaster_guard.domain import plan_lines as lines
from logcaster_guard.domain import planning_reasons as plans
from logcaster_guard.domain import provenance_reasons as made
from logcaster_guard.domain import step_observations as seen
from logcaster_guard.domain import step_reasons as steps
from logcaster_guard.domain import value_observations as values
from logcaster_guard.domain.configuration import followed
from logcaster_guard.domain.database import destinations
from logcaster_guard.domain.database import migration_faults as migrations
from logcaster_guard.domain.database import server_reasons as servers
from logcaster_guard.domain.database import statement_findings as statements
from logcaster_guard.domain.guardrails import refusal_messages as refusals
from logcaster_guard.domain.inbox import denials
from logcaster_guard.domain.message import Message
from logcaster_guard.messages import channel_faults as channels
from logcaster_guard.messages import cluster_faults as cluster
from logcaster_guard.messages import database_faults as databases
from logcaster_guard.messages import exchange_faults as exchanges
from logcaster_guard.messages import guard_headlines as guard
from logcaster_guard.messages import journal_faults as journals
from logcaster_guard.messages import reading_faults as readings
from logcaster_guard.messages import record_faults as records
from logcaster_guard.messages import run_headlines as runs
from logcaster_guard.messages import tree_faults as trees

MODULES: tuple[ModuleType, ...] = (
    runs,
    guard,
    problems,
    refusals,
    plans,
    reasons,
    followed,
    evidence,
    theirs,
    steps,
    denials,
    measured,
    made,
    values,
    seen,
    readings,
    channels,
    journals,
    exchanges,
    configuration,
    cluster,
    own,
    lines,
    promql,
    records,
    trees,
    migrations,
    statements,
    destinations,
    servers,
    databases,
)
"""Where they stand, by subject; a module that is missing here is found by a test."""


def _kinds_in(module: ModuleType) -> Iterator[type[Message]]:
    """The kinds that the module itself defines, in their order."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Message) and value.__module__ == module.__name__:
            yield value


MESSAGES: tuple[type[Message], ...] = tuple(kind for module in MODULES for kind in _kinds_in(module))
