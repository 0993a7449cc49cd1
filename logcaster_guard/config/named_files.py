"""The files that settings name: where they may lie, and whether they are there.

Settings usually come from a ConfigMap. Whoever may edit that is no administrator of the guard: they must not be able to
have its service account's token sent to an address of theirs, or a program run that a kubeconfig of theirs names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from logcaster_guard.config.settings import Settings
from logcaster_guard.fields.faults import Refused, escaped
from logcaster_guard.fields.secrets import Secret
from logcaster_guard.fields.section import check_path
from logcaster_guard.messages.texts import Phrase, phrase

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts a pod's token."""

Loc = tuple[str | int, ...]


def refusals(settings: Settings, files: Sequence[Path], folders: Sequence[Path]) -> Iterator[tuple[Loc, Refused]]:
    """What lies where it must not.

    `files` are the configuration's own; `folders` are those that paths must lie below, if there are any.
    """
    for loc, path in places(settings):
        real = _real(path)
        if any(real.is_relative_to(place) for place in (SERVICE_ACCOUNT, _real(SERVICE_ACCOUNT))):
            yield loc, Refused(phrase("found.own_token"), phrase("allowed.projected_token"))
        elif folders and not any(real.is_relative_to(_real(folder)) for folder in folders):
            below = phrase("allowed.below", folders=[_shown(folder) for folder in folders])
            yield loc, Refused(phrase("found.path", path=_shown(path)), below)
        elif loc[-1] == "kubeconfig" and _beside(path, files):
            found = phrase("found.kubeconfig_beside", path=_shown(path))
            yield loc, Refused(found, phrase("allowed.kubeconfig_elsewhere"))


def places(settings: Settings) -> Iterator[tuple[Loc, Path]]:
    """Each file or folder that the settings name, by its key."""
    for loc, value in _named(settings):
        if isinstance(value, Path):
            yield loc, value
        elif value.file is not None:
            yield (*loc, "file"), Path(value.file)


def secrets(settings: Settings) -> Iterator[Secret]:
    """Each place of a secret that the settings name."""
    return (value for _, value in _named(settings) if isinstance(value, Secret))


def absent(settings: Settings) -> Iterator[Phrase]:
    """A sentence for each file that is to be read and cannot be here, and each variable that is not set here."""
    for loc, path in places(settings):
        if loc[0] != "journal" and not os.access(path, os.R_OK):
            there = path.exists()
            yield phrase("warn.file_unreadable" if there else "warn.file_absent", key=_key(loc), path=_shown(path))
    for loc, value in _named(settings):
        if isinstance(value, Secret) and value.env is not None and not os.environ.get(value.env):
            yield phrase("warn.variable_unset", key=_key(loc), name=value.env)


def _key(loc: Loc) -> str:
    """As the key stands in docs/configuration.md."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".").removesuffix(".file")


def _named(settings: Settings) -> Iterator[tuple[Loc, Path | Secret]]:
    for name in ("sources", "database", "journal", "notify", "web", "authority", "log"):
        yield from _within((name,), getattr(settings, name))


def _within(loc: Loc, value: object) -> Iterator[tuple[Loc, Path | Secret]]:
    if isinstance(value, Secret):
        yield loc, value
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _within((*loc, index), item)
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner = getattr(value, name)
            if isinstance(inner, str) and _is_path(field.annotation, field.metadata):
                yield (*loc, name), Path(inner)
            else:
                yield from _within((*loc, name), inner)


def _is_path(annotation: Any, metadata: Sequence[object] = ()) -> bool:  # noqa: ANN401 - any annotation
    """Whether a field is declared as a path, alone or as one of several types."""
    return any(getattr(m, "func", None) is check_path for m in metadata) or any(
        _is_path(inner, getattr(inner, "__metadata__", ())) for inner in get_args(annotation)
    )


def _beside(path: Path, files: Sequence[Path]) -> bool:
    """Whether it lies in the folder of a configuration file, as either is written or as links lead."""
    theirs = {place for file in files for place in (file.absolute().parent, _real(file).parent)}
    return bool(theirs & {path.absolute().parent, _real(path).parent})


def _shown(path: Path) -> str:
    return f'"{escaped(str(path))}"'


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
