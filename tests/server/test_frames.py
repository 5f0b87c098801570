"""Frames against the parser of `websockets`: it reads what is written, and keeps no state after whole messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side, State

from telltale.server.frames import LAST_CHUNK, chunk, event_chunk, holds_whole_messages, text_frame
from telltale.transports.sse import event_bytes
from tests.transports.slow import masked

TEXTS = st.text(max_size=300) | st.builds(
    lambda text, n: text * n, st.text(min_size=1, max_size=20), st.integers(0, 9_000)
)
SIZES = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536]) | st.integers(0, 70_000)


def read(data: bytes, side: Side) -> list[tuple[Opcode, bool, bytes]]:
    """Return what the parser of `side` reads; all of it must be valid."""
    parser = Protocol(side, max_size=None)
    parser.receive_data(data)
    frames = [(frame.opcode, frame.fin, bytes(frame.data)) for frame in parser.events_received()]
    assert parser.parser_exc is None
    return frames


@given(TEXTS)
def test_a_client_reads_the_text_of_a_frame(text: str) -> None:
    assert read(text_frame(text), Side.CLIENT) == [(Opcode.TEXT, True, text.encode())]


@given(st.lists(TEXTS, max_size=5))
def test_frames_written_together_are_read_one_by_one(texts: list[str]) -> None:
    data = b"".join(map(text_frame, texts))
    assert [content for _, _, content in read(data, Side.CLIENT)] == [text.encode() for text in texts]


@given(
    st.lists(st.tuples(SIZES, st.sampled_from([1, 2, 9, 10])), min_size=1, max_size=4),
    st.binary(min_size=4, max_size=4),
)
def test_whole_messages_are_recognised_and_all_read(parts: list[tuple[int, int]], mask: bytes) -> None:
    data = b"".join(masked(b"x" * min(size, 125 if code > 8 else size), code, mask=mask) for size, code in parts)
    assert holds_whole_messages(data)
    assert len(read(data, Side.SERVER)) == len(parts)


@given(st.lists(SIZES, min_size=1, max_size=3), st.data())
def test_data_cut_inside_a_message_is_not_whole_messages(sizes: list[int], data: st.DataObject) -> None:
    frames = [masked(b"x" * size) for size in sizes]
    whole = b"".join(frames)
    ends = {sum(map(len, frames[:n])) for n in range(len(frames) + 1)}
    cut = data.draw(st.integers(1, len(whole) - 1))
    assert holds_whole_messages(whole[:cut]) == (cut in ends)


@given(SIZES, st.booleans())
def test_a_fragment_is_not_a_whole_message(size: int, is_first: bool) -> None:
    fragment = masked(b"x" * size, 1, fin=False) if is_first else masked(b"x" * size, 0)
    assert not holds_whole_messages(fragment)
    assert not holds_whole_messages(masked(b"whole") + fragment)
    assert not holds_whole_messages(fragment + masked(b"whole"))


@given(st.binary(max_size=400))
def test_a_parser_keeps_no_state_after_garbage_that_was_taken_for_whole_messages(data: bytes) -> None:
    parser = Protocol(Side.SERVER, max_size=1 << 16)
    if holds_whole_messages(data) and data:
        parser.receive_data(data)
        is_broken = parser.parser_exc is not None or parser.state is not State.OPEN
        assert is_broken or (not parser.reader.buffer and parser.current_size is None)


@given(TEXTS)
def test_a_chunk_has_its_size_and_one_event(text: str) -> None:
    size, _, rest = event_chunk(text).partition(b"\r\n")
    body, end = rest[: int(size, 16)], rest[int(size, 16) :]
    assert (body, end) == (event_bytes(text), b"\r\n")


def test_the_last_chunk_is_empty() -> None:
    assert chunk(b"") == LAST_CHUNK


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_s32_a_text_of_several_lines_is_one_event_and_none_can_be_forged(end: str) -> None:
    text = f'{{"a":1,{end}{end}data: {{"type":"bye"}}{end}event: x{end}id: 7\u2028data: y}}'
    lines = event_bytes(text).decode().split("\n")
    assert lines[-2:] == ["", ""]
    assert all(line.startswith("data: ") for line in lines[:-2])
    assert "\n".join(line.removeprefix("data: ") for line in lines[:-2]) == text.replace("\r\n", "\n").replace(
        "\r", "\n"
    )
