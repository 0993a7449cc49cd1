"""What kept a request to the Kubernetes API from being answered well, as messages. `words` are the server's own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from logcaster_guard.domain.message import Message, Reason


class Verb(StrEnum):
    """What is asked of the API server."""

    GET = "get"
    PATCH = "patch"
    APPLY = "apply"
    CREATE = "create"
    DELETE = "delete"


class Transport(StrEnum):
    """What became of a request that got no whole answer."""

    TLS = "tls"
    NAME = "name"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CUT = "cut"
    NOT_HTTP = "not_http"


@dataclass(frozen=True, slots=True)
class ApiRequest(Message):
    """A request about one object, by its kind and key."""

    verb: Verb
    object: str
    kind: Literal["api.request"] = "api.request"


@dataclass(frozen=True, slots=True)
class ApiListing(Message):
    """A request for the objects of a kind."""

    what: str
    namespace: str
    kind: Literal["api.listing"] = "api.listing"


@dataclass(frozen=True, slots=True)
class ApiReview(Message):
    """A request of a review kind."""

    what: str
    kind: Literal["api.review"] = "api.review"


@dataclass(frozen=True, slots=True)
class ApiRightAsked(Message):
    """The question whether something is allowed."""

    verb: str
    resource: str
    namespace: str
    kind: Literal["api.right_asked"] = "api.right_asked"


@dataclass(frozen=True, slots=True)
class CannotAsk(Message):
    """A request failed, for `cause`."""

    request: Reason
    cause: Reason
    kind: Literal["api.cannot"] = "api.cannot"


@dataclass(frozen=True, slots=True)
class ApiAnswered(Message):
    """The API server answered with a status that is no success."""

    status: int
    words: Reason
    kind: Literal["api.answered"] = "api.answered"


@dataclass(frozen=True, slots=True)
class ApiRedirected(Message):
    """The API server answered with a redirect."""

    status: int
    kind: Literal["api.redirected"] = "api.redirected"


@dataclass(frozen=True, slots=True)
class ApiNotItself(Message):
    """The answer is none of an API server that serves the object."""

    status: int
    words: Reason
    kind: Literal["api.not_itself"] = "api.not_itself"


@dataclass(frozen=True, slots=True)
class ApiNoAnswerInTime(Message):
    """No answer in time."""

    seconds: float
    kind: Literal["api.no_answer_in_time"] = "api.no_answer_in_time"


@dataclass(frozen=True, slots=True)
class ApiUnreached(Message):
    """The exchange came to nothing."""

    fault: Transport
    words: Reason
    kind: Literal["api.unreached"] = "api.unreached"


@dataclass(frozen=True, slots=True)
class ReviewUnanswered(Message):
    """The answer to a review is none."""

    kind: Literal["api.review_unanswered"] = "api.review_unanswered"


@dataclass(frozen=True, slots=True)
class TooManyPages(Message):
    """A list has more pages than the guard reads."""

    most: int
    kind: Literal["api.too_many_pages"] = "api.too_many_pages"


@dataclass(frozen=True, slots=True)
class AnswerNoObject(Message):
    """The answer is not a JSON object."""

    kind: Literal["api.answer_no_object"] = "api.answer_no_object"


@dataclass(frozen=True, slots=True)
class ApiAnswerTooLarge(Message):
    """The answer is larger than the guard reads."""

    limit: int
    kind: Literal["api.answer_too_large"] = "api.answer_too_large"


@dataclass(frozen=True, slots=True)
class NameUntaken(Message):
    """A name that Kubernetes does not take."""

    name: str
    kind: Literal["api.name_untaken"] = "api.name_untaken"


@dataclass(frozen=True, slots=True)
class AnotherObject(Message):
    """The answer shows another object, so that the effect of the request is unknown."""

    found: str
    kind: Literal["api.another_object"] = "api.another_object"


@dataclass(frozen=True, slots=True)
class NotAList(Message):
    """The answer is not a list of them."""

    found: str
    kind: Literal["api.not_a_list"] = "api.not_a_list"


@dataclass(frozen=True, slots=True)
class ObjectNotFound(Message):
    """An object is not in what was listed."""

    object: str
    kind: Literal["api.object_not_found"] = "api.object_not_found"


@dataclass(frozen=True, slots=True)
class NothingAsked(Message):
    """Nothing was asked of the API server yet."""

    kind: Literal["api.nothing_asked"] = "api.nothing_asked"


@dataclass(frozen=True, slots=True)
class ApiWatch(Message):
    """A watch of the objects of a kind."""

    what: str
    namespace: str
    kind: Literal["api.watch"] = "api.watch"


@dataclass(frozen=True, slots=True)
class EventTooLarge(Message):
    """An event of a watch is too large."""

    kind: Literal["api.event_too_large"] = "api.event_too_large"


@dataclass(frozen=True, slots=True)
class NoWatchEvent(Message):
    """What came is no event of a watch."""

    kind: Literal["api.no_watch_event"] = "api.no_watch_event"


@dataclass(frozen=True, slots=True)
class Kubeconfig(Message):
    """The files by which the API is reached."""

    paths: str
    kind: Literal["api.kubeconfig"] = "api.kubeconfig"


@dataclass(frozen=True, slots=True)
class AccountOfPod(Message):
    """The account of the pod that the guard runs in."""

    folder: str
    kind: Literal["api.account_of_pod"] = "api.account_of_pod"


@dataclass(frozen=True, slots=True)
class CannotUse(Message):
    """What should lead to the API cannot be used."""

    place: Reason
    words: Reason
    kind: Literal["api.cannot_use"] = "api.cannot_use"


@dataclass(frozen=True, slots=True)
class ServerNoUrl(Message):
    """A kubeconfig whose server is none."""

    kind: Literal["api.server_no_url"] = "api.server_no_url"


@dataclass(frozen=True, slots=True)
class CredentialsLate(Message):
    """Credentials that did not come in time."""

    seconds: float
    kind: Literal["api.credentials_late"] = "api.credentials_late"


@dataclass(frozen=True, slots=True)
class AccountTokenUnread(Message):
    """The token of the pod's account cannot be read."""

    folder: str
    words: Reason
    kind: Literal["api.account_token_unread"] = "api.account_token_unread"


@dataclass(frozen=True, slots=True)
class NoKubeconfig(Message):
    """There is no way to the API."""

    paths: str
    kind: Literal["api.no_kubeconfig"] = "api.no_kubeconfig"
