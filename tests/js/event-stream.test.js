/** Parsing an event stream by hand, and messages that are none. */
import assert from "node:assert/strict"
import test from "node:test"

import { EventStream, decode } from "telltale/live/event-stream.js"

const STREAM = ': hello\r\ndata: {"a":1}\r\n\r\nevent: x\nid: 7\ndata: one\ndata:two\n\nretry: 5\r\rdata: ü\r\r: end\n\n'
const EVENTS = ['{"a":1}', "one\ntwo", "ü"]

test("events are found however lines end; comments, names and ids are passed over", () => {
  assert.deepEqual(new EventStream().push(STREAM), EVENTS)
})

test("it does not matter where the pieces are cut", () => {
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const stream = new EventStream()
    assert.deepEqual([...stream.push(STREAM.slice(0, cut)), ...stream.push(STREAM.slice(cut))], EVENTS, `cut at ${cut}`)
  }
  const stream = new EventStream()
  assert.deepEqual([...STREAM].flatMap(character => stream.push(character)), EVENTS)
})

test("an event that was not finished is no event", () => {
  assert.deepEqual(new EventStream().push("data: half\n"), [])
})

test("what is no JSON object is no message", () => {
  for (const text of ["", "[]", "null", "7", "{", undefined]) assert.equal(decode(text), null)
  assert.deepEqual(decode('{"type":"ping"}'), { type: "ping" })
})
