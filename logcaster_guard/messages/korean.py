"""What people are told in Korean: title, text and state for each kind of notice, and words for what they tell of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from logcaster_guard.domain.attribution import Cause
from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.inbox.commands import Mark
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.notices import Silence


@dataclass(frozen=True, slots=True)
class Words:
    """Title and text of a kind of notice, with the notice's facts (and `target` and `text`) to be filled in.

    `state`: what the target is going through, in a word or two.
    """

    title: str
    text: str
    state: str


KOREAN: Mapping[str, Words] = {
    "run.opened": Words(
        "{target} 롤백 시작",
        "{because} 이전 버전으로 되돌립니다. 현재 버전: {from}, 되돌릴 버전: {to}.",
        "롤백 진행 중",
    ),
    "run.asked": Words(
        "{target} 롤백 예정, 확인을 기다리고 있습니다",
        "{because} 이전 버전으로 되돌리려고 합니다. 현재 버전: {from}, 되돌릴 버전: {to}.{question}",
        "확인 대기 중",
    ),
    "people.reminded": Words(
        "{target}: 롤백 전 확인을 기다리고 있습니다",
        "문제가 계속되고 있으며 아직 아무도 응답하지 않았습니다.{question}",
        "확인 대기 중",
    ),
    "run.restored": Words(
        "{target}: 이전 버전 {to} 복원 완료",
        "롤아웃이 끝났습니다. 서비스가 회복되는지 확인하고 있습니다.",
        "복원 완료, 확인 중",
    ),
    "run.closed": Words(
        "{target} 롤백 종료: {outcome_words}",
        "{outcome_sentence}{veto_sentence}{frozen_sentence}{leftover_sentence}",
        "{outcome_words}",
    ),
    "run.crashed": Words(
        "롤백 작업이 내부 오류로 멈췄습니다",
        "작업은 열린 채로 남아 있으며, 가드를 다시 시작하면 이어서 진행합니다.",
        "멈춤, 가드 재시작 필요",
    ),
    "hold.not_given_back": Words(
        "{target}: {object} 설정이 원래대로 돌아가지 않았습니다",
        "가드가 바꾼 것을 되돌리지 못했습니다. 직접 되돌려 주세요: {remedy}",
        "수동 조치 필요",
    ),
    "hold.theirs": Words(
        "{target}: {object}은(는) 담당자가 바꾼 값을 그대로 둡니다",
        "롤백 중에 다른 사람이 바꾼 값이므로 가드가 되돌리지 않습니다. 롤백 전 값: {original}. 사유: {reason}. "
        "롤백 전 값으로 되돌리려면: {remedy}",
        "변경된 값 유지",
    ),
    "run.hindered": Words(
        "{target} 롤백이 멈춰 있습니다",
        "지금까지 바꾼 것은 그대로 두고 가드가 계속 시도합니다. 단계: {step}, 원인: {detail}",
        "진행하지 못함",
    ),
    "hold.held_up": Words(
        "{target}: {object}을(를) 아직 되돌리지 못했습니다",
        "가드가 계속 시도하고 있으며, 그동안 이 대상은 롤백하지 않습니다. 원인: {detail}",
        "되돌리는 중",
    ),
    "marks.unproven": Words(
        "{object}에 가드의 표시가 있지만 가드가 만든 것이 아닙니다",
        "저널로 확인되지 않으므로 가드는 아무것도 하지 않습니다. 원인: {reason} 직접 정리해 주세요: {remedy}",
        "수동 조치 필요",
    ),
    "owner.suspended": Words(
        "{target}: {owner} 일시 중지 유지",
        "재개하면 문제의 버전을 다시 배포하므로 {owner}을(를) 일시 중지된 상태로 둡니다. "
        "소스에서 {revision}을(를) 되돌리면 가드가 자동으로 재개합니다. 직접 재개하려면: {resume}",
        "롤백 완료, GitOps 일시 중지",
    ),
    "owner.resumed": Words(
        "{target}: {owner} 일시 중지 해제",
        "{owner}이(가) 더 이상 가드에 의해 일시 중지되어 있지 않습니다. 사유: {reason}",
        "GitOps 동작 중",
    ),
    "owner.not_resumed": Words(
        "{target}: {owner}을(를) 재개하지 못했습니다",
        "가드가 계속 시도합니다. 원인: {reason} 직접 재개하려면: {resume}",
        "수동 조치 필요",
    ),
    "trigger.refused": Words(
        "{target}: 규칙 {rule} 발동, 롤백하지 않음",
        "{guardrail_sentences}",
        "롤백하지 않음",
    ),
    "decision.postponed": Words(
        "{target}: 규칙 {rule} 발동, 아직 판단하지 못함",
        "롤백 여부를 판단하는 데 필요한 정보를 읽지 못했습니다. 가드가 계속 시도합니다. 원인: {detail}",
        "판단 보류",
    ),
    "request.refused": Words(
        "{target}: 요청한 롤백을 실행하지 않음",
        "담당자가 애너테이션으로 요청한 롤백을 실행하지 않았습니다. 사유: {text}",
        "롤백하지 않음",
    ),
    "answer.denied": Words(
        "{target}: 응답이 인정되지 않음",
        "애너테이션 {annotation}의 응답을 인정하지 않았습니다. 사유: {text}",
        "응답 인정되지 않음",
    ),
    "revision.marked": Words(
        "{target}: 리비전 {revision} {mark_words}",
        "담당자가 리비전 {revision}({release})을(를) {mark_words}했습니다. 사유: {words_or_none}. {standing_sentence}",
        "{standing_words}",
    ),
    "target.frozen": Words(
        "{target}: 동결됨, 롤백하지 않음",
        "담당자가 애너테이션으로 대상을 동결했습니다. 사유: {words}. 설정한 주체: {who}. "
        "해제할 때까지 규칙이 발동해도 알림만 보냅니다. 해제: {lift}",
        "동결됨",
    ),
    "target.thawed": Words("{target}: 동결 해제", "동결이 해제되어 규칙이 다시 동작합니다. ({words})", "정상"),
    "source.failing": Words(
        "가드가 데이터를 읽지 못합니다: {notice_title}",
        "다시 응답할 때까지 관련 규칙의 판단을 보류합니다. 그동안 롤백하지 않으며, 회복된 것으로 보지도 않습니다. "
        "원인: {detail}",
        "데이터 없음",
    ),
    "source.recovered": Words("가드가 데이터를 다시 읽습니다: {notice_title}", "규칙 판단을 다시 시작합니다.", "정상"),
    "workload.unseen": Words(
        "{target}: 워크로드를 확인할 수 없습니다",
        "확인할 수 있을 때까지 이 대상은 롤백하지 않습니다. 설정의 kind, namespace, 이름과 가드 계정의 조회 권한을 "
        "확인해 주세요. 원인: {detail}",
        "확인 불가",
    ),
    "workload.seen": Words("{target}: 워크로드를 다시 확인합니다", "감시를 다시 시작합니다.", "정상"),
    "trigger.blind": Words(
        "{target}: 측정값이 없는 규칙이 있습니다",
        "규칙의 지속 시간 동안 {source}에서 값을 받지 못했습니다. 해당 규칙은 발동할 수 없고, "
        "이 규칙으로는 어떤 버전도 정상으로 확인되지 않습니다. "
        "트래픽과 메트릭·레이블 이름을 확인해 주세요. 규칙: {where}, 원인: {detail}",
        "측정값 없음",
    ),
    "trigger.seeing": Words(
        "{target}: 규칙의 측정값이 다시 들어옵니다", "{source}에서 값을 다시 받고 있습니다.", "정상"
    ),
    "polls.missed": Words(
        "가드가 측정 주기를 따라가지 못합니다",
        "규칙 판단이 늦어집니다. polling.interval을 늘리거나 가드의 CPU를 늘리고, 느린 소스를 확인해 주세요. "
        "대상: {where}, 원인: {detail}",
        "처리 지연",
    ),
    "polls.kept": Words("가드가 측정 주기를 다시 따라갑니다", "규칙을 제때 판단합니다.", "정상"),
    "source.lagging": Words(
        "데이터가 늦게 들어옵니다: {source}",
        "너무 오래된 값은 데이터 없음으로 처리하며, 따라잡을 때까지 관련 규칙의 판단을 보류합니다. "
        "메트릭 저장소와 수집 경로를 확인해 주세요. 대상: {where}, 원인: {detail}",
        "데이터 지연",
    ),
    "source.caught_up": Words("데이터가 다시 제때 들어옵니다: {source}", "규칙 판단을 다시 시작합니다.", "정상"),
    "clock.skewed": Words(
        "시계가 서로 다릅니다: {source}",
        "롤아웃 시각은 가드의 시계로 정하고 데이터는 저장소의 시각으로 읽으므로, 표시되는 시각이 서로 맞지 않을 수 "
        "있습니다. 모든 시계를 같은 시각 서버에 맞춰 주세요. 차이: {detail}",
        "시계 차이",
    ),
    "clock.agrees": Words("시계가 다시 일치합니다: {source}", "모든 시각을 같은 기준으로 읽습니다.", "정상"),
    "journal.lost": Words(
        "가드가 감시만 합니다: 저널을 쓸 수 없습니다",
        "저널을 복구하고 가드를 다시 시작할 때까지 롤백하지 않으며, 문제가 있는 버전도 알리지 않습니다. "
        "진행 중이던 롤백은 그 상태로 멈춰 있습니다. 남아 있는 것: {left}",
        "감시만 함",
    ),
    "journal.failing": Words(
        "가드가 저널에 쓰지 못합니다",
        "저널 없이는 아무것도 바꾸지 않으므로, 진행 중인 롤백은 그대로 멈춰 있습니다. "
        "계속 다시 시도하며, 쓸 수 있게 되면 자동으로 이어서 진행합니다.",
        "변경 중단",
    ),
    "journal.growing": Words(
        "가드의 저널이 한계에 가까워지고 있습니다",
        "저널 크기 {used}, 한계 {limit}. 가득 차면 롤백하지 못합니다. "
        "발동과 해제를 되풀이하는 규칙이나 계속 바뀌는 애너테이션이 있는지 확인하고 공간을 확보하십시오.",
        "정상 동작",
    ),
    "journal.recovered": Words("가드가 저널에 다시 씁니다", "멈춰 있던 롤백을 이어서 진행합니다.", "정상"),
    "blobs.failing": Words(
        "가드가 릴리스를 저장하지 못합니다",
        "이미 저장된 버전으로의 롤백은 계속됩니다. 그동안 배포된 버전은 저장되지 않아 정상으로 확인되지 않으며, "
        "그 버전으로는 롤백하지 않습니다. 계속 다시 시도합니다. 원인: {detail}",
        "릴리스 저장 불가",
    ),
    "blobs.recovered": Words("가드가 릴리스를 다시 저장합니다", "저장하지 못한 릴리스를 다시 저장했습니다.", "정상"),
    "notice.given_up": Words(
        "알림 채널 {channel}: 알림을 보내지 못했습니다",
        "채널 {channel}의 설정과 상태를 확인해 주세요. 다시 동작할 때까지 이후의 실패는 로그에만 남깁니다.",
        "알림 유실",
    ),
    "channel.failing": Words(
        "알림 채널 {channel}이(가) 응답하지 않습니다",
        "채널 {channel}(으)로 알림이 전달되지 않고 있습니다. 계속 다시 시도합니다. 채널의 설정과 상태를 확인해 주세요.",
        "알림 채널 장애",
    ),
    "notice.left_out": Words(
        "알림 채널 {channel}: 보내지 못한 알림 {count}건",
        "채널 {channel}이(가) 응답하지 않는 동안 대기 한도를 넘은 알림 {count}건을 보내지 않았습니다({events}). "
        "logcaster-guard history, 로그, 다른 채널에서 확인해 주세요.",
        "알림 일부 생략",
    ),
    "config.reloaded": Words("{targets}: 새 규칙 적용", "새 규칙을 적용했습니다. {text}", "새 규칙 적용됨"),
    "config.refused": Words(
        "{targets}: 새 설정을 적용하지 않음, 기존 설정 유지",
        "바뀐 규칙 또는 설정 파일에 문제가 있어 적용하지 않았습니다. 기존 설정을 그대로 사용합니다.\n{text}",
        "기존 설정 유지",
    ),
    "config.settings_changed": Words(
        "{targets}: 가드의 설정이 변경됨",
        "가드의 설정이 변경되어 새 설정으로 다시 시작합니다. {text}",
        "새 설정 적용됨",
    ),
}
"""One entry for each kind of notice, and one for the opening of a run that asks people first (`run.asked`)."""

KOREAN_OUTCOMES: Mapping[str, tuple[str, str]] = {
    "recovered": ("회복됨", "이전 버전으로 되돌린 뒤 서비스가 회복되었습니다."),
    "not recovered": ("회복되지 않음", "이전 버전으로 되돌렸지만 문제가 계속됩니다. 원인은 다른 곳에 있습니다."),
    "inconclusive": ("판단 불가", "이전 버전으로 되돌렸지만 제한 시간 안에 회복 여부를 확인하지 못했습니다."),
    "failed": ("실패", "API 서버가 변경을 거부했거나 롤아웃이 제한 시간 안에 끝나지 않았습니다."),
    "destination bad": (
        "이전 버전도 비정상",
        "되돌릴 버전도 정상적으로 응답하지 않아 변경한 것을 모두 원래대로 돌려놓았습니다.",
    ),
    "put back": (
        "이전 상태로 복귀",
        "되돌릴 버전이 시작되지 않아 롤백 전의 버전을 다시 배포했습니다. 문제는 그대로 남아 있습니다.",
    ),
    "vetoed": ("거부됨", "담당자가 거부하여 롤백하지 않았습니다."),
    "not approved": ("승인되지 않음", "제한 시간 안에 승인되지 않았거나 상태를 확인할 수 없어 롤백하지 않았습니다."),
    "subsided": ("저절로 회복됨", "문제가 저절로 사라져 롤백하지 않았습니다."),
    "escalated": ("다른 롤백으로 대체됨", "더 급한 규칙이 발동하여 즉시 롤백으로 넘어갔습니다."),
    "abandoned": (
        "중단됨",
        "담당자가 중단을 요청했거나 대상을 직접 변경하여 롤백을 중단했습니다. 사람의 결정이 우선합니다.",
    ),
}
"""A word and a sentence for each outcome of a run."""

KOREAN_SILENCE: Mapping[str, str] = {
    Silence.CONSENT: "응답이 없으면 {until}에 롤백을 시작합니다.",
    Silence.REFUSAL: "{until}까지 승인이 없으면 롤백하지 않습니다.",
}
"""What follows if nobody answers."""

KOREAN_CAUSES: Mapping[str, str] = {
    Cause.ROLLOUT: "배포 전에는 정상이었으며, 이번 배포가 원인으로 판단됩니다.",
    Cause.OLDER: "배포 전에도 같은 문제가 있었습니다.",
    Cause.UNPROVEN: "배포 전에 정상이었다는 기록이 부족합니다.",
    Cause.SHARED: "이 배포와 무관한 파드나 서비스에서도 같은 문제가 있습니다.",
    Cause.SEVERAL: "여러 서비스가 각자의 배포 직후 동시에 문제를 일으켰습니다.",
}
"""What a breach is put down to."""

KOREAN_GUARDRAILS: Mapping[str, str] = {
    Guardrail.ALERT_ONLY: "알림만 보내는 규칙입니다.",
    Guardrail.STRATEGY_UNFIT: "규칙의 동작(action)을 이 대상에 적용할 수 없습니다. 상세 내용을 확인해 주세요.",
    Guardrail.DRY_RUN: "모의 실행(dry run)이므로 아무것도 변경하지 않았습니다.",
    Guardrail.OWN_WORKLOAD: (
        "가드가 실행 중인 워크로드 자체입니다. 가드를 별도의 워크로드에서 실행하거나 mode: sidecar로 설정해 주세요."
    ),
    Guardrail.TARGET_MISSING: "Deployment가 없습니다. 설정의 targets를 확인해 주세요.",
    Guardrail.BEING_DELETED: "Deployment가 삭제되는 중입니다.",
    Guardrail.SCALED_TO_ZERO: (
        "워크로드의 파드 수가 0입니다. 파드가 없으면 버전이 정상인지 알 수 없고, 되돌려도 서비스되지 않습니다. "
        "서비스해야 한다면 파드 수를 늘려 주세요."
    ),
    Guardrail.SELECTOR_CHANGED: (
        "되돌릴 버전의 파드에 현재 워크로드나 Service의 셀렉터가 고르는 레이블이 없습니다. "
        "정상 버전을 직접 배포하거나 Service의 셀렉터를 고쳐 주세요."
    ),
    Guardrail.PAUSED: "Deployment의 롤아웃이 일시 중지되어 있습니다. 가드가 조치하게 하려면 재개해 주세요.",
    Guardrail.NOT_YET_OBSERVED: "방금 바뀐 파드 템플릿을 아직 확인하지 못했습니다.",
    Guardrail.ROLLOUT_UNKNOWN: "현재 릴리스가 언제 배포되었는지 알 수 없습니다. 다른 원인을 찾거나 직접 롤백해 주세요.",
    Guardrail.PODS_REPLACED: (
        "정상으로 확인된 릴리스가 그대로인 채 파드만 모두 교체된 뒤에 문제가 시작되었습니다. "
        "바뀐 파드 템플릿 애너테이션: {changed}. 설정(ConfigMap, Secret) 등 함께 바뀐 것부터 확인해 주세요. "
        "교체하고 오래 지나서 시작되었다면 릴리스 자체의 누수일 수도 있습니다."
    ),
    Guardrail.NOT_CAUSED_BY_A_ROLLOUT: "배포가 원인이 아닌 것 같습니다. 의존 서비스 등 다른 변화부터 확인해 주세요.",
    Guardrail.HISTORY_TOO_SHORT: (
        "배포 전에 정상이었다는 기록이 부족하여 배포가 원인인지 판단할 수 없습니다. 필요하면 직접 롤백해 주세요."
    ),
    Guardrail.SHARED_CAUSE: (
        "이 배포와 무관한 파드나 서비스에서도 같은 문제가 발생했습니다. 공통 원인(의존 서비스 등)부터 확인해 주세요."
    ),
    Guardrail.SEVERAL_SUSPECTS: (
        "여러 서비스가 배포 직후 동시에 문제를 일으켜 원인을 하나로 가려낼 수 없습니다. 순위를 보고 직접 판단해 주세요."
    ),
    Guardrail.MINIMUM_REQUEST_RATE: "요청이 너무 적어 판단하기에 부족합니다(min_request_rate). 직접 확인해 주세요.",
    Guardrail.ROLLOUT_IN_PROGRESS: "문제가 시작된 뒤에 다른 사람이 새 릴리스를 배포하는 중입니다.",
    Guardrail.MAINTENANCE: "점검(maintenance) 시간입니다. 끝난 뒤에도 문제가 계속되면 다시 판단합니다.",
    Guardrail.FROZEN: "대상이 동결(freeze)되어 있습니다. 원인을 해결한 뒤 동결을 풀어 주세요.",
    Guardrail.VETOED: (
        "담당자가 이 릴리스의 롤백을 거부했고 그 기한이 지나지 않았습니다. 해제하려면 릴리스를 불량으로 표시하거나 "
        "직접 롤백해 주세요."
    ),
    Guardrail.ANOTHER_RUN: "이미 다른 롤백이 진행 중입니다.",
    Guardrail.COOLDOWN: "마지막 롤백 뒤의 대기 시간이 아직 지나지 않았습니다.",
    Guardrail.TARGET_BUDGET: "이 대상의 하루 롤백 한도를 다 썼습니다. 릴리스가 계속 실패하는 원인을 찾아 주세요.",
    Guardrail.CLUSTER_BUDGET: "클러스터의 시간당 롤백 한도를 다 썼습니다. 공통 원인을 찾아 주세요.",
    Guardrail.NO_GOOD_REVISION: "정상으로 확인된 이전 버전이 없습니다. 되돌릴 버전을 직접 골라 주세요.",
    Guardrail.GITOPS_OWNER: (
        "GitOps 컨트롤러(Argo CD 또는 Flux)가 관리하는 대상이라 롤백해도 되돌려집니다. "
        "소스 저장소에서 문제의 커밋을 되돌리거나 gitops: suspend를 설정해 주세요."
    ),
    Guardrail.NO_JOURNAL: "저널을 쓸 수 없어 감시만 합니다. 저널을 복구하고 가드를 다시 시작해 주세요.",
}

KOREAN_MARKS: Mapping[str, str] = {Mark.BAD: "불량 버전으로 표시", Mark.NOT_BAD: "불량 버전 표시 해제"}
"""What a person said of a release."""

KOREAN_STATUSES: Mapping[str, tuple[str, str]] = {
    ReleaseStatus.GOOD: ("정상", "이전에 정상으로 확인되었으므로 다시 롤백 대상이 됩니다."),
    ReleaseStatus.UNMEASURED: (
        "정상(일부 규칙 미측정)",
        "일부 규칙이 측정하지 못했으므로 더 나은 버전이 없을 때만 롤백 대상이 됩니다.",
    ),
    ReleaseStatus.PRESUMED_GOOD: ("정상 추정", "정상으로 확인된 다른 버전이 없을 때 롤백 대상이 됩니다."),
    ReleaseStatus.UNPROVEN: (
        "미확인",
        "정상으로 확인되기 전에는 자동 롤백 대상이 되지 않으며, 담당자가 직접 지정해 롤백할 수 있습니다.",
    ),
    ReleaseStatus.BAD: (
        "불량 버전",
        "표시를 해제하거나 다시 배포하여 정상으로 확인되기 전에는 이 버전으로 롤백하지 않습니다.",
    ),
}
"""A word for what a release is, and a sentence for what follows from it."""
