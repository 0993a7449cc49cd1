"""`logcaster-guard snapshots`: what was saved before each run and with each good release, and by hand."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import yaml

from logcaster_guard import secret_comparison, snapshot_tools
from logcaster_guard.app import texts_of
from logcaster_guard.cli.asking import UNREACHABLE, AsJson, ended, instant, plain, show, show_json, table
from logcaster_guard.cli.check import BAD_INPUT, print_faults
from logcaster_guard.config.loading import load
from logcaster_guard.config.settings import Settings
from logcaster_guard.domain.errors import ClusterError, ConfigurationError, JournalOutOfReach, JournalUnavailable
from logcaster_guard.domain.masking import Masker
from logcaster_guard.domain.snapshots import Snapshot, meaningful
from logcaster_guard.domain.workload import Workload
from logcaster_guard.fields.faults import escaped
from logcaster_guard.messages.texts import Phrase, phrase

Json = dict[str, Any]
Found = Mapping[str, Snapshot]
T = TypeVar("T")

FAULTY = 1
"""Exit code: it ran, and found faults or differences."""

snapshots = typer.Typer(no_args_is_help=True, help="What was saved before each run and with each good release.")

Paths = Annotated[list[Path], typer.Option("--config", metavar="PATH", help="Settings, as given to `run`.")]
Which = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The first digits of its name.")]
Other = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="Another one; else what is in the cluster now.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show values that look secret, too.")]
_SHOWN = 12
_KEPT = "kept"
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@snapshots.command("create")
def create(
    paths: Paths,
    target: Annotated[
        str, typer.Option(metavar="NAME", help="Of this target alone: its name, or NAMESPACE/NAME.")
    ] = "",
) -> None:
    """Save the present state of each target now, with your own rights, and print the snapshots' names.

    With `journal.backend: sqlite` it works where the guard's folder is, as the guard's user.
    """
    settings = _settings(paths)
    for made in _done(snapshot_tools.create(settings, target), settings):
        show([plain(f"{made.name[:_SHOWN]}  {made.snapshot.target}")])
        _tell([phrase("cli.omitted", object=str(o), why=o.detail) for o in made.snapshot.unread], settings)


@snapshots.command("list")
def list_(paths: Paths, as_json: AsJson = False) -> None:
    """List the snapshots, newest first."""
    settings = _settings(paths)
    found, texts = _newest_first(_done(snapshot_tools.saved(settings), settings)), texts_of(settings)
    if as_json:
        show_json({"snapshots": [{"name": name, **_summary(snapshot)} for name, snapshot in found]})
        return
    rows = [
        (name[:_SHOWN], instant(s.at.isoformat()), s.target, ", ".join(_images(s)), ", ".join(_objects(s)))
        for name, s in found
    ]
    columns = [texts.word(column, "page") for column in ("name", "taken", "target", "images", "objects")]
    title, none = texts.word("snapshots", "page"), plain(texts.text(phrase("cli.no_snapshot_yet")))
    show([table(title, columns, rows) if rows else none])


@snapshots.command("show")
def show_(which: Which, paths: Paths, reveal: Reveal = False) -> None:
    """Print the manifests of a snapshot as YAML; what looks secret is hidden, and of a Secret the place is shown."""
    settings = _settings(paths)
    _, snapshot = _chosen(_done(snapshot_tools.saved(settings), settings), which, settings)
    masker = Masker()
    manifests = snapshot.manifests if reveal else [masker.masked(m) for m in snapshot.manifests]
    show([plain(line) for line in [*_yaml(list(manifests)).splitlines(), *_not_shown(snapshot)]])
    _tell_hidden(masker, settings)


@snapshots.command("diff")
def diff(which: Which, paths: Paths, other: Other = "", reveal: Reveal = False) -> None:
    """Show what differs between two snapshots, or a snapshot and the cluster; exits 1 if something does.

    A value that looks secret is shown as a number, the same for the same value. So are all values of Secrets, whatever
    is asked for. They are compared with your own rights, where config.secrets is restore.
    """
    settings = _settings(paths)
    found, say = _done(snapshot_tools.saved(settings), settings), texts_of(settings).text
    name, before = _chosen(found, which, settings)
    if other:
        called, after = _chosen(found, other, settings)
    else:
        called, after = say(phrase("cli.cluster_now")), _done(snapshot_tools.present(settings, before), settings)
    secrets = _done(secret_comparison.compared(settings, before, after if other else None), settings)
    masker = Masker()
    left_out = snapshot_tools.unknown(before) | snapshot_tools.unknown(after)
    old, new = (_shown(s, left_out, None if reveal else masker) for s in (before, after))
    old, new = old | _lines(secrets.before), new | _lines(secrets.after)
    lines = _difference(old, new, name[:_SHOWN], called[:15])
    show([plain(line, _STYLES.get(line[:1], "")) for line in lines] or [plain(say(phrase("cli.nothing_differs")))])
    _tell([phrase("cli.not_compared", object=key) for key in sorted(left_out)], settings)
    _tell([phrase("cli.secret_not_compared", object=o, why=why) for o, why in secrets.left_out.items()], settings)
    _tell_hidden(masker, settings)
    raise typer.Exit(FAULTY if lines else 0)


@snapshots.command("verify")
def verify(paths: Paths) -> None:
    """Look through everything that is kept, beside a running guard: each blob, and what the journal needs of them.

    What is kept of Secrets is read with your own rights; what they do not let you look at is named beside the output.
    Prints a line for each fault. Exits 0 if there is none, 1 if there are some, 2 if there is no journal to read.
    """
    settings = _settings(paths)
    checked, texts = _done(snapshot_tools.checked(settings), settings), texts_of(settings)
    show([plain(texts.text(flaw.told)) for flaw in checked.flaws])
    _tell([phrase("cli.not_looked_at", object=o.name, why=o.reason) for o in checked.not_looked_at], settings)
    if checked.flaws:
        raise ended(phrase("cli.faults", count=len(checked.flaws)), FAULTY, texts)
    count = len(_done(snapshot_tools.saved(settings), settings))
    show([plain(texts.text(phrase("cli.snapshots_sound", count=count)))])


def _settings(paths: Sequence[Path]) -> Settings:
    loaded = load(*paths)
    if isinstance(loaded, list):
        print_faults(loaded)
        raise typer.Exit(BAD_INPUT)
    return loaded.settings


def _done(work: Coroutine[Any, Any, T], settings: Settings) -> T:
    """The work's answer; ends the command where something outside cannot be read or reached."""
    try:
        return asyncio.run(work)
    except (ClusterError, JournalOutOfReach) as error:
        raise ended(error.reason, UNREACHABLE, texts_of(settings)) from None
    except (ConfigurationError, JournalUnavailable) as error:
        raise ended(error.reason, BAD_INPUT, texts_of(settings)) from None


