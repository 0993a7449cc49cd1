"""What was measured, and what the rules say of it, as messages. Lengths of time are in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class JudgedIn(Message):
    """When the judgement is due; `share` is the helper's of the pods, 0 where it is about an environment."""

    share: float
    seconds: float
    kind: Literal["seen.judged_in"] = "seen.judged_in"


@dataclass(frozen=True, slots=True)
class ErrorShare(Message):
    """A measured error rate."""

    share: str
    kind: Literal["seen.error_share"] = "seen.error_share"


@dataclass(frozen=True, slots=True)
class RequestCount(Message):
    """How many requests it was measured by."""

    count: int
    kind: Literal["seen.request_count"] = "seen.request_count"


@dataclass(frozen=True, slots=True)
class FaultRead(Message):
    """A source that failed instead."""

    fault: str
    kind: Literal["seen.fault_read"] = "seen.fault_read"


@dataclass(frozen=True, slots=True)
class GapRead(Message):
    """A source that had no value instead."""

    gap: str
    kind: Literal["seen.gap_read"] = "seen.gap_read"


@dataclass(frozen=True, slots=True)
class Measured(Message):
    """Errors of requests; `share` is the helper's of the pods, 0 where it is about an environment."""

    share: float
    errors: Reason
    requests: Reason
    kind: Literal["seen.measured"] = "seen.measured"


@dataclass(frozen=True, slots=True)
class FewerThan(Message):
    """Fewer requests than a judgement needs."""

    measured: Reason
    least: int
    kind: Literal["seen.fewer_than"] = "seen.fewer_than"


@dataclass(frozen=True, slots=True)
class WorseUntold(Message):
    """Whether the other environment is worse cannot be told."""

    measured: Reason
    kind: Literal["seen.worse_untold"] = "seen.worse_untold"


@dataclass(frozen=True, slots=True)
class Unmeasured(Message):
    """Nothing is known of how it was before."""

    kind: Literal["seen.unmeasured"] = "seen.unmeasured"


@dataclass(frozen=True, slots=True)
class QuietSoFar(Message):
    """For how long the rules were quiet."""

    seconds: float
    wanted: float
    detail: Reason
    kind: Literal["seen.quiet_so_far"] = "seen.quiet_so_far"


@dataclass(frozen=True, slots=True)
class BreachUnseen(Message):
    """Whether the breach goes on cannot be seen."""

    detail: Reason
    kind: Literal["seen.breach_unseen"] = "seen.breach_unseen"


@dataclass(frozen=True, slots=True)
class ReadingSeen(Message):
    """What was read for a signal: a value with its unit, or why there is none."""

    signal: str
    value: str
    cause: Reason
    kind: Literal["seen.reading"] = "seen.reading"


@dataclass(frozen=True, slots=True)
class NoDataRead(Message):
    """There is no data, for `gap`; `detail` is more of it, or empty."""

    gap: str
    detail: Reason
    kind: Literal["seen.no_data_read"] = "seen.no_data_read"


@dataclass(frozen=True, slots=True)
class SourceFailed(Message):
    """The source fails; `detail` is more of it, or empty."""

    fault: str
    detail: Reason
    kind: Literal["seen.source_failed"] = "seen.source_failed"


@dataclass(frozen=True, slots=True)
class Fact(Message):
    """A fact of a notice that has words in each language: why a signal has no value, who else breaches."""

    name: str
    value: Reason
    kind: Literal["fact"] = "fact"


@dataclass(frozen=True, slots=True)
class RuleSaw(Message):
    """What was read for a rule, which may go without its name."""

    rule: str
    readings: tuple[ReadingSeen, ...]
    kind: Literal["seen.rule_saw"] = "seen.rule_saw"


@dataclass(frozen=True, slots=True)
class RulesSaw(Message):
    """What was read for several."""

    rules: tuple[RuleSaw, ...]
    kind: Literal["seen.rules_saw"] = "seen.rules_saw"


@dataclass(frozen=True, slots=True)
class RuleGone(Message):
    """A rule that is not there any more."""

    rule: str
    kind: Literal["seen.rule_gone"] = "seen.rule_gone"


@dataclass(frozen=True, slots=True)
class TargetGone(Message):
    """A target that is not there any more."""

    target: str
    kind: Literal["seen.target_gone"] = "seen.target_gone"
