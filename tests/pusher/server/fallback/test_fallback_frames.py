"""Addresses and frames of the HTTP transports."""

import json

import pytest

from telltale.pusher.protocol import close_codes
from telltale.pusher.protocol.api_refusal import ApiRefusal
from telltale.pusher.protocol.close_codes import Code
from telltale.pusher.server.fallback import frames
from telltale.pusher.server.fallback.addresses import Action, FallbackAddress, fallback_address


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("mount", ["/ws", "/pusher", "/root/ws", "/root/pusher"])
def test_an_address_is_found_below_the_prefix_and_below_the_clients_own(mount: str, action: Action) -> None:
    """P70: pusher-js puts /pusher before the path by default, and has no way to put nothing there."""
    found = fallback_address(f"{mount}/app/key-1/12/0a1b2c3d/{action}", "/root", "/ws")
    assert found == FallbackAddress(key="key-1", session="12/0a1b2c3d", action=action)


@pytest.mark.parametrize(
    "path",
    [
        "/app/key/12/0a1b2c3d",
        "/app/key/12/0a1b2c3d/xhr_other",
        "/app/key/12/0a1b2c3d/xhr/more",
        "/app/key/12/short/xhr",
        "/app/key/twelve/0a1b2c3d/xhr",
        "/app/12/0a1b2c3d/xhr",
        "/apps/key/12/0a1b2c3d/xhr",
        "/other/app/key/12/0a1b2c3d/xhr",
    ],
)
def test_other_paths_are_the_sites(path: str) -> None:
    assert fallback_address(path, "", "") is None


def test_messages_survive_their_frames_unchanged() -> None:
    """P71: each message is a string of JSON in a frame of one line."""
    texts = ['{"event":"x","data":"a\\nb"}', '{"event":"é\\u2028\U0001f600"}']
    frame = frames.messages(map(frames.form, texts))
    assert frame.isascii(), "Characters and bytes are the same: streams are measured in characters."
    assert frame.endswith(b"]\n")
    assert frame.count(b"\n") == 1
    assert json.loads(frame[1:]) == texts


@pytest.mark.parametrize("code", [code for code in vars(close_codes).values() if isinstance(code, Code)])
def test_a_closing_frame_has_code_and_reason(code: Code) -> None:
    """P71."""
    frame = frames.closing(code)
    assert frame[:1] == b"c"
    assert json.loads(frame[1:]) == [code.number, code.text]


def test_a_body_is_a_list_of_strings() -> None:
    """P73."""
    assert frames.read_messages(b"[]") == []
    assert frames.read_messages('["{\\"event\\":\\"é\\"}"]'.encode()) == ['{"event":"é"}']


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"{}", b"[1]", b'[["x"]]', b'"x"', b'["\xff"]', b"[" * 100_000, b'["",' * 200 + b'"x"' + b"]" * 200],
)
def test_any_other_body_is_refused_with_the_reason(body: bytes) -> None:
    """P12."""
    with pytest.raises(ApiRefusal) as refusal:
        frames.read_messages(body)
    assert refusal.value.status == 400
    assert "list of strings" in refusal.value.text


def test_a_body_has_a_bounded_number_of_messages() -> None:
    most = json.dumps(["{}"] * frames.MESSAGES_PER_BODY).encode()
    assert len(frames.read_messages(most)) == frames.MESSAGES_PER_BODY
    with pytest.raises(ApiRefusal, match="at most 100"):
        frames.read_messages(json.dumps(["{}"] * (frames.MESSAGES_PER_BODY + 1)).encode())
