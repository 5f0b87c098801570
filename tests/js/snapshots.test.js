/** The fold, held to the traces that the Python side recorded. */
import assert from "node:assert/strict"
import test from "node:test"

import { Newest, supersedes } from "telltale/live/snapshots.js"

import { traces } from "./traces.js"

test("there are traces to replay", () => assert.ok(traces.length >= 10))

for (const trace of traces) {
  test(`${trace.name}: ${trace.about}`, () => {
    const newest = new Newest()
    const notices = []
    const events = []
    const ignored = trace.frames.map(frame => {
      const news = newest.fold(frame)
      notices.push(...news.notices.map(notice => notice.id))
      events.push(...news.events)
      return news.ignored
    })
    assert.deepEqual(Object.fromEntries(newest.tasks), trace.expected.tasks)
    assert.deepEqual(notices, trace.expected.notices)
    assert.deepEqual(events, trace.expected.events)
    assert.deepEqual(ignored, trace.ignored)
  })

  test(`${trace.name}: hearing it twice changes nothing but events`, () => {
    const newest = new Newest()
    for (const frame of [...trace.frames, ...trace.frames]) newest.fold(frame)
    assert.deepEqual(Object.fromEntries(newest.tasks), trace.expected.tasks)
    assert.deepEqual(newest.seen, trace.expected.notices)
  })
}

const snapshot = (attempt, ended, seq, id = "a") => ({ id, attempt, ended, seq })

test("an end outranks what its attempt reported later; a later attempt outranks all", () => {
  assert.ok(supersedes(snapshot(1, true, 3), snapshot(1, false, 9)))
  assert.ok(supersedes(snapshot(2, false, 0), snapshot(1, true, 9)))
  assert.ok(!supersedes(snapshot(1, false, 9), snapshot(1, true, 3)))
  assert.ok(!supersedes(snapshot(1, false, 2), snapshot(1, false, 2)))
  assert.ok(supersedes(snapshot(1, false, 0), undefined))
})

test("what it has is told in the order that a server compares", () => {
  const newest = new Newest()
  newest.fold({ tasks: [snapshot(2, true, 5)] })
  assert.deepEqual(newest.have, { a: [2, true, 5] })
})

test("a message to the server stays within its bound, and keeps the newest", () => {
  const newest = new Newest()
  for (let i = 0; i < 400; i++) newest.fold({ tasks: [snapshot(1, false, i, `${String(i).padStart(36, "0")}`)] })
  assert.ok(JSON.stringify(newest.have).length < 12_000)
  assert.ok(Object.keys(newest.have).includes("399".padStart(36, "0")))
})

test("a page that stays open for days forgets ended tasks first", () => {
  const newest = new Newest()
  newest.fold({ tasks: [snapshot(1, false, 0, "running")] })
  for (let i = 0; i < 2_000; i++) newest.fold({ tasks: [snapshot(1, true, 1, `ended ${i}`)], notices: [{ id: `${i}` }] })
  assert.ok(newest.tasks.size <= 1_000)
  assert.ok(newest.tasks.has("running"))
  assert.ok(newest.tasks.has("ended 1999"))
})
