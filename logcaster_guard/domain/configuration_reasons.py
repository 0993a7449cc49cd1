"""Why a ConfigMap is not put back, or stays as it is, as messages. `config_map` is `ConfigMap shop/settings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class ConfigOfHelm(Message):
    """Helm keeps it for a release."""

    config_map: str
    release: str
    command: str
    kind: Literal["config.of_helm"] = "config.of_helm"


@dataclass(frozen=True, slots=True)
class ConfigOfGitOps(Message):
    """Argo CD or Flux would undo what is written; `suspendable`: it owns the workload as well."""

    config_map: str
    owner: Reason
    suspendable: bool
    kind: Literal["config.of_gitops"] = "config.of_gitops"


@dataclass(frozen=True, slots=True)
class ConfigOfOperator(Message):
    """An operator writes it: its `owner` is an object, or a field manager."""

    config_map: str
    owner: str
    kind: Literal["config.of_operator"] = "config.of_operator"


@dataclass(frozen=True, slots=True)
class ConfigShared(Message):
    """Others of the namespace refer to it; there are `more`."""

    config_map: str
    others: tuple[str, ...]
    more: int
    kind: Literal["config.shared"] = "config.shared"


@dataclass(frozen=True, slots=True)
class ConfigUsersUnknown(Message):
    """Whether others refer to it cannot be told: these kinds may not be listed."""

    config_map: str
    kinds: tuple[str, ...]
    namespace: str
    granted_by: str
    kind: Literal["config.users_unknown"] = "config.users_unknown"


@dataclass(frozen=True, slots=True)
class ConfigImmutable(Message):
    """It is immutable, or was, or is `gone` and was: nodes may go on giving pods what they know under its name."""

    config_map: str
    gone: bool = False
    kind: Literal["config.immutable"] = "config.immutable"


@dataclass(frozen=True, slots=True)
class ConfigTypeDiffers(Message):
    """The Secret is of another type than it was, which nobody can set."""

    config_map: str
    kind: Literal["config.type_differs"] = "config.type_differs"


@dataclass(frozen=True, slots=True)
class ConfigStringData(Message):
    """It was applied with `stringData` on the client's side: keys that the next apply leaves out stay in it."""

    config_map: str
    kind: Literal["config.string_data"] = "config.string_data"


@dataclass(frozen=True, slots=True)
class ConfigWasAbsent(Message):
    """It was not there when the good release's pods started, and is now; `command` deletes it. `others` refer to it."""

    config_map: str
    command: str = ""
    others: tuple[str, ...] = ()
    kind: Literal["config.was_absent"] = "config.was_absent"


@dataclass(frozen=True, slots=True)
class ConfigDiffers(Message):
    """These hold something else than the good release read, and its first pods would start on that."""

    config_maps: tuple[str, ...]
    kind: Literal["config.differs"] = "config.differs"


@dataclass(frozen=True, slots=True)
class ConfigNothingDiffers(Message):
    """What the workload refers to holds what the good release read."""

    workload: str
    revision: str
    kind: Literal["config.nothing_differs"] = "config.nothing_differs"


@dataclass(frozen=True, slots=True)
class ConfigUnknown(Message):
    """What the good release's pods read was not kept."""

    workload: str
    revision: str
    kind: Literal["config.unknown"] = "config.unknown"


@dataclass(frozen=True, slots=True)
class ConfigWouldBeBad(Message):
    """With what the good release read, the workload would carry a release that is known to be bad."""

    workload: str
    revision: str
    kind: Literal["config.would_be_bad"] = "config.would_be_bad"


@dataclass(frozen=True, slots=True)
class ConfigUnread(Message):
    """Nobody can tell whether an object holds what the good release read, and it stays as it is."""

    object: str
    kind: Literal["config.unread"] = "config.unread"


@dataclass(frozen=True, slots=True)
class ConfigStays(Message):
    """An object stays as it is although it is known to differ, for `reason`."""

    reason: Reason
    kind: Literal["config.stays"] = "config.stays"