def _tell(sentences: Iterable[Phrase], settings: Settings) -> None:
    """Beside the output: not a part of what was asked for."""
    for sentence in sentences:
        typer.echo(escaped(texts_of(settings).text(sentence)), err=True)


def _tell_hidden(masker: Masker, settings: Settings) -> None:
    if masker.hidden:
        _tell([phrase("cli.hidden", count=masker.hidden)], settings)


def _newest_first(found: Found) -> list[tuple[str, Snapshot]]:
    return sorted(found.items(), key=lambda item: item[1].at, reverse=True)


def _chosen(found: Found, which: str, settings: Settings) -> tuple[str, Snapshot]:
    fitting = [(name, s) for name, s in _newest_first(found) if which and name.startswith(which.lower())]
    if len(fitting) != 1:
        known = [name[:_SHOWN] for name, _ in _newest_first(found)]
        refused = phrase("cli.which_snapshot", count=len(fitting), name=which, known=known)
        raise ended(refused, BAD_INPUT, texts_of(settings))
    return fitting[0]


def _summary(snapshot: Snapshot) -> Json:
    return {
        "at": snapshot.at.isoformat(),
        "target": snapshot.target,
        "images": _images(snapshot),
        "objects": _objects(snapshot),
        "secrets": [{"object": str(s), "place": s.place} for s in snapshot.secrets],
        "left_out": [{"object": str(o), "reason": o.reason, "detail": o.detail} for o in snapshot.omissions],
    }


def _not_shown(snapshot: Snapshot) -> Sequence[str]:
    """A line for each Secret that is kept in its own place, and for what is left out."""
    kept = [f"# {secret} is {_KEPT}: {secret.place}" for secret in snapshot.secrets]
    return [*kept, *(f"# {o} is {o.reason}{f': {o.detail}' if o.detail else ''}" for o in snapshot.omissions)]


def _images(snapshot: Snapshot) -> list[str]:
    """Those of the workload, which stands first."""
    return list(Workload(snapshot.manifests[0]).images) if snapshot.manifests else []


def _objects(snapshot: Snapshot) -> list[str]:
    return [f"{m.get('kind')}/{m['metadata']['name']}" for m in snapshot.manifests]


def _shown(snapshot: Snapshot, left_out: frozenset[str], masker: Masker | None) -> dict[str, list[str]]:
    """The lines of each object that is compared, without what looks secret."""
    found = {f"{m.get('kind')}/{m['metadata']['name']}": meaningful(m) for m in snapshot.manifests}
    return _lines({
        key: manifest if masker is None else masker.masked(manifest)
        for key, manifest in found.items()
        if key not in left_out
    })  # fmt: skip


def _lines(manifests: Mapping[str, Json]) -> dict[str, list[str]]:
    return {key: _yaml(manifest).splitlines() for key, manifest in manifests.items()}


def _difference(
    old: Mapping[str, list[str]], new: Mapping[str, list[str]], name: str, other: str
) -> list[str]:  # fmt: skip
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        first, second = old.get(key, []), new.get(key, [])
        lines += difflib.unified_diff(first, second, f"{name} {key}", f"{other} {key}", lineterm="")
    return lines


def _yaml(value: object) -> str:
    return yaml.dump(value, Dumper=_Readable, sort_keys=True, allow_unicode=True, width=120)


class _Readable(yaml.SafeDumper):
    """Files in a ConfigMap stand line by line."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)
