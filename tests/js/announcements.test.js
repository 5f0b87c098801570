/** Which changes of a task are announced. */
import assert from "node:assert/strict"
import test from "node:test"

import { Announcements } from "telltale/elements/announcements.js"

const snapshot = (state, step = 0, more = {}) => ({
  state,
  attempt: 1,
  ended: ["succeeded", "failed", "lost"].includes(state),
  progress: { step },
  ...more,
})

test("the first snapshot is not announced; each end is, a failure urgently", () => {
  const announcements = new Announcements()
  assert.equal(announcements.next(snapshot("running"), "ok", 0.1, 0), null)
  assert.deepEqual(announcements.next(snapshot("failed"), null, 0.1, 1), { urgent: true, says: "status" })
  assert.equal(announcements.next(snapshot("failed"), null, 0.1, 2), null)
})

test("a first snapshot is announced if it is an end that the page did not show", () => {
  const running = { attempt: 1, ended: false }
  const announced = (rendered, shown) => new Announcements(rendered).next(shown, null, null, 0)
  assert.deepEqual(announced(running, snapshot("succeeded")), { urgent: false, says: "status" })
  assert.deepEqual(announced(running, snapshot("failed")), { urgent: true, says: "status" })
  const ended = { attempt: 1, ended: true }
  assert.equal(announced(ended, snapshot("failed")), null)
  assert.ok(announced(ended, snapshot("failed", 0, { attempt: 2 })))
  assert.equal(announced(running, snapshot("running", 2, { cancel_requested: true })), null)
  assert.equal(announced(null, snapshot("failed")), null)
})

test("the end of an attempt is announced once, also if a retry was shown that the server refused", () => {
  const announcements = new Announcements()
  announcements.next(snapshot("running"), "ok", null, 0)
  assert.ok(announcements.next(snapshot("failed"), null, null, 1))
  assert.equal(announcements.next(snapshot("queued", 0, { attempt: 2 }), null, null, 2), null)
  assert.equal(announcements.next(snapshot("failed"), null, null, 3), null)
  assert.ok(announcements.next(snapshot("failed", 0, { attempt: 2 }), null, null, 4))
})

test("a long task is announced in quarters, at most once a minute", () => {
  const announcements = new Announcements()
  let count = 0
  for (let i = 0; i <= 900; i++) if (announcements.next(snapshot("running"), "ok", i / 1000, i / 10)) count += 1
  assert.equal(count, 2)
})

test("a quarter is announced by its percentage, and a bar without one has no quarters", () => {
  const announcements = new Announcements()
  announcements.next(snapshot("running"), "ok", 0.1, 0)
  assert.deepEqual(announcements.next(snapshot("running"), "ok", 0.52, 1), { urgent: false, says: "percentage" })
  const timed = new Announcements()
  for (let i = 0; i <= 900; i++) assert.equal(timed.next(snapshot("running"), "ok", null, i), null)
})

test("a step, a loss of contact and a cancellation are announced once", () => {
  const announcements = new Announcements()
  announcements.next(snapshot("running", 1), "ok", null, 0)
  assert.ok(announcements.next(snapshot("running", 2), "ok", null, 1))
  assert.equal(announcements.next(snapshot("running", 2), "ok", null, 2), null)
  assert.ok(announcements.next(snapshot("running", 2), "stalled", null, 3))
  assert.equal(announcements.next(snapshot("running", 2), "stalled", null, 4), null)
  assert.ok(announcements.next(snapshot("running", 2, { cancel_requested: true }), "ok", null, 5))
})
