"""Which addresses the site sends push messages to: those of known push services, and nothing within its own network."""

from typing import Any

import pytest

from telltale.core.push import MAX_ENDPOINT, SERVICES, Subscription, is_at_service, is_service
from telltale.core.wire import Malformed

KEYS = {"p256dh": "B" + "A" * 86, "auth": "A" * 22}


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://fcm.googleapis.com/fcm/send/dQw4w9WgXcQ:APA91bH_-x",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABl==",
        "https://web.push.apple.com/QGuQyavXutnMH8",
        "https://wns2-par02p.notify.windows.com/w/?token=BQYAAAD%2f",
        "https://fcm.googleapis.com:443/fcm/send/x",
    ],
)
def test_the_services_of_all_browsers_are_known(endpoint: str) -> None:
    assert is_at_service(endpoint, SERVICES)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://10.0.0.1/",
        "https://127.0.0.1/fcm.googleapis.com",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://localhost/",
        "https://2130706433/",
        "https://evil.example/",
        "http://fcm.googleapis.com/fcm/send/x",
        "ftp://fcm.googleapis.com/x",
        "https://fcm.googleapis.com:8443/x",
        "https://fcm.googleapis.com.evil.example/x",
        "https://evilfcm.googleapis.com/x",
        "https://evil-push.apple.com.example/x",
        "https://push.apple.com/x",
        "https://xpush.apple.com/x",
        "https://fcm.googleapis.com@10.0.0.1/x",
        "https://user:password@fcm.googleapis.com/x",
        "https://fcm.googleapis.com\\@10.0.0.1/x",
        "https://10.0.0.1#.push.apple.com/x",
        "https://10.0.0.1/?.push.apple.com/x#",
        "https://10.0.0.1%2f.push.apple.com/x",
        "https://fcm.googleapis.com",
        "https://fcm.googleapis.com/x\r\nHost: evil",
        "https://fcm.googleapis.com/x y",
        "https://fcm.googleapis.com/ü",
        "https://FCM.googleapis.com/x",
        " https://fcm.googleapis.com/x",
        "//fcm.googleapis.com/x",
        "",
    ],
)
def test_no_other_address_is_accepted(endpoint: str) -> None:
    assert not is_at_service(endpoint, SERVICES)
    with pytest.raises(Malformed):
        Subscription.read({"endpoint": endpoint, "keys": KEYS}, SERVICES)


def test_a_site_may_name_its_own_services_by_host_or_by_origin() -> None:
    services = ["push.example.org", "*.push.test", "http://127.0.0.1:9000", "https://push.example.com:8443"]
    assert all(is_service(service) for service in services)
    for endpoint in (
        "https://push.example.org/x",
        "https://a.push.test/x",
        "http://127.0.0.1:9000/x",
        "https://push.example.com:8443/x",
    ):
        assert is_at_service(endpoint, services)
    for endpoint in (
        "http://127.0.0.1/x",
        "http://127.0.0.1:9001/x",
        "https://push.example.com/x",
        "https://push.test/x",
    ):
        assert not is_at_service(endpoint, services)


@pytest.mark.parametrize("service", ["", "*", "*.*", "com", "*.", "http://", "https://push.example.org/path", 7, None])
def test_what_names_no_service_is_none(service: Any) -> None:
    assert not is_service(service)


@pytest.mark.parametrize(
    "more",
    [
        {"endpoint": "https://fcm.googleapis.com/" + "x" * MAX_ENDPOINT},
        {"endpoint": 7},
        {"endpoint": None},
        {"keys": None},
        {"keys": []},
        {"keys": {}},
        {"keys": {**KEYS, "p256dh": "A" * 87}},
        {"keys": {**KEYS, "p256dh": "B" + "A" * 85}},
        {"keys": {**KEYS, "p256dh": ["B"]}},
        {"keys": {**KEYS, "auth": "A" * 21}},
        {"keys": {**KEYS, "auth": "A" * 10_000}},
        {"keys": {**KEYS, "auth": "ä" * 22}},
    ],
)
def test_what_no_browser_sends_is_refused(more: dict[str, Any]) -> None:
    subscription = {"endpoint": "https://fcm.googleapis.com/x", "keys": KEYS}
    Subscription.read(subscription, SERVICES)
    with pytest.raises(Malformed):
        Subscription.read({**subscription, **more}, SERVICES)
