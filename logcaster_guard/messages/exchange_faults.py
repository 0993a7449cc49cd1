"""Why an exchange over HTTP, or its answer, is no use, as messages. `words` are the other side's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logcaster_guard.domain.addresses import Forbidden
from logcaster_guard.domain.message import Message, Reason


@dataclass(frozen=True, slots=True)
class RequestFailed(Message):
    """The exchange failed for what no rule knows; `words` are the system's, or the name of the error."""

    words: Reason
    kind: Literal["http.request_failed"] = "http.request_failed"


@dataclass(frozen=True, slots=True)
class NotFollowed(Message):
    """A redirect."""

    status: int
    kind: Literal["http.not_followed"] = "http.not_followed"


@dataclass(frozen=True, slots=True)
class Answered(Message):
    """An HTTP status that is no success; `words` may be empty."""

    status: int
    words: Reason
    kind: Literal["http.answered"] = "http.answered"


@dataclass(frozen=True, slots=True)
class AnsweredOddly(Message):
    """A status that is none of HTTP's."""

    status: int
    kind: Literal["http.answered_oddly"] = "http.answered_oddly"


@dataclass(frozen=True, slots=True)
class CertificateUntrusted(Message):
    """The server's certificate is not trusted."""

    words: Reason
    kind: Literal["http.certificate_untrusted"] = "http.certificate_untrusted"


@dataclass(frozen=True, slots=True)
class TlsFailed(Message):
    """TLS could not be agreed on."""

    words: Reason
    kind: Literal["http.tls_failed"] = "http.tls_failed"


@dataclass(frozen=True, slots=True)
class NameUnresolved(Message):
    """The host name does not resolve."""

    words: Reason
    kind: Literal["http.name_unresolved"] = "http.name_unresolved"


@dataclass(frozen=True, slots=True)
class NoAnswerInTime(Message):
    """No complete answer in time; `seconds` is 0 where the limit is not told."""

    seconds: float
    kind: Literal["http.no_answer_in_time"] = "http.no_answer_in_time"


@dataclass(frozen=True, slots=True)
class ConnectionRefused(Message):
    """The server refuses connections."""

    kind: Literal["http.connection_refused"] = "http.connection_refused"


@dataclass(frozen=True, slots=True)
class CutShort(Message):
    """The connection ended too early."""

    kind: Literal["http.cut_short"] = "http.cut_short"


@dataclass(frozen=True, slots=True)
class NoWay(Message):
    """There is no route to the server."""

    words: Reason
    kind: Literal["http.no_way"] = "http.no_way"


@dataclass(frozen=True, slots=True)
class NotHttp(Message):
    """The answer is not HTTP; `error` names what was found, or is empty."""

    error: str
    kind: Literal["http.not_http"] = "http.not_http"


@dataclass(frozen=True, slots=True)
class AnswerTooLarge(Message):
    """The answer is larger than allowed."""

    limit: int
    kind: Literal["http.answer_too_large"] = "http.answer_too_large"


@dataclass(frozen=True, slots=True)
class UrlUnusable(Message):
    """The URL cannot be used."""

    kind: Literal["http.url_unusable"] = "http.url_unusable"


@dataclass(frozen=True, slots=True)
class ThroughProxy(Message):
    """The proxy is the cause."""

    failure: Reason
    kind: Literal["http.through_proxy"] = "http.through_proxy"


@dataclass(frozen=True, slots=True)
class TokenUnusable(Message):
    """The bearer token is no token."""

    kind: Literal["http.token_unusable"] = "http.token_unusable"


@dataclass(frozen=True, slots=True)
class NoThread(Message):
    """The process cannot start a thread."""

    kind: Literal["http.no_thread"] = "http.no_thread"


@dataclass(frozen=True, slots=True)
class NoAnswer(Message):
    """There was no answer."""

    kind: Literal["http.no_answer"] = "http.no_answer"


@dataclass(frozen=True, slots=True)
class AnswerNotJson(Message):
    """The answer is no JSON."""

    kind: Literal["answer.not_json"] = "answer.not_json"


@dataclass(frozen=True, slots=True)
class AnswerNotOfApi(Message):
    """The answer is none of the API's."""

    kind: Literal["answer.not_of_api"] = "answer.not_of_api"


@dataclass(frozen=True, slots=True)
class AnswerWithoutResult(Message):
    """The answer lacks its result."""

    kind: Literal["answer.without_result"] = "answer.without_result"


@dataclass(frozen=True, slots=True)
class AnsweredError(Message):
    """The server answered with an error of its own."""

    words: Reason
    kind: Literal["answer.error"] = "answer.error"


@dataclass(frozen=True, slots=True)
class AnswerPartial(Message):
    """The answer may lack something, by the server's own warning."""

    words: Reason
    kind: Literal["answer.partial"] = "answer.partial"


@dataclass(frozen=True, slots=True)
class ResultType(Message):
    """A result of another type than is `needed`."""

    found: str
    needed: Reason
    kind: Literal["answer.result_type"] = "answer.result_type"


@dataclass(frozen=True, slots=True)
class ScalarNeeded(Message):
    """One number is needed."""

    kind: Literal["answer.scalar_needed"] = "answer.scalar_needed"


@dataclass(frozen=True, slots=True)
class RangeNeeded(Message):
    """Range data is needed."""

    kind: Literal["answer.range_needed"] = "answer.range_needed"


@dataclass(frozen=True, slots=True)
class SeriesNeeded(Message):
    """Series are needed."""

    kind: Literal["answer.series_needed"] = "answer.series_needed"


@dataclass(frozen=True, slots=True)
class SeveralSeries(Message):
    """More than one series."""

    count: int
    kind: Literal["answer.several_series"] = "answer.several_series"


@dataclass(frozen=True, slots=True)
class TooManySeries(Message):
    """More series than allowed."""

    count: int
    most: int
    kind: Literal["answer.too_many_series"] = "answer.too_many_series"


@dataclass(frozen=True, slots=True)
class HistogramFound(Message):
    """A native histogram where a number is needed."""

    kind: Literal["answer.histogram"] = "answer.histogram"


@dataclass(frozen=True, slots=True)
class SeriesUnreadable(Message):
    """A series that cannot be read."""

    kind: Literal["answer.series_unreadable"] = "answer.series_unreadable"


@dataclass(frozen=True, slots=True)
class SampleUnreadable(Message):
    """A sample that cannot be read."""

    kind: Literal["answer.sample_unreadable"] = "answer.sample_unreadable"


@dataclass(frozen=True, slots=True)
class NameUnanswered(Message):
    """The name was not resolved in time."""

    kind: Literal["http.name_unanswered"] = "http.name_unanswered"


@dataclass(frozen=True, slots=True)
class ForbiddenAddress(Message):
    """An address that the guard does not speak to."""

    address: str
    why: Forbidden
    kind: Literal["http.forbidden_address"] = "http.forbidden_address"


@dataclass(frozen=True, slots=True)
class NameLeadsTo(Message):
    """A name that leads to an address which the guard does not speak to."""

    address: str
    why: Forbidden
    kind: Literal["http.name_leads_to"] = "http.name_leads_to"


@dataclass(frozen=True, slots=True)
class ValuesNotPlain(Message):
    """A series without plain values."""

    kind: Literal["answer.values_not_plain"] = "answer.values_not_plain"
