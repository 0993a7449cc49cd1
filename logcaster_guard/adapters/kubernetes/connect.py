"""Finds the Kubernetes API and this guard's credentials, as kubectl would."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import yaml
from kubernetes_asyncio.client.configuration import Configuration
from kubernetes_asyncio.config import ConfigException, load_kube_config
from kubernetes_asyncio.config.incluster_config import InClusterConfigLoader

from logcaster_guard.adapters.kubernetes.answers import MESSAGE_LIMIT, printable
from logcaster_guard.adapters.kubernetes.api_requests import Requests
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.domain.errors import ConfigurationError, Unavailable
from logcaster_guard.domain.message import Message
from logcaster_guard.messages.cluster_faults import (
    AccountOfPod,
    AccountTokenUnread,
    CannotUse,
    CredentialsLate,
    Kubeconfig,
    NoKubeconfig,
    ServerNoUrl,
)
from logcaster_guard.messages.texts import failure

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts a pod's token and the cluster's CA."""


def own_namespace(service_account: Path = SERVICE_ACCOUNT) -> str | None:
    """The namespace of the pod that this process runs in; None outside a pod."""
    try:
        return (service_account / "namespace").read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None


_UNUSABLE = (
    ConfigException,
    yaml.YAMLError,
    aiohttp.ClientError,
    OSError,
    ValueError,
    # The library walks a kubeconfig without looking at its shape first.
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
)


Reload = Callable[[], Awaitable[None]]


async def connect(
    *,
    kubeconfig: Path | None,
    context: str | None,
    timeout: float,  # noqa: ASYNC109 # also the bound of every later request
    service_account: Path = SERVICE_ACCOUNT,
) -> KubernetesCluster:
    """A cluster that can be used; nothing has been asked of it yet.

    Taken is the first of: `kubeconfig`, the files that `$KUBECONFIG` names, the pod's own service account, and
    `~/.kube/config`. `context` chooses within a kubeconfig. `timeout` is in seconds, of each request and of loading
    the credentials. A program that a kubeconfig names under `exec` is run. Raises `ConfigurationError` when there are
    no usable credentials, `Unavailable` when they did not come in time.
    """
    configuration = Configuration()
    # Python 3.13 turns on RFC 5280 checks that the CAs of many clusters, which kubectl accepts, do not pass. The chain
    # and the host name are checked all the same.
    configuration.disable_strict_ssl_verification = True
    paths = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG", "")
    in_cluster = not paths and not context and "KUBERNETES_SERVICE_HOST" in os.environ
    place: Message = AccountOfPod(str(service_account))
    reload: Reload | None = None
    if not in_cluster:
        paths = paths or str(Path.home() / ".kube" / "config")
        place = Kubeconfig(paths)
        reload = _reload(paths, context, configuration)
    try:
        async with asyncio.timeout(timeout):
            if reload is None:
                _use_service_account(configuration, service_account)
            else:
                await reload()
        if not str(configuration.host).startswith(("http://", "https://")):
            raise failure(ConfigurationError, CannotUse(place, ServerNoUrl()))
        return KubernetesCluster(Requests(configuration, timeout=timeout, reload=reload))
    except TimeoutError as error:
        raise failure(Unavailable, CannotUse(place, CredentialsLate(timeout))) from error
    except Unavailable as error:
        message = error.reason if isinstance(error.reason, Message) else None
        raise ConfigurationError(str(error), reason=message) from error
    except OSError as error:
        raise failure(ConfigurationError, CannotUse(place, _words(error))) from error


def _use_service_account(configuration: Configuration, folder: Path) -> None:
    token, ca = folder / "token", folder / "ca.crt"
    try:
        InClusterConfigLoader(str(token), str(ca), try_refresh_token=False).load_and_set(configuration)
    except (ConfigException, ValueError, OSError) as error:
        raise failure(Unavailable, CannotUse(AccountOfPod(str(folder)), _words(error))) from error

    def read_again(used: Configuration) -> None:
        # The kubelet replaces the token long before it expires. The file is small and in memory, and reading it each
        # time needs no clock.
        try:
            used.api_key["BearerToken"] = f"Bearer {token.read_text(encoding='ascii').strip()}"
        except (OSError, ValueError) as error:
            raise failure(Unavailable, AccountTokenUnread(str(folder), _words(error))) from error

    configuration.refresh_api_key_hook = read_again


def _reload(paths: str, context: str | None, configuration: Configuration) -> Reload:
    async def reload() -> None:
        if not _exists(paths):
            raise failure(Unavailable, NoKubeconfig(paths))
        try:
            await load_kube_config(paths, context, configuration, persist_config=False)
        except TimeoutError:
            raise
        except _UNUSABLE as error:
            raise failure(Unavailable, CannotUse(Kubeconfig(paths), _words(error))) from error

    return reload


def _exists(paths: str) -> bool:
    return any(Path(p).expanduser().is_file() for p in paths.split(os.pathsep) if p)


def _words(error: Exception) -> str:
    """What `error` says, on one line and without its last full stop; its name where it says nothing."""
    return (printable(" ".join(str(error).split()))[:MESSAGE_LIMIT] or type(error).__name__).rstrip(".")
