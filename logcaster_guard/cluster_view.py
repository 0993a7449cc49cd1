"""What the cluster shows to those who only watch it: one look is shared by all targets.

It may be seconds old, so nothing that is decided, written or told to the journal rests on it. A run, a decision and
what people say ask `ports.Cluster`, which keeps nothing; an import contract names all who may use this port.
"""

from __future__ import annotations

from typing import Protocol

from logcaster_guard.ports import Reads


class Look(Reads, Protocol):
    """What one who asks was shown. Others are shown the same objects, so nobody may change them."""

    @property
    def proven(self) -> float:
        """Monotonic second at which everything that it has shown was known to be so; what is older counts from it."""


class ClusterView(Protocol):
    """The shared view of the cluster. Raises as `ports.Cluster`, and `Unavailable` for what was proven too long ago."""

    def look(self) -> Look:
        """Begin to look."""
