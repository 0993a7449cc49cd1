"""What each key of the configuration means, for editors; docs/configuration.md says the same, and a test sees to it."""

from __future__ import annotations

from collections.abc import Mapping

DESCRIPTIONS: Mapping[str, str] = {
    "rollback_triggers": "the rules, 1 to 100 a file",
    "rollback_triggers[].name": "unique over all rule files",
    "rollback_triggers[].condition": "what must be true of the signals; see Conditions",
    "rollback_triggers[].duration": "how long the condition must hold; at least two polls",
    "rollback_triggers[].action": (
        "`immediate_rollback`, `gradual_rollback`, `blue_green_rollback`, `alert_then_rollback` or `alert_only`"
    ),
    "rollback_triggers[].targets": "the targets that the rule is for; `null` for all",
    "rollback_triggers[].rollout_window": (
        "how soon after a rollout the trouble must begin for the rollout to be its cause. Left out: the "
        "setting `rollout_window`. Written as `null`: the cause is not asked for"
    ),
    "rollback_triggers[].no_data": (
        "what a comparison without data counts as: `hold` stops the clock, `ok` is not met, `breach` is met. "
        "A source that fails is never counted"
    ),
    "rollback_triggers[].grace": "with `alert_then_rollback`: how long people may veto it; `null`: `alert.grace`",
    "rollback_triggers[].require_approval": (
        "with `alert_then_rollback`: whether it waits for an approval; `null`: `alert.require_approval`"
    ),
    "rollback_triggers[].dry_run": "whether this rule only tells what it would do",
    "rollback_triggers[].min_request_rate": (
        "requests per second; with fewer, or an unknown number, nothing is rolled back. `null`: "
        "`limits.min_request_rate`"
    ),
    "rollout_window": (
        "for rules that name none: how soon after a rollout the trouble must begin for the rollout to be its "
        "cause; `null`: the cause is not asked for"
    ),
    "mode": (
        "`standalone`: the guard's own workload is never a target; `sidecar`: the guard is a container of the target's "
        "pods; see Sidecar"
    ),
    "targets": "the guarded workloads, 1 to 100; no two of the same name or Deployment",
    "targets[].name": "the name in rules, logs and messages",
    "targets[].namespace": "its namespace",
    "targets[].deployment": "its Deployment",
    "targets[].service": "the Service in front of it",
    "targets[].health_url": "asked for `health_check_fails`",
    "targets[].traffic_url": "asked for `response_time` and `slow_responses`",
    "targets[].labels": 'further placeholders for PromQL: `version: "1"` is `$label_version`',
    "targets[].kind": "`Deployment`, or `StatefulSet` or `DaemonSet`, which are rolled back at once only",
    "targets[].dry_run": "whether nothing is written for this target",
    "targets[].environments": (
        "for blue-green, in place of `deployment`: two Deployments by the value of `environment_label`; `service` is "
        "the one that switches"
    ),
    "targets[].environment_label": "the label of the Service's selector that names the live environment",
    "targets[].gitops": "what is done where Argo CD or Flux owns it; `null`: the setting `gitops`",
    "sources": "where signals are read",
    "sources.prometheus": "the Prometheus that answers PromQL",
    "sources.prometheus.url": "without a query string; `null`: there is none",
    "sources.prometheus.timeout": "for a whole answer",
    "sources.prometheus.max_bytes": "larger answers are refused",
    "sources.prometheus.max_series": "answers with more series are refused",
    "sources.prometheus.min_requests": (
        "with fewer requests in the lookback `error_rate` and `p95_latency` have no data; not for queries of one's own"
    ),
    "sources.prometheus.token": "bearer token",
    "sources.prometheus.token.file": "the file that holds it",
    "sources.prometheus.token.env": "the environment variable that holds it",
    "sources.prometheus.ca_file": "certificates that are trusted instead of the system's",
    "sources.prometheus.dialect": "`metricsql` for VictoriaMetrics: what is no PromQL is warned of, not refused",
    "sources.http": "the guard's own requests to `health_url` and `traffic_url`",
    "sources.http.timeout": "for a whole answer",
    "sources.http.slow_after": "an answer that takes longer is slow; shorter than `timeout`",
    "sources.http.proxy": "proxy for these requests",
    "sources.http.max_bytes": "larger answers are refused",
    "sources.kubernetes": "the API server",
    "sources.kubernetes.kubeconfig": "`null`: the pod's service account, outside a pod the default kubeconfig",
    "sources.kubernetes.context": "the kubeconfig's context; `null`: its current one",
    "sources.kubernetes.timeout": "for each request",
    "sources.scrape": "the pods' own metrics, for a guard without Prometheus",
    "sources.scrape.port": "the pods' port",
    "sources.scrape.path": "the path",
    "sources.scrape.timeout": "for a whole answer",
    "sources.scrape.max_bytes": "larger answers are refused",
    "sources.scrape.max_series": "answers with more series are refused",
    "sources.scrape.min_requests": "with fewer requests in the lookback there is no data",
    "sources.scrape.proxy": "proxy for these requests",
    "metrics": "names of metrics and labels",
    "metrics.selector": "label matchers that find the target's series; placeholders as in `query`",
    "metrics.requests": "counter of requests",
    "metrics.status_label": "its label with the HTTP status",
    "metrics.duration": "histogram of request durations, without `_bucket`",
    "metrics.duration_unit": "`seconds`, or `milliseconds` as Istio, Linkerd and Envoy count",
    "metrics.memory": "gauge of a process's memory, used for pods whose containers' memory or limits are not known",
    "metrics.client_errors_count": "whether 4xx answers count as failed; 5xx always do, 2xx and 3xx never",
    "signals": "by signal name (lower-case letters, digits, `_`), at most 100",
    "signals.<name>.source": (
        "`prometheus`, `http`, `kubernetes` or `scrape`; `null`: as in the table above, `prometheus` for one's own"
    ),
    "signals.<name>.query": "what Prometheus is asked; required for one's own",
    "signals.<name>.lookback": (
        "how far back a reading reaches; `null`: `5m` where the query uses `$lookback`, else the present only"
    ),
    "signals.<name>.unit": (
        "`ratio`, `seconds`, `bytes`, `per_second` or `count`; required for one's own, fixed for a built-in one"
    ),
    "polling": "how often signals are read",
    "polling.interval": "between two reads; at least `100ms`",
    "polling.staleness": (
        "how long a reading may be missing before the clock of a rule starts anew; `null`: two intervals"
    ),
    "limits": "how often the guard may act",
    "limits.cooldown": "after a rollback of a target",
    "limits.per_target_per_day": "rollbacks of one target in 24 hours",
    "limits.per_cluster_per_hour": "rollbacks of all targets in an hour",
    "limits.min_request_rate": (
        "requests per second of a target; with fewer, or an unknown number, nothing is rolled back. `null`: no such "
        "limit"
    ),
    "attribution": "when a rollout counts as the cause of a breach; see What a breach is put down to",
    "attribution.margin": (
        "by how much the new release must stand out: this share of what it takes to breach, and of what the old pods "
        "or the other targets show"
    ),
    "attribution.together": "breaches that began at most so far apart may have one cause",
    "attribution.recent": (
        "a target rolled out so long before its breach is suspected itself; others point to a shared cause"
    ),
    "attribution.before": "how far back before the rollout the release is compared with",
    "attribution.least_history": (
        "for how much of that the rule must have been quiet on values, unless the release before had earned good on "
        "its signals; at most `before`. `null`: it may be unknown"
    ),
    "attribution.min_requests": "with fewer requests the error rate or latency of old or new pods proves nothing",
    "maintenance": "times of the week in which nothing is rolled back, at most 100",
    "maintenance[].name": "unique, told in the refusal",
    "maintenance[].days": "`mon` to `sun`; `null`: every day",
    "maintenance[].start": "when it begins on such a day, such as `22:30`",
    "maintenance[].end": "when it ends; not after `start`: on the following day",
    "maintenance[].timezone": "whose clocks it goes by, such as `Asia/Seoul`",
    "maintenance[].targets": "the targets under maintenance; `null`: all",
    "ledger": "when a release counts as good",
    "ledger.good_after": "how long it must be watched",
    "ledger.good_share": "of that time each rule that measures the release must be quiet",
    "ledger.presumed_after": "a release from before the guard's time that stood this long is presumed good",
    "ledger.keep": "good releases kept to go back to, 1 to 50",
    "verify": "how a rollback is judged",
    "verify.stable_for": "quiet for this long, the target has recovered",
    "verify.timeout": "not settled by then, the target is frozen and people are told; longer than `stable_for`",
    "rollout": "how a rollout of the guard's is followed",
    "rollout.timeout": "until every pod must be up",
    "gradual": "how a `gradual_rollback` goes",
    "gradual.steps": "shares of the pods that run the good release, rising to `100%`",
    "gradual.wait": "at each step, from when its pods are Ready until they are judged",
    "gradual.window": (
        "how far back their error rate is read; at least four scrapes. A shorter `wait` becomes this long"
    ),
    "gradual.threshold": "above this error rate of theirs everything is given back",
    "gradual.min_requests": (
        "with fewer requests in the window nothing is proved; where the first step would have fewer at the present "
        "traffic, `gradual.otherwise` is done"
    ),
    "gradual.hold": "how long a step that proves nothing is held before everything is given back",
    "gradual.otherwise": (
        "what happens where a gradual rollback is not possible: `immediate_rollback`, `alert_then_rollback` or "
        "`alert_only`"
    ),
    "blue_green": "how a `blue_green_rollback` is judged",
    "blue_green.wait": "from the switch until the other environment is judged",
    "blue_green.window": (
        "how far back its error rate is read; at least four scrapes. A shorter `wait` becomes this long"
    ),
    "blue_green.threshold": "above this, and above what it was before, the Service is switched back",
    "blue_green.min_requests": "with fewer requests in the window nothing is proved, and the Service stays",
    "blue_green.otherwise": (
        "what happens where the other environment cannot take over: `immediate_rollback`, `alert_then_rollback` or "
        "`alert_only`"
    ),
    "alert": "what people can say before an `alert_then_rollback`",
    "alert.grace": "how long they may veto it",
    "alert.require_approval": "whether it waits for an approval instead",
    "alert.approval_timeout": "how long it waits for one",
    "alert.remind_every": "between two reminders",
    "alert.veto_for": (
        "how long a veto holds for that release at least, by whatever rule: longer where the veto itself names a later "
        "instant; a person who marks the release bad, or rolls it back, lifts it"
    ),
    "fallback": "whether a further good release is tried",
    "fallback.destination_bad": "how many after one that proved bad before it took over, 0 to 5",
    "fallback.not_recovered": "how many after one that did not help, 0 to 5",
    "dry_run": "whether nothing is written: people are told the plan instead",
    "gitops": (
        "what is done where Argo CD or Flux owns a workload: `refuse`, `suspend` (its owner is suspended until it "
        "wants another revision) or `proceed`; see GitOps"
    ),
    "argocd_namespace": "where Argo CD's Applications are, unless their tracking id names another namespace",
    "journal": "where the guard keeps what it has done",
    "journal.backend": (
        "`sqlite`: files; `kubernetes`: Secrets, for a guard without a volume; see Journal in the cluster"
    ),
    "journal.path": "with `sqlite`: the database; on a volume that outlives the pod",
    "journal.blobs": "with `sqlite`: folder of saved releases and evidence",
    "journal.namespace": "with `kubernetes`: the namespace of the Secrets; it should hold nothing else",
    "journal.name": "with `kubernetes`: tells this guard's Secrets from those of another guard in that namespace",
    "journal.retention": "for how long the steps and notices of closed runs stay; what decisions need stays for ever",
    "authority": "which of several guards over one journal acts; see several guards",
    "authority.lease": "name of the Lease that they share; `null`: this guard is alone",
    "authority.namespace": "the Lease's; `null`: the pod's own, or outside a pod the first target's",
    "authority.duration": "how long a guard that died is waited for; in whole seconds",
    "authority.renew_every": "between two renewals; at most a third of `duration`",
    "notify": "who is told",
    "notify.events": "also as Kubernetes Events on the workload; of the guard itself, on its pod or the first target",
    "notify.language": "language of the messages, `en` or `ko` (Korean); the log stays English",
    "notify.slack": "channels of Slack, at most 20; see Slack",
    "notify.slack[].name": "unique among all channels",
    "notify.slack[].url": "an incoming webhook's; Slack's own addresses are secret: never in clear",
    "notify.slack[].url.file": "the file that holds it",
    "notify.slack[].url.env": "the environment variable that holds it",
    "notify.slack[].token": "instead of a url: the token of an app, with which each notice is shown once",
    "notify.slack[].token.file": "the file that holds it",
    "notify.slack[].token.env": "the environment variable that holds it",
    "notify.slack[].channel": "the id of the channel that the app posts to, such as C0123456789",
    "notify.slack[].api": "where Slack's Web API is",
    "notify.slack[].timeout": "for a whole answer",
    "notify.webhooks": "channels that take messages as JSON, at most 20",
    "notify.webhooks[].name": "unique among all channels",
    "notify.webhooks[].url": (
        "in clear only if nothing in it is secret: no query, no token in the path, none of the chat services "
        "whose address is the secret"
    ),
    "notify.webhooks[].url.file": "the file that holds it",
    "notify.webhooks[].url.env": "the environment variable that holds it",
    "notify.webhooks[].token": "bearer token",
    "notify.webhooks[].token.file": "the file that holds it",
    "notify.webhooks[].token.env": "the environment variable that holds it",
    "notify.webhooks[].timeout": "for a whole answer",
    "web": "the guard's own HTTP server: probes, metrics and JSON",
    "web.listen": (
        "IP address and port; for Prometheus the pod's, such as `0.0.0.0:9997`: who reaches it may read everything "
        "there. `null`: none"
    ),
    "web.probes": (
        "a further IP address and port, for `/healthz` and `/readyz` alone, such as `0.0.0.0:9996`: a flood of "
        "`listen` does not reach the kubelet's probes there. `null`: none"
    ),
    "web.hosts": (
        "names under which `listen` may be asked, such as `guard.example.com`, at most 20; `localhost` and IP "
        "addresses always may. Any other `Host` is refused"
    ),
    "web.auth": (
        "who may approve, veto, freeze and roll back over HTTP; `null`: nobody. Either `token` or `kubernetes: true`"
    ),
    "web.auth.token": "the bearer token of whoever may change everything; empty: nobody may",
    "web.auth.token.file": "the file that holds it",
    "web.auth.token.env": "the environment variable that holds it",
    "web.auth.kubernetes": (
        "whether Kubernetes tells (TokenReview, SubjectAccessReview): whoever may patch the workload may; needs "
        "`deploy/components/api-auth`"
    ),
    "web.auth.audience": "with `kubernetes`: whom tokens must be made for; `null`: the API server",
    "log": "the guard's own log",
    "log.format": "`json`, `console`, or `auto`: console on a terminal, JSON elsewhere",
    "log.level": "`debug`, `info`, `warning` or `error`",
}
"""By the key's path, `[]` for an item of a list, `<name>` for a key of the operator's own."""
