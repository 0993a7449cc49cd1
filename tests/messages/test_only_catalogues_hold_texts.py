"""Nothing but the catalogues makes sentences: what people are told is whole in each language."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from itertools import product
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from logcaster_guard.domain.message import Message, Reason, kind_of
from logcaster_guard.messages.message_kinds import MESSAGES
from logcaster_guard.messages.texts import Language, Texts, catalogue, parts_of

PACKAGE = Path(__file__).parents[2] / "logcaster_guard"
KOREAN = Texts(Language.KOREAN)
ENGLISH_WORDS = re.compile(r"[A-Za-z][A-Za-z0-9'-]+")
SENTENCE = re.compile(r"\b[a-z]{2,} [a-z]{2,}")

TERMS = frozenset(
    {
        *("Deployment", "Service", "ConfigMap", "Secret", "PodDisruptionBudget", "ScaledObject", "Lease", "HPA"),
        *("Kubernetes", "API", "KEDA", "Helm", "GitOps", "Slack", "Prometheus", "PromQL", "Web", "CPU", "ID", "Ready"),
        *("HTTP", "URL", "TLS", "CA", "JSON", "IP", "UTF-8", "SHA-256", "Inf", "MiB", "bearer", "incoming", "webhook"),
        *(
            "OnDelete",
            "RollingUpdate",
            "Recreate",
            "general",
            "LogCaster",
            "Guard",
            "SQLite",
            "WAL",
            "BOM",
            "chat",
            "kubeconfig",
            "write",
            "ok",
            "https",
            "http",
            "dry",
            "run",
            "PostgreSQL",
            "SQL",
            "NUL",
            "bigint",
            "COPY",
            "down",
            "golang-migrate",
            "Alembic",
            "Flyway",
            "SQLSTATE",
            "COMMIT",
            "epoch",
            "dirty",
            "force",
        ),
    }
)
"""Names of things, as they stand in Korean text."""

KEYS = re.compile(
    r"\d{4}-\d\d-\d\d[T ][\d:]+Z|“[^”]*”|\"[^\"]*\"|⟦[^⟧]*⟧|docs/\S+|\$\w+"
    r"|logcaster-guard [a-z]+(?: (?:verify|[A-Z]+))?"
    r"|\b[a-z_]+(?:\[?\]?\.[a-z_\[\]]+)+|\b(?:targets|gitops|mode|kind|namespace|maintenance|partition|traffic_url)\b"
    r"|\b[a-z]+_[a-z_]+\b|(?<=: )(?:sidecar|suspend|proceed|restore)\b"
    r"|\blookback\b|(?<!\w)--?\w+|\(abandon\)|\bstatus\b",
    re.ASCII,
)
"""What is quoted, marked as somebody else's, a command, or a key of the settings and its value."""


def values_of(name: str, hint: Any, *, full: bool) -> Iterator[Any]:
    """Values of a parameter that take a template through its choices; texts are marked as such."""
    arguments = get_args(hint)
    if hint == Reason:
        yield from ("", f"⟦{name}⟧") if not full else (f"⟦{name}⟧",)
    elif arguments and arguments[-1] is Ellipsis:
        yield tuple(values_of(name, arguments[0], full=True)) if full else ()
    elif arguments:
        yield from values_of(name, arguments[0], full=True) if full else (None,)
    elif issubclass(hint, Message):
        yield made(hint, full=full)
    elif issubclass(hint, Enum):
        yield from hint
    elif hint is bool:
        yield from (True, False)
    elif hint is str:
        yield f"⟦{name}⟧" if full else ""
    else:
        yield {int: 3, float: 90.5}.get(hint, datetime(2026, 1, 31, tzinfo=UTC)) if full or hint is datetime else 0


def made(kind: type[Message], *, full: bool) -> Message:
    """One message of the kind."""
    return next(iter(variants(kind, full=full)))


def variants(kind: type[Message], *, full: bool) -> Iterator[Message]:
    """Messages of the kind, with each choice that a flag or an enum makes."""
    hints = {n: h for n, h in get_type_hints(kind).items() if n != "kind"}
    every = [list(values_of(n, h, full=full)) for n, h in hints.items()]
    for chosen in product(*every):
        yield kind(**dict(zip(hints, chosen, strict=True)))


