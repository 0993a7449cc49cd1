"""Why a channel did not take a notice, as messages. No text here holds a secret of the channel's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from logcaster_guard.domain.addresses import Forbidden
from logcaster_guard.domain.message import Message, Reason


class Advice(StrEnum):
    """What a refusal asks a person to do."""

    SET_FINAL_URL = "set_final_url"
    RENEW_SECRETS = "renew_secrets"
    NONE = "none"


class ExchangeFault(StrEnum):
    """Why an exchange with a receiver came to nothing."""

    BROKE_OFF = "broke_off"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    PROXY_REFUSES = "proxy_refuses"
    NOT_HTTP = "not_http"
    LOST = "lost"
    TLS = "tls"


class UrlFault(StrEnum):
    """What is wrong with the address of a channel."""

    MALFORMED = "malformed"
    NO_HOST = "no_host"
    NO_SUCH_PORT = "no_such_port"
    BAD_HOST = "bad_host"


@dataclass(frozen=True, slots=True)
class ReceiverAnswered(Message):
    """The receiver answered with a status that is no success, and may pass."""

    status: int
    kind: Literal["delivery.answered"] = "delivery.answered"


@dataclass(frozen=True, slots=True)
class ReceiverRefuses(Message):
    """The receiver answered with a status that is final."""

    status: int
    advice: Advice
    kind: Literal["delivery.refused"] = "delivery.refused"


@dataclass(frozen=True, slots=True)
class NoAnswerWithin(Message):
    """The receiver did not answer in time."""

    seconds: float
    kind: Literal["delivery.no_answer_within"] = "delivery.no_answer_within"


@dataclass(frozen=True, slots=True)
class ExchangeBroken(Message):
    """An exchange came to nothing; `words` are the system's own, or empty."""

    fault: ExchangeFault
    words: Reason
    kind: Literal["delivery.broken"] = "delivery.broken"


@dataclass(frozen=True, slots=True)
class ExchangeFailed(Message):
    """An exchange failed with an error that nobody has named."""

    error: str
    kind: Literal["delivery.failed"] = "delivery.failed"


@dataclass(frozen=True, slots=True)
class ChannelUrlUnusable(Message):
    """The channel's address is none."""

    fault: UrlFault
    kind: Literal["delivery.url_unusable"] = "delivery.url_unusable"


@dataclass(frozen=True, slots=True)
class ChannelUrlForbidden(Message):
    """The channel's address is none that the guard speaks to."""

    why: Forbidden
    kind: Literal["delivery.url_forbidden"] = "delivery.url_forbidden"


@dataclass(frozen=True, slots=True)
class ChannelTokenUnusable(Message):
    """The channel's token is none."""

    kind: Literal["delivery.token_unusable"] = "delivery.token_unusable"


@dataclass(frozen=True, slots=True)
class SlackRefuses(Message):
    """A webhook of Slack's refuses the message, by its `code`."""

    status: int
    code: str
    kind: Literal["slack.refuses"] = "slack.refuses"


@dataclass(frozen=True, slots=True)
class SlackWithoutOk(Message):
    """An answer of 200 that is not Slack's."""

    status: int
    kind: Literal["slack.without_ok"] = "slack.without_ok"


@dataclass(frozen=True, slots=True)
class SlackNotOk(Message):
    """The Web API answers where a webhook is needed."""

    status: int
    kind: Literal["slack.not_ok"] = "slack.not_ok"


@dataclass(frozen=True, slots=True)
class SlackSays(Message):
    """Slack's Web API refuses the message for good, by its `code`."""

    code: str
    kind: Literal["slack.says"] = "slack.says"


@dataclass(frozen=True, slots=True)
class SlackRefusesNow(Message):
    """Slack's Web API refuses the message for a reason that may pass."""

    kind: Literal["slack.refuses_now"] = "slack.refuses_now"


@dataclass(frozen=True, slots=True)
class NotOfSlack(Message):
    """The answer is none of Slack's Web API."""

    kind: Literal["slack.not_of_slack"] = "slack.not_of_slack"


@dataclass(frozen=True, slots=True)
class MayBeShown(Message):
    """Slack may show the message all the same."""

    detail: Reason
    kind: Literal["slack.may_be_shown"] = "slack.may_be_shown"


@dataclass(frozen=True, slots=True)
class LookedUpFirst(Message):
    """Whether Slack shows the message is looked up before the next try."""

    detail: Reason
    kind: Literal["slack.looked_up_first"] = "slack.looked_up_first"


@dataclass(frozen=True, slots=True)
class ShownUnknown(Message):
    """Whether Slack shows the message cannot be looked up; `detail` may be empty."""

    detail: Reason
    kind: Literal["slack.shown_unknown"] = "slack.shown_unknown"
