"""A Redis for the channel layer, and the workers of its channels: ours, and Channels' own `runworker`."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.app import channels_tasks
from tests.channels.runner.layers import layer
from tests.dispatch.conftest import short_durations
from tests.runners.conftest import RunWorker, run_worker
from tests.runners.workers import WorkerProcess, django_command
from tests.servers import Redis, running

__all__ = ["run_worker", "short_durations"]  # fixtures of this folder too

SETTINGS = "tests.channels.runner.settings"
EXPIRY_S = 6
READY = "Waiting for messages"
CHANNELS = ("my-background-task", "special-task", "plain-task", "plain-async-task")


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture(autouse=True)
def channel_layer(redis: Redis, settings: Any) -> None:
    """The layer of the tests' process, empty."""
    redis.forget()
    settings.ASGI_APPLICATION = "tests.app.channels_tasks.application"
    settings.CHANNEL_LAYERS = {"default": layer(redis.url)}


def env_of(redis: Redis, **env: str) -> dict[str, str]:
    """The environment of a worker process on this Redis."""
    return {"DJANGO_SETTINGS_MODULE": SETTINGS, "TELLTALE_TEST_LAYER": redis.url, **env}


def worker_of(run_worker: RunWorker, redis: Redis, *options: str, **env: str) -> Iterator[WorkerProcess]:
    """A worker of ours, for all channels but those that are not routed."""
    command = django_command("telltale", "worker", *options, "--channels", *CHANNELS)
    yield from run_worker(channels_tasks, command, READY, **env_of(redis, **env))


@pytest.fixture(scope="class")
def worker(run_worker: RunWorker, redis: Redis) -> Iterator[WorkerProcess]:
    """A worker of ours with two slots."""
    yield from worker_of(run_worker, redis, "--concurrency", "2")


@pytest.fixture(scope="class")
def single_worker(run_worker: RunWorker, redis: Redis) -> Iterator[WorkerProcess]:
    """A worker of ours with one slot."""
    yield from worker_of(run_worker, redis)


@pytest.fixture(scope="class")
def misrouting_worker(run_worker: RunWorker, redis: Redis) -> Iterator[WorkerProcess]:
    """A worker of channels of which its application routes some not at all, and one to the wrong consumer."""
    channels = ("unrouted-task", "wrong-task", "misrouted-task", "my-background-task")
    command = django_command("telltale", "worker", "--channels", *channels)
    yield from run_worker(channels_tasks, command, READY, **env_of(redis))


@pytest.fixture(scope="class")
def runworker(run_worker: RunWorker, redis: Redis) -> Iterator[WorkerProcess]:
    """Channels' own worker, with a layer that keeps messages for a few seconds."""
    command = django_command("runworker", *CHANNELS)
    env = env_of(redis, TELLTALE_TEST_EXPIRY_S=str(EXPIRY_S))
    yield from run_worker(channels_tasks, command, "Running worker", **env)


@pytest.fixture
def short_expiry(redis: Redis, settings: Any) -> None:
    """The tests' process sends to a layer that keeps messages for a few seconds, as that of `runworker`."""
    settings.CHANNEL_LAYERS = {"default": layer(redis.url, expiry_s=EXPIRY_S)}
