"""Frames against the parser of `websockets`: what is written can be read, and what is whole leaves nothing behind."""

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side, State

from telltale.server.frames import LAST_CHUNK, are_whole, chunk, event_chunk, text_frame
from tests.transports.slow import masked

TEXTS = st.text(max_size=300) | st.builds(
    lambda text, n: text * n, st.text(min_size=1, max_size=20), st.integers(0, 9_000)
)
SIZES = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536]) | st.integers(0, 70_000)


def read(data: bytes, side: Side) -> list[tuple[Opcode, bool, bytes]]:
    """What the other side makes of it; all of it must be good."""
    parser = Protocol(side, max_size=None)
    parser.receive_data(data)
    frames = [(frame.opcode, frame.fin, bytes(frame.data)) for frame in parser.events_received()]
    assert parser.parser_exc is None
    return frames


@given(TEXTS)
def test_a_client_reads_the_text_that_was_framed(text: str) -> None:
    assert read(text_frame(text), Side.CLIENT) == [(Opcode.TEXT, True, text.encode())]


@given(st.lists(TEXTS, max_size=5))
def test_frames_that_are_written_in_one_go_are_read_one_by_one(texts: list[str]) -> None:
    data = b"".join(map(text_frame, texts))
    assert [content for _, _, content in read(data, Side.CLIENT)] == [text.encode() for text in texts]


@given(
    st.lists(st.tuples(SIZES, st.sampled_from([1, 2, 9, 10])), min_size=1, max_size=4),
    st.binary(min_size=4, max_size=4),
)
def test_whole_messages_are_whole_and_leave_nothing_in_a_parser(parts: list[tuple[int, int]], mask: bytes) -> None:
    data = b"".join(masked(b"x" * min(size, 125 if code > 8 else size), code, mask=mask) for size, code in parts)
    assert are_whole(data)
    assert len(read(data, Side.SERVER)) == len(parts)


@given(st.lists(SIZES, min_size=1, max_size=3), st.data())
def test_what_is_cut_anywhere_but_between_two_messages_is_not_whole(sizes: list[int], data: st.DataObject) -> None:
    frames = [masked(b"x" * size) for size in sizes]
    whole = b"".join(frames)
    ends = {sum(map(len, frames[:n])) for n in range(len(frames) + 1)}
    cut = data.draw(st.integers(1, len(whole) - 1))
    assert are_whole(whole[:cut]) == (cut in ends)


@given(SIZES, st.booleans())
def test_a_piece_of_a_message_is_not_whole(size: int, is_first: bool) -> None:
    piece = masked(b"x" * size, 1, fin=False) if is_first else masked(b"x" * size, 0)
    assert not are_whole(piece)
    assert not are_whole(masked(b"whole") + piece)
    assert not are_whole(piece + masked(b"whole"))


@given(st.binary(max_size=400))
def test_of_garbage_a_parser_keeps_nothing_that_was_called_whole(data: bytes) -> None:
    parser = Protocol(Side.SERVER, max_size=1 << 16)
    if are_whole(data) and data:
        parser.receive_data(data)
        is_broken = parser.parser_exc is not None or parser.state is not State.OPEN
        assert is_broken or (not parser.reader.buffer and parser.current_size is None)


@given(TEXTS)
def test_a_chunk_says_its_size_and_holds_one_event(text: str) -> None:
    size, _, rest = event_chunk(text).partition(b"\r\n")
    body, end = rest[: int(size, 16)], rest[int(size, 16) :]
    assert (body, end) == (f"data: {text}\n\n".encode(), b"\r\n")


def test_the_last_chunk_is_an_empty_one() -> None:
    assert chunk(b"") + b"" == LAST_CHUNK
