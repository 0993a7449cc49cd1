"""What somebody else did to the target in mid-run, as messages. `who` is the field manager, empty where unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class ServiceDeleted(Message):
    """The target's Service was deleted."""

    service: str
    kind: Literal["theirs.service_deleted"] = "theirs.service_deleted"


@dataclass(frozen=True, slots=True)
class SelectorChanged(Message):
    """Somebody changed the Service's selector."""

    service: str
    who: Reason
    kind: Literal["theirs.selector_changed"] = "theirs.selector_changed"


@dataclass(frozen=True, slots=True)
class WorkloadDeleted(Message):
    """The workload was deleted."""

    workload: str
    kind: Literal["theirs.workload_deleted"] = "theirs.workload_deleted"


@dataclass(frozen=True, slots=True)
class WorkloadMadeAnew(Message):
    """The workload was deleted and created again."""

    workload: str
    kind: Literal["theirs.workload_made_anew"] = "theirs.workload_made_anew"


@dataclass(frozen=True, slots=True)
class WorkloadBeingDeleted(Message):
    """The workload is on its way out."""

    workload: str
    kind: Literal["theirs.workload_being_deleted"] = "theirs.workload_being_deleted"


@dataclass(frozen=True, slots=True)
class ConfigMapEdited(Message):
    """Somebody set `keys` of a ConfigMap, or none where it was made immutable."""

    config_map: str
    keys: tuple[str, ...]
    who: Reason
    kind: Literal["theirs.config_map_edited"] = "theirs.config_map_edited"


@dataclass(frozen=True, slots=True)
class DigestKeyLost(Message):
    """The key of a Secret's digests is another one than when that was planned: an edit of it cannot be told."""

    secret: str
    kind: Literal["theirs.digest_key_lost"] = "theirs.digest_key_lost"


@dataclass(frozen=True, slots=True)
class CopyGone(Message):
    """Somebody deleted the copy of a ConfigMap or Secret that the helper's pods start with."""

    config_map: str
    kind: Literal["theirs.copy_gone"] = "theirs.copy_gone"


@dataclass(frozen=True, slots=True)
class CopyNotOurs(Message):
    """Where the copy of a ConfigMap or Secret is to be stands another, which is none of the run's for `reason`."""

    config_map: str
    reason: Reason
    kind: Literal["theirs.copy_not_ours"] = "theirs.copy_not_ours"


@dataclass(frozen=True, slots=True)
class GoodReleaseOut(Message):
    """Somebody rolled the good release out already."""

    workload: str
    who: Reason
    kind: Literal["theirs.good_release_out"] = "theirs.good_release_out"


@dataclass(frozen=True, slots=True)
class WorkloadScaled(Message):
    """Somebody gave the workload another size."""

    workload: str
    before: int
    now: int
    who: Reason
    kind: Literal["theirs.workload_scaled"] = "theirs.workload_scaled"


@dataclass(frozen=True, slots=True)
class WorkloadPaused(Message):
    """Somebody paused the workload's rollout."""

    workload: str
    who: Reason
    kind: Literal["theirs.workload_paused"] = "theirs.workload_paused"


@dataclass(frozen=True, slots=True)
class WorkloadFrozen(Message):
    """Somebody froze the workload; `words` are theirs."""

    workload: str
    words: str
    who: Reason
    kind: Literal["theirs.workload_frozen"] = "theirs.workload_frozen"


@dataclass(frozen=True, slots=True)
class AnotherReleaseOut(Message):
    """Somebody rolled out another release."""

    workload: str
    images: tuple[str, ...]
    who: Reason
    kind: Literal["theirs.another_release_out"] = "theirs.another_release_out"


@dataclass(frozen=True, slots=True)
class BadReleaseOutAgain(Message):
    """Somebody rolled the bad release out again."""

    who: Reason
    kind: Literal["theirs.bad_release_out_again"] = "theirs.bad_release_out_again"


@dataclass(frozen=True, slots=True)
class WorkloadGone(Message):
    """What the run is about is gone; `what` names it."""

    what: str
    kind: Literal["theirs.gone"] = "theirs.gone"


@dataclass(frozen=True, slots=True)
class HelperScaled(Message):
    """Somebody gave the helper another size."""

    helper: str
    before: int
    now: int
    who: Reason
    kind: Literal["theirs.helper_scaled"] = "theirs.helper_scaled"


@dataclass(frozen=True, slots=True)
class HelperDeleted(Message):
    """Somebody deleted the helper."""

    helper: str
    kind: Literal["theirs.helper_deleted"] = "theirs.helper_deleted"


@dataclass(frozen=True, slots=True)
class AnotherInItsPlace(Message):
    """A Deployment of the helper's name is none of the run's, for `reason`."""

    helper: str
    reason: Reason
    kind: Literal["theirs.another_in_its_place"] = "theirs.another_in_its_place"
