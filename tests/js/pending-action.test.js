/** How a task is shown while the server is asked to stop it or to run it again. */
import assert from "node:assert/strict"
import test from "node:test"

import { PendingAction } from "telltale/elements/pending-action.js"
import { canCancel, mayBeLost } from "telltale/health.js"
import { Texts } from "telltale/task-text.js"

import { shared } from "./traces.js"

const texts = new Texts(shared.catalogue)
const snapshot = more => ({ ...shared.base, created_at: 0, attempt: 1, seq: 1, progress: { step: 0 }, ...more })

for (const [about, more] of [
  ["may be lost", { state: "queued", ended: false, missing_since: 10 }],
  ["may be lost, and waits for its next attempt", { state: "retrying", ended: false, missing_since: 10, due_at: 9_999 }],
  ["was cancelled before it was due", { state: "cancelled", ended: true, due_at: 9_999 }],
  ["failed while it could not be stopped", { state: "failed", ended: true, no_cancel: "it saves" }],
  ["failed at the second place of a queue without a worker", { state: "failed", ended: true, ahead: 2, is_listening: false }],
]) {
  test(`a click on "Try again" is visible at once: the task ${about}`, () => {
    const task = snapshot(more)
    const shown = new PendingAction("retry", task).applyTo(task)
    const { status, detail } = texts.describe(shown, null, 1_000)
    assert.deepEqual([status, detail], [texts.message("waiting"), ""])
    assert.deepEqual([mayBeLost(shown, 1_000), canCancel(shown)], [false, true])
  })
}
