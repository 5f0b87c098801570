/** The parser of event streams. */
import assert from "node:assert/strict"
import test from "node:test"

import { EventStream } from "telltale/live/event-stream.js"

const STREAM = ': hello\r\ndata: {"a":1}\r\n\r\nevent: x\nid: 7\ndata: one\ndata:two\n\nretry: 5\r\rdata: ü\r\r: end\n\n'
const EVENTS = ['{"a":1}', "one\ntwo", "ü"]

test("events are found with each kind of line end; comments, names and ids are skipped", () => {
  assert.deepEqual(new EventStream().push(STREAM), EVENTS)
})

test("the pieces may be cut anywhere", () => {
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const stream = new EventStream()
    assert.deepEqual([...stream.push(STREAM.slice(0, cut)), ...stream.push(STREAM.slice(cut))], EVENTS, `cut at ${cut}`)
  }
  const stream = new EventStream()
  assert.deepEqual([...STREAM].flatMap(character => stream.push(character)), EVENTS)
})

test("an unfinished event is not returned", () => {
  assert.deepEqual(new EventStream().push("data: half\n"), [])
})
