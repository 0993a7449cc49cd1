"""From paths to settings and rules: every file is read, and every fault of every file told in one go."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from logcaster_guard.config.crosschecks import language_in, salvage
from logcaster_guard.config.named_files import refusals
from logcaster_guard.config.queries import query_warnings
from logcaster_guard.config.rules import RULES_KEY, RawRules, RuleContext, read_rules, repeated_names, rule_count
from logcaster_guard.config.schema import refusal_fault
from logcaster_guard.config.sections import SettingsFile
from logcaster_guard.config.settings import (
    Settings,
    default_settings,
    read_settings,
)
from logcaster_guard.config.warnings import warnings_of
from logcaster_guard.config.yaml import MAX_BYTES, MAX_VALUES, Document, Node, Table, load_yaml
from logcaster_guard.domain.rules import Rule
from logcaster_guard.fields.faults import MAX_FAULTS, ConfigFault, closest
from logcaster_guard.messages.texts import Language, Phrase, phrase

MAX_FILES = 200
"""Configuration files; more means that another directory was meant."""

MAX_ALL_BYTES = 8 * MAX_BYTES
MAX_ALL_VALUES = 4 * MAX_VALUES
MAX_ALL_RULES = 1_000
"""Of all files together: whatever they hold, reading them takes seconds, not minutes."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration without faults.

    `files` are those that were read, `settings_file` the one among them that holds the settings (None: defaults apply).
    `warnings` are sentences about what is allowed and may surprise.
    """

    settings: Settings
    rules: tuple[Rule, ...]
    files: tuple[Path, ...]
    settings_file: Path | None = None
    warnings: tuple[Phrase, ...] = ()


class Faults(list[ConfigFault]):
    """Every fault of a configuration; `language` is that of its settings, None where no settings can be read."""

    language: Language | None = None


def load(*paths: Path | str, below: Sequence[Path] = ()) -> Loaded | Faults:
    """Everything in these files and directories, or every fault in them, sorted.

    Every path that the settings name has to lie below one of the folders in `below`, if there are any.

    Of a directory each `*.yaml` and `*.yml` is read, hidden ones and subdirectories apart. A file with
    `rollback_triggers` holds rules, any other settings. No path at all gives the default settings and no rules.
    """
    return _Loading(paths, below).result()


@dataclass(frozen=True, slots=True)
class _File:
    """`root` is None if the file cannot be read as YAML, `is_rules` is None if its kind cannot be told either."""

    name: str
    root: Node | None
    is_rules: bool | None


class _Loading:
    def __init__(self, paths: Sequence[Path | str], below: Sequence[Path]) -> None:
        self._faults: list[ConfigFault] = []
        self._below = below
        self._seen: set[tuple[int, int]] = set()
        self._files = list(self._read(paths))

    def result(self) -> Loaded | Faults:
        """The configuration, or the faults."""
        settings_files = [f for f in self._files if f.is_rules is False]
        settings = self._settings(settings_files)
        raw = self._rules(settings, settings_files)
        if self._faults or settings is None:
            return self._told(settings_files)
        rules = tuple(rule for file in raw for rule in file.build(settings.rollout_window))
        return Loaded(
            settings=settings,
            rules=rules,
            files=tuple(Path(f.name) for f in self._files),
            settings_file=Path(settings_files[0].name) if settings_files else None,
            warnings=(
                *warnings_of(settings, rules, given=bool(settings_files)),
                *itertools.chain(*(query_warnings(settings.signals, f.root, f.name) for f in settings_files if f.root)),
            ),
        )

    def _told(self, settings_files: Sequence[_File]) -> Faults:
        """The faults sorted, each once, `MAX_FAULTS` of a file at most."""
        told = Faults()
        for _, group in itertools.groupby(sorted(set(self._faults)), key=lambda fault: fault.file):
            told += itertools.islice(group, MAX_FAULTS)
        told.language = next((language_in(f.root) for f in settings_files if f.root is not None), None)
        return told

    def _read(self, paths: Sequence[Path | str]) -> Iterator[_File]:
        """The files, until they are too many or hold too much."""
        size = values = 0
        contents = (found for path in paths for found in self._contents(str(path)))
        for count, (name, content) in enumerate(contents, start=1):
            size += len(content) if len(content) <= MAX_BYTES else 0  # a larger one is not parsed
            if count > MAX_FILES:
                many = phrase("found.too_many_files", most=MAX_FILES)
                self._fault(name, many, phrase("allowed.files_in_all", most=MAX_FILES))
                return
            if size > MAX_ALL_BYTES:
                self._fault(name, phrase("found.too_much"), phrase("allowed.bytes_in_all"))
                return
            document = load_yaml(content, name)
            values += document.values
            if values > MAX_ALL_VALUES:
                most = f"{MAX_ALL_VALUES:,}"
                found, allowed = phrase("found.too_many_values", most=most), phrase("allowed.in_all_files", most=most)
                self._fault(name, found, allowed)
                return
            yield self._parsed(name, content, document)

    def _settings(self, files: Sequence[_File]) -> Settings | None:
        for extra in files[1:]:
            found = phrase("found.second_settings", file=files[0].name)
            allowed = phrase("allowed.one_settings_file", key=RULES_KEY)
            self._faults.append(ConfigFault(extra.name, 1, 1, found, allowed))
        if not files:
            return None if any(f.is_rules is None for f in self._files) else default_settings()
        results = [read_settings(f.root, f.name) for f in files if f.root is not None]
        for result in results:
            if isinstance(result, list):
                self._faults += result
        settings = next((r for r in results if isinstance(r, Settings)), None)
        if settings is not None and files[0].root is not None:
            named = refusals(settings, [Path(f.name) for f in self._files], self._below)
            self._faults += [refusal_fault(files[0].root, files[0].name, loc, refusal) for loc, refusal in named]
        return settings

    def _rules(self, settings: Settings | None, settings_files: Sequence[_File]) -> list[RawRules]:
        root = settings_files[0].root if settings_files else None
        if settings is None:
            sound = salvage(root)
            context = RuleContext(sound.signals, sound.targets, sound.interval and 2 * sound.interval)
        elif settings_files:
            targets = frozenset(t.name for t in settings.targets)
            context = RuleContext(settings.units, targets, 2 * settings.policy.polling.interval)
        else:
            context = RuleContext(settings.units)
        files = [(f.name, f.root) for f in self._files if f.is_rules and f.root is not None]
        if sum(rule_count(root) for _, root in files) > MAX_ALL_RULES:
            most = f"{MAX_ALL_RULES:,}"
            found, allowed = phrase("found.too_many_rules", most=most), phrase("allowed.in_all_files", most=most)
            self._fault(files[-1][0], found, allowed)
            return []
        self._faults += repeated_names(files)
        results = [read_rules(root, name, context) for name, root in files]
        for result in results:
            if isinstance(result, list):
                self._faults += result
        return [r for r in results if isinstance(r, RawRules)]

    def _parsed(self, name: str, content: bytes, document: Document) -> _File:
        self._faults += document.faults
        root = document.root
        if root is None:
            return _File(name, None, is_rules=True if RULES_KEY.encode() in content else None)
        if not isinstance(root, Table):
            found, allowed = phrase("found.no_mapping_at_top"), phrase("allowed.top", key=RULES_KEY)
            self._faults.append(ConfigFault(name, root.at.line, root.at.column, found, allowed))
            return _File(name, None, is_rules=None)
        return self._sorted(name, root)

    def _sorted(self, name: str, root: Table) -> _File:
        """The file as rules or settings, by its top-level keys."""
        settings = [e for k, e in root.entries.items() if k in SettingsFile.model_fields]
        if RULES_KEY in root.entries and settings:
            at, found = settings[0].at, phrase("found.beside", key=settings[0].key, other=RULES_KEY)
            self._faults.append(ConfigFault(name, at.line, at.column, found, phrase("allowed.files_apart")))
            return _File(name, Table(root.at, {RULES_KEY: root.entries[RULES_KEY]}), is_rules=True)
        # A misspelt rollback_triggers makes a rule file all the same.
        known = [RULES_KEY, *SettingsFile.model_fields]
        misspelt = any(closest(k, known) == f'"{RULES_KEY}"' for k in itertools.islice(root.entries, MAX_FAULTS))
        return _File(name, root, is_rules=RULES_KEY in root.entries or (misspelt and not settings))

    def _contents(self, name: str) -> Iterator[tuple[str, bytes]]:
        try:
            is_directory = stat.S_ISDIR(os.stat(name).st_mode)  # noqa: PTH116 - told apart below without a second look
            names = self._entries(name) if is_directory else [name]
        except (OSError, ValueError) as error:
            self._fault(name, _reason(error), phrase("allowed.readable_place"))
            return
        for file in names:
            content = self._content(file)
            if content is not None:
                yield file, content

    def _entries(self, directory: str) -> list[str]:
        found = sorted(
            entry.name
            for entry in Path(directory).iterdir()
            if entry.suffix in {".yaml", ".yml"} and not entry.name.startswith(".") and not entry.is_dir()
        )
        if not found:
            self._fault(directory, phrase("found.nothing_in_directory"), phrase("allowed.directory"))
        if len(found) > MAX_FILES:
            many = phrase("found.files_in_directory", count=f"{len(found):,}")
            self._fault(directory, many, phrase("allowed.in_directory", most=MAX_FILES))
            return []
        return [str(Path(directory, name)) for name in found]

    def _content(self, name: str) -> bytes | None:
        """What the file holds, up to one byte more than is allowed; None if it cannot be read or was read before."""
        try:
            # A FIFO or device is never opened: opening alone can block or act.
            if not stat.S_ISREG(os.stat(name).st_mode):  # noqa: PTH116 - as above
                self._fault(name, phrase("found.no_regular_file"), phrase("allowed.regular_file"))
                return None
            descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            with os.fdopen(descriptor, "rb") as stream:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    self._fault(name, phrase("found.no_regular_file"), phrase("allowed.regular_file"))
                    return None
                if (status.st_dev, status.st_ino) in self._seen:
                    return None
                self._seen.add((status.st_dev, status.st_ino))
                return stream.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            self._fault(name, _reason(error), phrase("allowed.readable_file"))
            return None

    def _fault(self, name: str, found: Phrase, allowed: Phrase) -> None:
        """A fault of the path itself."""
        self._faults.append(ConfigFault(name, 0, 0, found, allowed))


def _reason(error: OSError | ValueError) -> Phrase:
    if isinstance(error, FileNotFoundError):
        return phrase("found.no_such_file")
    if isinstance(error, PermissionError):
        return phrase("found.no_permission")
    if isinstance(error, OSError) and error.strerror:
        return phrase("found.unreadable", why=error.strerror.lower())
    return phrase("found.no_path")
