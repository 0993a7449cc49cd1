"""Every step that there is, in no order that matters: a new one is a file of its own and a row here."""

from __future__ import annotations

from logcaster_guard.steps import (
    ask_people,
    await_endpoints,
    await_environment,
    await_helper,
    await_rollout,
    check_environment,
    create_helper,
    delete_stuck_pods,
    judge_environment,
    judge_helper,
    pin_autoscaler,
    raise_autoscaler_minimum,
    remove_helper,
    restore_environment,
    restore_template,
    restore_variables,
    scale_environment,
    scale_helper,
    scale_production,
    suspend_owner,
    switch_service,
    verify_recovery,
)
from logcaster_guard.steps.step_services import StepKind

KINDS: tuple[StepKind, ...] = (
    ask_people.KIND,
    suspend_owner.KIND,
    raise_autoscaler_minimum.KIND,
    pin_autoscaler.KIND,
    restore_template.KIND,
    restore_variables.KIND,
    delete_stuck_pods.KIND,
    await_rollout.KIND,
    create_helper.KIND,
    scale_helper.KIND,
    await_helper.KIND,
    judge_helper.KIND,
    scale_production.KIND,
    remove_helper.KIND,
    restore_environment.KIND,
    scale_environment.KIND,
    await_environment.KIND,
    check_environment.KIND,
    switch_service.KIND,
    await_endpoints.KIND,
    judge_environment.KIND,
    verify_recovery.KIND,
)
