"""Tasks on their way to the channel layer: their names, their rows, their messages, and each error with its fix."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

import telltale
import telltale.channels
from telltale.channels.runner.handlers import Handler
from telltale.channels.runner.runner import CLAIM_S
from telltale.core.states import State
from telltale.dispatch.registry import by_name, runner_of
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.testing.runners import wait_for_end
from tests.app.channels_tasks import Background, Plain, Special
from tests.channels.runner.layers import layer
from tests.servers import ROOT, Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


def sent_messages(redis: Redis, channel: str = "my-background-task") -> list[dict[str, Any]]:
    with redis.client() as client:
        return [get_channel_layer().deserialize(member) for member in client.zrange(f"asgi{channel}", 0, -1)]


# Names


def test_a_tracked_handler_is_a_task_of_its_own_class() -> None:
    runner = by_name("channels")
    assert runner is not None
    assert runner_of(Special.count) is runner
    assert Special.count == Handler(Special, "count", Special.count.function)
    assert Special.count != Background.count
    assert runner.name_of(Special.count) == "tests.app.channels_tasks.Special.count"
    assert runner.find("tests.app.channels_tasks.Special.count") == Special.count


@pytest.mark.parametrize(
    "name",
    [
        "tests.app.channels_tasks.Background.untracked",
        "tests.app.channels_tasks.Background.gone",
        "tests.app.channels_tasks.Plain.greet",
        "tests.app.channels_tasks",
        "count",
        "",
    ],
)
def test_a_name_that_is_no_tracked_handler_is_not_found(name: str) -> None:
    runner = by_name("channels")
    assert runner is not None
    assert runner.find(name) is None


def test_on_an_instance_a_tracked_handler_is_a_method(tmp_path: Any) -> None:
    Background().import_contacts(7, str(tmp_path / "log"))
    assert (tmp_path / "log").read_text() == "import-7\n"
    assert TaskState.objects.count() == 0


def test_a_call_on_the_class_runs_the_handler_here(tmp_path: Any) -> None:
    Background.import_contacts(7, log=str(tmp_path / "log"))
    assert (tmp_path / "log").read_text() == "import-7\n"
    assert TaskState.objects.count() == 0


def test_a_channel_is_found_by_importing_the_application_of_the_site() -> None:
    script = """
