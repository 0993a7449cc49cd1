"""How what file systems and trees do is told: named failures in the place of `OSError`."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from logcaster_guard.domain.errors import TreeError, TreeRefused, TreeUnavailable
from logcaster_guard.messages.texts import failure
from logcaster_guard.messages.tree_faults import AttributeNotKept, EntryFault, EntryRefused, TreeUnusable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_WORDS = 200


def shown(path: str) -> str:
    """A path as people can be told it: whatever is no text in it is escaped, and a long one is cut."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return (text if len(text) <= _NO_WORDS else f"{text[: _NO_WORDS // 2]}…{text[-_NO_WORDS // 2 :]}") or "."


def refused(place: str, path: str, fault: EntryFault) -> TreeRefused:
    """Something in a tree or an archive may not be there."""
    return failure(TreeRefused, EntryRefused(shown(place), shown(path), fault))


def not_kept(place: str, path: str, attribute: str, error: OSError) -> TreeRefused:
    """The copy of an entry cannot have one of its attributes."""
    return failure(TreeRefused, AttributeNotKept(shown(place), shown(path), attribute, words_of(error)))


def unusable(place: str, path: str, error: OSError) -> TreeUnavailable:
    """The file system does not let the guard; an empty path: the tree itself."""
    return failure(TreeUnavailable, TreeUnusable(shown(place), path and shown(path), words_of(error)))


def words_of(error: OSError) -> str:
    """What the system says."""
    return error.strerror or str(error)


@contextmanager
def told(place: str) -> Iterator[None]:
    """Raise what the file system does not let the guard do as a `TreeUnavailable` of `place`."""
    try:
        yield
    except TreeError:
        raise
    except OSError as error:
        raise unusable(place, error.filename if isinstance(error.filename, str) else "", error) from error
