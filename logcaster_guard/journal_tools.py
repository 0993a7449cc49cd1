"""What people do with a journal by hand: look through it, back it up, compact it, export it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from logcaster_guard import stores
from logcaster_guard.adapters import journal_copy
from logcaster_guard.adapters.blobs import FolderBlobs
from logcaster_guard.adapters.journal import SqliteJournal
from logcaster_guard.adapters.kubernetes import journal_copy as secrets_copy
from logcaster_guard.adapters.kubernetes.connect import own_namespace
from logcaster_guard.adapters.kubernetes.journal import KubernetesJournal
from logcaster_guard.adapters.kubernetes.lease import KubernetesLease
from logcaster_guard.config.settings import Settings
from logcaster_guard.domain.errors import BlobMissing, GuardError, JournalInUse, JournalUnavailable
from logcaster_guard.domain.events import NoticeQueued, RunOpened
from logcaster_guard.domain.guard_reasons import SecretsInNoBackup, SecretsNotKept
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.state import target_of
from logcaster_guard.engine.compaction import compaction
from logcaster_guard.engine.journal_check import checked
from logcaster_guard.messages.texts import phrase
from logcaster_guard.ports import Checked, Cluster, Entry, Flaw, Inspected, Journal, Json, ReadableBlobs, SavedSecrets

JOURNAL, SECRETS = "journal.db", "secrets.json"
"""What a backup holds: the file and `blobs/` beside it, or the Secrets."""

IN_NO_BACKUP = SecretsInNoBackup()

_MEMBER = re.compile(rf"{re.escape(JOURNAL)}|{re.escape(SECRETS)}|blobs/[0-9a-f]{{2}}/[0-9a-f]{{64}}")


@dataclass(frozen=True, slots=True)
class Copy:
    """A journal as it was at one moment, and what can be read of the blobs beside it."""

    journal: Inspected
    blobs: ReadableBlobs

    async def checked(self, policy: LedgerPolicy, secrets: SavedSecrets | Message = IN_NO_BACKUP) -> Checked:
        """Everything that is wrong with it, and with what is kept of Secrets; a message says why that is not read."""
        return await checked(self.journal, self.blobs, secrets, policy)


@dataclass(frozen=True, slots=True)
class Compacted:
    """How many of how many events went, and the bytes in use before and after."""

    removed: int
    events: int
    before: int
    after: int


class BackupFailed(GuardError):
    """No backup was made; the message says why, and `flaws` what was found in the copy."""

    def __init__(self, message: str, flaws: Sequence[Flaw] = ()) -> None:
        super().__init__(message)
        self.flaws = flaws


async def present(settings: Settings) -> Copy:
    """The configured journal as it is now; a guard may be at work on it.

    Raises `JournalUnavailable` where nothing can be read, and what `connect` and the cluster raise.
    """
    section = settings.journal
    if not stores.in_cluster(section):
        found = await asyncio.to_thread(journal_copy.inspect, stores.CODEC, Path(section.path))
        return Copy(found, FolderBlobs(Path(section.blobs)))
    return _of_secrets(await _secrets(settings))


async def verified(settings: Settings) -> tuple[Copy, Checked]:
    """The configured journal, and everything that is wrong with it; raises as `present` does."""
    copy = await present(settings)
    async with stores.saved_secrets_alone(settings) as secrets:
        return copy, await copy.checked(settings.policy.ledger, secrets or SecretsNotKept())


@contextlib.asynccontextmanager
async def backup(file: Path) -> AsyncIterator[Copy]:
    """What a backup holds, as it is read back; raises `JournalUnavailable`."""
    with tempfile.TemporaryDirectory(prefix="logcaster-guard-") as scratch:
        folder = Path(scratch)
        await asyncio.to_thread(_unpack, file, folder)
        if (folder / SECRETS).exists():
            yield _of_secrets(await asyncio.to_thread(_read_secrets, folder / SECRETS))
        else:
            found = await asyncio.to_thread(journal_copy.inspect, stores.CODEC, folder / JOURNAL)
            yield Copy(found, FolderBlobs(folder / "blobs"))


async def back_up(settings: Settings, file: Path) -> Copy:
    """Write a backup to the new `file` (0600), read it back, and return what it holds.

    Raises `BackupFailed`, `JournalUnavailable`, and what `connect` and the cluster raise; then there is no such file.
    """
    with _drafted(file) as draft:
        await (_pack_secrets if stores.in_cluster(settings.journal) else _pack_files)(settings, draft)
        async with backup(draft) as read:
            flaws = (await read.checked(settings.policy.ledger)).flaws
            if flaws:
                raise BackupFailed(phrase("fault.copy_untrusted", file=str(file)), flaws)
            return read


async def compact(settings: Settings, *, stopped: bool) -> Compacted:
    """Let go of what the guard lets go of at night; raises `JournalInUse` where one is at work.

    `stopped`: a person says that none is, where nobody else can tell.
    """
    async with _alone_with(settings, stopped=stopped) as journal:
        entries, before = await journal.read_all(), await journal.size()
        # The retention is longer than anything is owed for.
        limit = datetime.now(UTC) - timedelta(seconds=settings.policy.retention)
        found = await asyncio.to_thread(compaction, entries, owed=(), before=limit)
        await journal.compact(found.superfluous)
        return Compacted(len(found.superfluous), len(entries), before.used, (await journal.size()).used)


@contextlib.asynccontextmanager
async def _alone_with(settings: Settings, *, stopped: bool) -> AsyncIterator[Journal]:
    """The journal, which no guard is at work on; raises `JournalInUse` where one is, or may be."""
    section = settings.journal
    if not stores.in_cluster(section):
        await asyncio.to_thread(journal_copy.check_is_there, Path(section.path))
        try:
            journal = await SqliteJournal.open(stores.CODEC, Path(section.path))
        except JournalInUse as error:
            raise JournalInUse(phrase("fault.journal_open", path=section.path)) from error
        async with contextlib.aclosing(journal):
            yield journal
        return
    cluster = await stores.connected(settings)
    async with contextlib.aclosing(cluster):
        await _refuse_beside_a_guard(settings, cluster, stopped=stopped)
        yield KubernetesJournal(stores.CODEC, cluster, stores.place_of(section))


async def _refuse_beside_a_guard(settings: Settings, cluster: Cluster, *, stopped: bool) -> None:
    section = settings.authority
    if section.lease is None:
        if not stopped:
            raise JournalInUse(phrase("fault.no_lease_to_tell"))
        return
    namespace = section.namespace or own_namespace() or settings.targets[0].namespace
    record = await KubernetesLease(cluster, namespace, section.lease).read()
    if record is None or not record.holder or record.renewed is None:
        return
    if record.renewed + timedelta(seconds=record.duration) > datetime.now(UTC):
        raise JournalInUse(phrase("fault.guard_holds", holder=record.holder, lease=f"{namespace}/{section.lease}"))


def exported(entries: Sequence[Entry]) -> Iterator[Json]:
    """Each event as an object whose keys stay; what would let anybody pass for the guard is left out of it."""
    targets: dict[str, str] = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, RunOpened):
            targets[event.run] = event.target
        run = event.notice.run if isinstance(event, NoticeQueued) else str(getattr(event, "run", "") or "")
        run = run or (entry.stream.removeprefix("run/") if entry.stream.startswith("run/") else "")
        data = json.loads(stores.CODEC.encode(event))
        yield {
            "position": entry.position,
            "stream": entry.stream,
            "seq": entry.seq,
            "at": data.pop("at"),
            "type": data.pop("type"),
            "target": target_of(entry.stream) or targets.get(run),
            "run": run or None,
            "data": _without_tokens(data),
        }


def _without_tokens(value: object) -> object:
    if isinstance(value, Mapping):
        return {k: "redacted" if k == "token" and part else _without_tokens(part) for k, part in value.items()}
    return [_without_tokens(part) for part in value] if isinstance(value, list) else value


@contextlib.contextmanager
def _drafted(file: Path) -> Iterator[Path]:
    """A file beside `file` that takes its place at the end, unless that is there by then."""
    if os.path.lexists(file):
        raise BackupFailed(phrase("fault.backup_there", file=str(file)))
    folder = file.absolute().parent
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{file.name}.") as scratch:
            draft = Path(scratch, "draft")
            yield draft
            os.link(draft, file)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        words = str(error.strerror or error)
        raise BackupFailed(phrase("fault.backup_unwritten", file=str(file), words=words)) from error


async def _pack_files(settings: Settings, draft: Path) -> None:
    section, blobs = settings.journal, FolderBlobs(Path(settings.journal.blobs))
    copy = draft.with_name(JOURNAL)
    await asyncio.to_thread(journal_copy.back_up, Path(section.path), copy)
    contents = {JOURNAL: await asyncio.to_thread(copy.read_bytes)}
    # After the journal: it names no blob that was not there before.
    for digest in sorted(await blobs.digests()):
        with contextlib.suppress(BlobMissing):
            contents[f"blobs/{digest[:2]}/{digest}"] = await blobs.get(digest)
    await asyncio.to_thread(_pack, draft, contents)


async def _pack_secrets(settings: Settings, draft: Path) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(await _secrets(settings))}
    await asyncio.to_thread(_pack, draft, {SECRETS: json.dumps(listed, indent=1).encode()})


async def _secrets(settings: Settings) -> Sequence[Json]:
    cluster = await stores.connected(settings)
    try:
        return await secrets_copy.copies(cluster, stores.place_of(settings.journal))
    finally:
        await cluster.aclose()


def _of_secrets(secrets: Sequence[Json]) -> Copy:
    place = secrets_copy.place_of(secrets)
    return Copy(secrets_copy.inspect(stores.CODEC, place, secrets), secrets_copy.blobs_in(place, secrets))


def _pack(draft: Path, contents: Mapping[str, bytes]) -> None:
    with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name, content in contents.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o600
                archive.addfile(member, io.BytesIO(content))
        file.flush()
        os.fsync(file.fileno())


def _unpack(file: Path, folder: Path) -> None:
    """What `_pack` wrote, and nothing else; raises `JournalUnavailable`."""
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() and _MEMBER.fullmatch(member.name) else None
                if content is None:
                    raise JournalUnavailable(phrase("fault.no_backup", file=str(file), member=f"{member.name!r:.80}"))
                (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
                (folder / member.name).write_bytes(content.read())
    except (OSError, EOFError, tarfile.TarError) as error:
        raise JournalUnavailable(phrase("fault.backup_unread", file=str(file), words=str(error))) from error


def _read_secrets(file: Path) -> Sequence[Json]:
    try:
        items = json.loads(file.read_bytes())["items"]
        return [{**item, "metadata": dict(item["metadata"])} for item in items]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise JournalUnavailable(phrase("fault.secrets_unread", name=SECRETS)) from error
