"""Secrets: settings name where they lie, and nothing holds them longer than one use."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from logcaster_guard.domain.errors import SecretUnreadable
from logcaster_guard.fields.faults import Refused, closest, escaped, quoted
from logcaster_guard.fields.urls import check_base_url
from logcaster_guard.messages.journal_faults import (
    OfEnvironment,
    OfFile,
    SecretFault,
    SecretTooLarge,
    SecretUnread,
    SecretWrong,
)
from logcaster_guard.messages.texts import Phrase, english, failure, phrase

MAX_BYTES = 64 << 10

_BYTE_ORDER_MARK = "\ufeff"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_TOKEN_LIKE = re.compile(r"(?=[^/]*\d)(?=[^/]*[A-Za-z])[A-Za-z0-9_~.:=%-]{16,}", re.ASCII)
_SECRET_HOSTS = ("hooks.slack.com", "discord.com", "discordapp.com", "webhook.office.com", "chat.googleapis.com")


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """Where a secret lies: a file or an environment variable. `plain` is for what turned out to be no secret."""

    file: str | None = None
    env: str | None = None
    plain: str | None = None

    def read(self) -> str:
        """The secret as it is now, without its final line end; raises `SecretUnreadable`."""
        if self.plain is not None:
            return self.plain
        text = self._from_file(self.file) if self.file is not None else os.environ.get(self.env or "", "")
        text = text.rstrip("\r\n")
        if not text:
            raise failure(SecretUnreadable, SecretWrong(self._where, SecretFault.EMPTY))
        if text.startswith(_BYTE_ORDER_MARK):
            raise failure(SecretUnreadable, SecretWrong(self._where, SecretFault.BYTE_ORDER_MARK))
        if not text.isprintable():
            raise failure(SecretUnreadable, SecretWrong(self._where, SecretFault.CONTROL))
        return text

    @property
    def place(self) -> str:
        """Where it lies, in words."""
        return english().text(self._where)

    @property
    def _where(self) -> OfFile | OfEnvironment:
        return OfEnvironment(self.env or "") if self.file is None else OfFile(escaped(self.file))

    def __repr__(self) -> str:
        return f"Secret({self.place})"

    def _from_file(self, name: str) -> str:
        try:
            path = Path(name)
            if not stat.S_ISREG(path.stat().st_mode):
                raise failure(SecretUnreadable, SecretWrong(self._where, SecretFault.NO_FILE))
            with path.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise failure(SecretUnreadable, SecretTooLarge(self._where, MAX_BYTES))
            return content.decode("utf-8")
        except OSError as error:
            raise failure(SecretUnreadable, SecretUnread(self._where, str(error.strerror))) from None
        except ValueError:
            raise failure(SecretUnreadable, SecretWrong(self._where, SecretFault.NOT_TEXT)) from None


def to_secret(value: object) -> Secret:
    """`{file: …}` or `{env: …}` from the settings; raises `Refused`, which never shows the value."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, dict):
        raise _refused(phrase("found.secret_in_clear" if isinstance(value, str) else "found.no_mapping"))
    for key in value:
        if key not in {"file", "env"}:
            found, meant = phrase("found.unknown_key", key=quoted(str(key))), closest(str(key), ("file", "env"))
            raise Refused(found, phrase("allowed.secret"), meant, key=(key,))
    if len(value) != 1:
        raise _refused(phrase("found.places_of_secret", count=len(value)))
    ((key, place),) = value.items()
    if not isinstance(place, str) or not place.strip() or "\0" in place:
        raise Refused(phrase("found.no_usable", key=key), phrase("allowed.secret"), key=(key,))
    if key == "env" and not _ENV_NAME.fullmatch(place):
        raise Refused(phrase("found.no_variable"), phrase("allowed.a_variable"), key=(key,))
    return Secret(**{key: place})


def _refused(found: Phrase) -> Refused:
    return Refused(found, phrase("allowed.secret"))


def to_secret_url(value: object) -> Secret:
    """An address that may be secret: plain only if it holds no credentials; raises `Refused`."""
    if not isinstance(value, str):
        return to_secret(value)
    try:
        parts = urlsplit(value)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        raise Refused(phrase("found.malformed_address"), phrase("allowed.http_address")) from None
    if "@" in parts.netloc or parts.query or any(_TOKEN_LIKE.fullmatch(s) for s in parts.path.split("/")):
        raise _refused(phrase("found.secret_address"))
    if any(host == h or host.endswith("." + h) for h in _SECRET_HOSTS):
        raise _refused(phrase("found.secret_path", host=host))
    return Secret(plain=check_base_url(value))
