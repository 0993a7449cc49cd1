"""What ConfigMaps and Secrets hold, and the digest of what a set of references finds in them.

Only what is referenced counts: no other key, no label, no annotation, no resourceVersion. An object that is absent, a
key that is absent and a value that is empty are three things.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn, TypeAlias

from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject, ConfigReference

FORMAT = 1
"""The layout of what a digest is made of. Another one makes other digests of the same content."""


class Concealed:
    """A value that is shown nowhere: no repr, format, `asdict`, JSON or pickle tells it. Only `reveal` does."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The value."""
        return self._value

    def __repr__(self) -> str:
        return "Concealed()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Concealed) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Concealed:
        return self

    def __deepcopy__(self, memo: object) -> Concealed:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a concealed value is not serialised")


@dataclass(frozen=True, slots=True)
class DigestKey:
    """What the digests of Secrets are made with, and of their values."""

    secret: Concealed

    @property
    def name(self) -> str:
        """What tells it from another key, and nothing of it: it has 256 random bits."""
        return hashlib.sha256(self.secret.reveal()).hexdigest()[:16]

    def digest(self, content: bytes) -> str:
        """HMAC-SHA-256, in hex."""
        return hmac.new(self.secret.reveal(), content, hashlib.sha256).hexdigest()


class NoContent(StrEnum):
    """Why nothing of an object is known: it is not there, or the guard may not read it."""

    ABSENT = "absent"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Content:
    """What an object holds, by key. A Secret has no `binary`. `immutable`: the kubelet does not look at it again."""

    data: Mapping[str, Concealed] = field(default_factory=dict)
    binary: Mapping[str, Concealed] = field(default_factory=dict)
    immutable: bool = False


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The digests of what an object holds, by key: all that has to be kept to tell one content from another.

    `made_with` is the name of the `DigestKey`, empty for a ConfigMap: by another one the same content differs.
    """

    data: Mapping[str, str] = field(default_factory=dict)
    binary: Mapping[str, str] = field(default_factory=dict)
    immutable: bool = False
    made_with: str = ""


Found: TypeAlias = Fingerprint | NoContent
"""What a look at an object found, without its values."""


def content_of(kind: ConfigKind, raw: Mapping[str, Any]) -> Content:
    """What an object holds; a list does not tell the kind of its items.

    Convention: a Secret's data and a ConfigMap's binaryData are base64.
    """
    secret = kind is ConfigKind.SECRET
    data = raw.get("data") or {}
    return Content(
        {key: Concealed(_decoded(value) if secret else (value or "").encode()) for key, value in data.items()},
        {key: Concealed(_decoded(value)) for key, value in (raw.get("binaryData") or {}).items()},
        bool(raw.get("immutable")),
    )


def fingerprint_of(kind: ConfigKind, content: Content, key: DigestKey | None) -> Found:
    """The fingerprint of a content: SHA-256 for a ConfigMap, HMAC-SHA-256 with `key` for a Secret.

    Without a key a Secret is unreadable: the plain digest of a short password would tell it.
    """
    if kind is ConfigKind.CONFIG_MAP:
        key = None
    elif key is None:
        return NoContent.UNREADABLE
    made_with = "" if key is None else key.name
    return Fingerprint(_digests(content.data, key), _digests(content.binary, key), content.immutable, made_with)


def made_with(found: Found) -> str:
    """The name of the key of these digests; empty where they have none."""
    return found.made_with if isinstance(found, Fingerprint) else ""


def readable(reference: ConfigReference, found: Found) -> bool:
    """Whether a container can have read this: without what it needs it does not start, and its volumes stay."""
    if reference.optional or found is NoContent.UNREADABLE:
        return True
    if not reference.needed:
        return isinstance(found, Fingerprint)
    return isinstance(found, Fingerprint) and set(reference.needed) <= _offered(reference, found).keys()


def part(reference: ConfigReference, found: Found) -> str:
    """What the reference finds, as canonical JSON: the same text as long as nothing changes that it reads."""
    if not isinstance(found, Fingerprint):
        return json.dumps(found)
    offered = _offered(reference, found)
    keys = sorted(offered) if reference.keys is None else reference.keys
    return json.dumps({key: offered.get(key) for key in keys}, sort_keys=True)


def changed_keys(before: Found, after: Found) -> tuple[str, ...]:
    """The names of the keys that were added, removed or given another value, `data` and `binaryData` alike."""
    one, other = ({**f.data, **f.binary} if isinstance(f, Fingerprint) else {} for f in (before, after))
    return tuple(sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key)))


def digest(references: Iterable[ConfigReference], found: Mapping[ConfigObject, Found]) -> str:
    """SHA-256 (hex) of all that the references find. Which container reads it, and when, is the template's to tell.

    `found` has an entry for each object that is referred to.
    """
    entries = {
        json.dumps([str(r.object), r.keys, r.needed, r.optional, r.prefix, part(r, found[r.object])])
        for r in references
    }  # fmt: skip
    return hashlib.sha256(json.dumps([FORMAT, *sorted(entries)]).encode()).hexdigest()


def _offered(reference: ConfigReference, found: Fingerprint) -> Mapping[str, tuple[str, str]]:
    """The keys that such a reference can read, with where each stands and its digest."""
    offered = {key: ("data", value) for key, value in found.data.items()}
    if reference.binary:
        offered |= {key: ("binaryData", value) for key, value in found.binary.items()}
    return offered


def _digests(values: Mapping[str, Concealed], key: DigestKey | None) -> Mapping[str, str]:
    if key is None:
        return {name: hashlib.sha256(value.reveal()).hexdigest() for name, value in values.items()}
    return {name: key.digest(value.reveal()) for name, value in values.items()}


def _decoded(value: str | None) -> bytes:
    """An empty value of a Secret may be written as null."""
    return base64.b64decode(value or "")