import django
django.setup()
from telltale.channels.runner.handlers import handler_on
print(handler_on("my-background-task", "import.contacts").dotted_name)
"""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.channels.runner.settings"}
    env |= {"TELLTALE_TEST_LAYER": "redis://127.0.0.1:1/0", "PYTHONPATH": os.pathsep.join([str(ROOT), f"{ROOT}/src"])}
    process = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=50)
    assert process.stdout == "tests.app.channels_tasks.Background.import_contacts\n", process.stderr


# Sending


def test_a_task_is_queued_with_a_row_and_a_message_that_names_it(redis: Redis) -> None:
    ada = User.objects.create_user("ada")
    row = telltale.enqueue(Background.import_contacts, 7, owner=ada)
    assert (row.state, row.label, row.runner, row.key) == (State.QUEUED, "Import contacts", "channels", "upload-7")
    assert row.lease_until == pytest.approx(row.created_at + 60 + CLAIM_S, abs=10)
    header = {"task": str(row.pk), "owner": [ada.pk, ""], "fresh": False, "id": row.runner_id}
    assert sent_messages(redis) == [{"type": "import_contacts", "args": [7], "kwargs": {}, "telltale": header}]


@pytest.mark.parametrize("handler", ["import_contacts", "import.contacts"])
def test_a_task_can_be_sent_by_its_channel_and_the_type_of_its_message(handler: str, redis: Redis) -> None:
    row = telltale.channels.send("my-background-task", handler, 7, label="Contacts")
    assert (row.name, row.label) == ("tests.app.channels_tasks.Background.import_contacts", "Contacts")
    assert row.call == {"args": [7], "kwargs": {}}
    assert sent_messages(redis)[0]["type"] == "import_contacts"


def test_a_handler_can_be_sent_as_well(redis: Redis) -> None:
    row = telltale.channels.send(Special.import_contacts, upload_id=7)
    assert row.name == "tests.app.channels_tasks.Special.import_contacts"
    assert sent_messages(redis, "special-task")[0]["kwargs"] == {"upload_id": 7}


def test_an_open_task_with_the_same_key_is_joined_and_sent_once(redis: Redis) -> None:
    first, second = (telltale.enqueue(Background.import_contacts, 7) for _ in range(2))
    assert first.pk == second.pk
    with redis.client() as client:
        assert client.zcard("asgimy-background-task") == 1


def test_a_transaction_that_rolls_back_sends_nothing(redis: Redis) -> None:
    with transaction.atomic():
        telltale.enqueue(Background.import_contacts, 7)
        transaction.set_rollback(True)
    with redis.client() as client:
        assert client.zcard("asgimy-background-task") == 0
    assert TaskState.objects.count() == 0


def test_arguments_arrive_as_the_row_keeps_them(redis: Redis) -> None:
    row = telltale.enqueue(Background.import_contacts, (1, {2: "two"}))
    row.refresh_from_db()
    assert sent_messages(redis)[0]["args"] == row.call["args"] == [[1, {"2": "two"}]]


def test_many_tasks_have_a_message_each(redis: Redis) -> None:
    rows = telltale.enqueue_many(Background.fail, [("a",), ("b",)])
    assert [message["telltale"]["task"] for message in sent_messages(redis)] == [str(row.pk) for row in rows]
    assert all(row.lease_until is not None for row in rows)


def test_an_async_view_can_enqueue_through_sync_to_async(redis: Redis) -> None:
    async def view() -> TaskState:
        return await sync_to_async(telltale.enqueue)(Background.fail, "log")

    row = asyncio.run(view())
    assert sent_messages(redis)[0]["telltale"]["task"] == str(row.pk)


# Errors


def refuses_to_enqueue(match: str, error: type[Exception] = EnqueueFailed, argument: Any = "log") -> None:
    with pytest.raises(error, match=match):
        telltale.enqueue(Background.fail, argument)
    assert TaskState.objects.count() == 0


def test_a_full_channel_is_an_error_and_leaves_no_row(settings: Any, redis: Redis) -> None:
    settings.CHANNEL_LAYERS = {"default": layer(redis.url, capacity=2)}
    rows = [telltale.enqueue(Background.fail, "log") for _ in range(2)]
    with pytest.raises(EnqueueFailed, match=r"as many messages for 'my-background-task' as its capacity .*run more"):
        telltale.enqueue(Background.fail, "log")
    assert set(TaskState.objects.values_list("pk", flat=True)) == {row.pk for row in rows}


def test_a_layer_that_is_not_configured_is_an_error(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    refuses_to_enqueue("CHANNEL_LAYERS has no layer 'default': add one", ImproperlyConfigured)


def test_a_layer_that_can_not_be_reached_is_an_error(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": layer("redis://127.0.0.1:1/0")}
    refuses_to_enqueue(r"did not take a message of about \d+ bytes for 'my-background-task' .*Error")


def test_a_layer_in_memory_is_warned_of_once_and_its_task_ends(settings: Any, caplog: Any) -> None:
    memory = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"expiry": 0}}
    settings.CHANNEL_LAYERS = {"default": memory}
    rows = [telltale.enqueue(Background.fail, "log") for _ in range(2)]
    [warning] = [record.getMessage() for record in caplog.records if record.name == "telltale.channels.runner.runner"]
    assert "'default'] is a layer in memory, which reaches only this process" in warning
    assert {wait_for_end(row).error for row in rows} == {"No worker started this task."}


def test_a_message_over_the_limit_of_the_layer_is_an_error(redis: Redis) -> None:
    with redis.client() as client:
        client.config_set("proto-max-bulk-len", 1_048_576)
    try:
        refuses_to_enqueue(r"message of about 2,000,\d+ bytes .*store large arguments", argument="x" * 2_000_000)
    finally:
        with redis.client() as client:
            client.config_set("proto-max-bulk-len", 536_870_912)


def test_a_number_that_the_layer_can_not_serialise_is_an_error() -> None:
    refuses_to_enqueue(r"did not take a message .*OverflowError", argument=2**80)


def test_an_argument_that_is_no_json_is_an_error_before_anything_is_written() -> None:
    refuses_to_enqueue("argument 1 of tests.app.channels_tasks.Background.fail", TypeError, argument=object())


def test_a_handler_of_a_consumer_without_a_channel_is_an_error() -> None:
    class Nameless(telltale.channels.TaskConsumer):
        @telltale.tracked
        def count(self) -> None: ...

    with pytest.raises(EnqueueFailed, match=r'has no channel, so nothing can be sent to it: set channel = "…"'):
        telltale.enqueue(Nameless.count)
    assert TaskState.objects.count() == 0


def test_an_untracked_handler_is_no_task() -> None:
    with pytest.raises(TypeError, match=r"Background.untracked is not tracked.*put @telltale.tracked above it"):
        telltale.channels.send("my-background-task", "untracked", 7)
    with pytest.raises(TypeError, match="can't be enqueued"):
        telltale.enqueue(Background.untracked, 7)
    with pytest.raises(TypeError, match="can't be enqueued"):
        telltale.enqueue(Plain.greet, 7)


def test_a_handler_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    with pytest.raises(TypeError, match=r"Background has no handler 'gone'; it has answers, .*wait_for_file"):
        telltale.channels.send("my-background-task", "gone", 7)


def test_a_channel_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    with pytest.raises(TypeError, match=r"No TaskConsumer declares the channel 'gone'; there are .*my-background-task"):
        telltale.channels.send("gone", "count", 7)


def test_a_channel_without_a_handler_is_an_error() -> None:
    with pytest.raises(TypeError, match=r'names no handler: pass its name .*send\(.my-background-task., "import_con'):
        telltale.channels.send("my-background-task", 7)


def test_two_consumers_of_one_channel_must_be_sent_by_their_handlers() -> None:
    class One(telltale.channels.TaskConsumer):
        channel = "shared-task"

        @telltale.tracked
        def count(self) -> None: ...

    class Other(telltale.channels.TaskConsumer):
        channel = "shared-task"

    assert Other.channel == One.channel
    with pytest.raises(TypeError, match="both declare the channel 'shared-task': pass the handler itself"):
        telltale.channels.send("shared-task", "count")
    assert telltale.enqueue(One.count).state == State.QUEUED


def test_a_consumer_of_tasks_refuses_a_connection_of_a_client() -> None:
    scope = {"type": "websocket", "path": "/"}
    with pytest.raises(ValueError, match=r"scope of the type 'websocket'.*route it in ChannelNameRouter"):
        asyncio.run(Background.as_asgi()(scope, None, None))