@pytest.mark.parametrize("kind", MESSAGES, ids=kind_of)
def test_no_english_is_left_in_korean_but_names_and_what_others_said(kind: type[Message]) -> None:
    for full in (True, False):
        for message in variants(kind, full=full):
            for part in parts_of(kind):
                said = KOREAN.part(message, part)
                left = set(ENGLISH_WORDS.findall(KEYS.sub(" ", said))) - TERMS
                assert not left, f"{said}: {sorted(left)}"


_DESCRIBING = frozenset({"name", "help", "description", "title", "metavar", "meaning", "noun", "json_schema_extra"})
"""What is said of a task, an option or a key of the settings: pages and schemas, which are English."""

DEFECTS = frozenset({"ValueError", "RuntimeError", "AssertionError", "TypeError"})


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The texts in the code, without docstrings, log lines, defects, names of tasks and the values of enums."""
    left_out: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            strings = (s.value for s in body if isinstance(s, ast.Expr))
            left_out.update(id(s) for s in strings if isinstance(s, ast.Constant))
        if isinstance(node, ast.ClassDef) and {getattr(b, "id", "") for b in node.bases} & {"StrEnum"}:
            left_out.update(map(id, ast.walk(node)))
        if isinstance(node, ast.Call) and (_logs(node.func) or getattr(node.func, "id", "") in DEFECTS):
            left_out.update(map(id, ast.walk(node)))
        if isinstance(node, ast.keyword) and node.arg in _DESCRIBING:
            left_out.update(map(id, ast.walk(node)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


def _logs(called: ast.expr) -> bool:
    return isinstance(called, ast.Attribute) and called.attr in {"debug", "info", "warning", "error", "exception"}


ALLOWED = {
    "cli/demo.py": "the demo, which is English",
    "cli/judges.py": "the demo",
    "cli/scenarios.py": "the demo",
    "cli/stage.py": "the demo",
    "cli/story.py": "the demo",
    "config/dimensions.py": "what people call units",
    "config/grammar.py": "what editors show by the JSON Schema",
    "config/promql.py": "PromQL",
    "config/yaml.py": "the parser's words",
    "fields/section.py": "what editors show by the JSON Schema",
    "web/metrics.py": "what each metric tells, which is English in every Prometheus",
    "web/server.py": "what the log tells",
    "domain/promql_syntax.py": "the parser's words",
    "domain/database/statements/functions.py": "names of functions",
    "domain/inbox/annotations.py": "what a command line or a request gets as its answer",
    "domain/compensations.py": "commands",
    "domain/claims.py": "commands",
    "domain/configuration/object_versions.py": "values of an enum",
    "domain/gitops.py": "commands",
    "domain/snapshots.py": "what a snapshot leaves out, which the command line tells",
    "domain/startup.py": "what registries say",
    "domain/runs.py": "outcomes, which the journal names so",
    "domain/template_diff.py": "differences, which only the command line shows",
    "engine/channel_queues.py": "outcomes of notices, which the journal names so",
    "engine/compaction.py": "a defect, which the log tells",
    "engine/leader_elector.py": "why the lease was lost, which the log tells",
    "engine/outbox.py": "outcomes of notices, which the journal names so",
    "engine/snapshotting.py": "what a snapshot leaves out, which the command line tells",
    "engine/suspensions.py": "who did it, as the journal names it",
    "engine/watch.py": "the name of a loop",
}
"""Where a text stands that no notice and no refusal holds, and why."""


TRANSLATED = {word for words in catalogue(Language.KOREAN).words.values() for word in words}
"""Values that have a word in each language, as those of enums have."""


@pytest.mark.parametrize("package", ["domain", "steps", "rollbacks", "engine", "config", "fields", "web", "cli"])
def test_no_sentence_is_made_outside_the_catalogues(package: str) -> None:
    found = [
        f"{name}:{line}: {text}"
        for file in sorted((PACKAGE / package).rglob("*.py"))
        if (name := str(file.relative_to(PACKAGE))) not in ALLOWED
        for line, text in literals(ast.parse(file.read_text("utf-8")))
        if SENTENCE.search(text) and text not in TRANSLATED and not text.startswith("bold ")
    ]
    assert found == []


def test_every_word_that_the_english_catalogue_has_is_in_the_korean_one() -> None:
    english, korean = (catalogue(language).words for language in (Language.ENGLISH, Language.KOREAN))
    assert {group: set(words) - set(korean.get(group, {})) for group, words in english.items()} == {
        group: set() for group in english
    }
