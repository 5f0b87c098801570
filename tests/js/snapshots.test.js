/** The merging of messages, with the traces that the Python tests recorded. */
import assert from "node:assert/strict"
import test from "node:test"

import { Snapshots, supersedes } from "telltale/live/snapshots.js"

import { traces } from "./traces.js"

test("there are traces to replay", () => assert.ok(traces.length >= 10))

for (const trace of traces) {
  test(`${trace.name}: ${trace.about}`, () => {
    const snapshots = new Snapshots()
    const notices = []
    const events = []
    const ignored = trace.frames.map(frame => {
      const news = snapshots.merge(frame)
      notices.push(...news.notices.map(notice => notice.id))
      events.push(...news.events)
      return news.ignored
    })
    assert.deepEqual(Object.fromEntries(snapshots.tasks), trace.expected.tasks)
    assert.deepEqual(notices, trace.expected.notices)
    assert.deepEqual(events, trace.expected.events)
    assert.deepEqual(ignored, trace.ignored)
  })

  test(`${trace.name}: a repetition of all messages changes nothing but events`, () => {
    const snapshots = new Snapshots()
    for (const frame of [...trace.frames, ...trace.frames]) snapshots.merge(frame)
    assert.deepEqual(Object.fromEntries(snapshots.tasks), trace.expected.tasks)
    assert.deepEqual(snapshots.seen, trace.expected.notices)
  })
}

const snapshot = (attempt, ended, seq, id = "a") => ({ id, attempt, ended, seq })

test("an end is newer than later reports of its attempt; a later attempt is newer than both", () => {
  assert.ok(supersedes(snapshot(1, true, 3), snapshot(1, false, 9)))
  assert.ok(supersedes(snapshot(2, false, 0), snapshot(1, true, 9)))
  assert.ok(!supersedes(snapshot(1, false, 9), snapshot(1, true, 3)))
  assert.ok(!supersedes(snapshot(1, false, 2), snapshot(1, false, 2)))
  assert.ok(supersedes(snapshot(1, false, 0), undefined))
})

test("`have` is in the order that the server compares", () => {
  const snapshots = new Snapshots()
  snapshots.merge({ tasks: [snapshot(2, true, 5)] })
  assert.deepEqual(snapshots.have, { a: [2, true, 5] })
})

test("a notice that arrives twice is new once", () => {
  const snapshots = new Snapshots()
  const news = [snapshots.merge({ notices: [{ id: "n1" }] }), snapshots.merge({ notices: [{ id: "n1" }, { id: "n2" }] })]
  assert.deepEqual(news.map(({ notices }) => notices.map(({ id }) => id)), [["n1"], ["n2"]])
})

test("a message to the server stays within its bound, and names the newest tasks", () => {
  const snapshots = new Snapshots()
  for (let i = 0; i < 400; i++) snapshots.merge({ tasks: [snapshot(1, false, i, `${i}`.padStart(36, "0"))] })
  assert.ok(JSON.stringify(snapshots.have).length < 12_000)
  assert.ok(Object.keys(snapshots.have).includes("399".padStart(36, "0")))
})

test("a page that stays open for days forgets ended tasks first", () => {
  const snapshots = new Snapshots()
  snapshots.merge({ tasks: [snapshot(1, false, 0, "running")] })
  for (let i = 0; i < 2_000; i++) {
    snapshots.merge({ tasks: [snapshot(1, true, 1, `ended ${i}`)], notices: [{ id: `${i}` }] })
  }
  assert.ok(snapshots.tasks.size <= 1_000)
  assert.ok(snapshots.tasks.has("running"))
  assert.ok(snapshots.tasks.has("ended 1999"))
})

test("a snapshot that the server marks as a correction replaces a newer one, which was never true", () => {
  const snapshots = new Snapshots()
  snapshots.merge({ tasks: [snapshot(1e9, true, 0), snapshot(1, false, 4, "b")] })
  const news = snapshots.merge({ tasks: [snapshot(1, false, 5), snapshot(1, false, 3, "b")], corrected: ["a"] })
  assert.deepEqual(news.tasks.map(({ id, attempt, seq }) => [id, attempt, seq]), [["a", 1, 5]])
  assert.deepEqual(snapshots.have, { b: [1, false, 4], a: [1, false, 5] })
})
