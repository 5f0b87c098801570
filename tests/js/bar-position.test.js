import assert from "node:assert/strict"
import { test } from "node:test"

import { BarPosition } from "telltale/elements/bar-position.js"

const running = { attempt: 1, state: "running" }

test("a bar never goes back within an attempt, and starts at 0 with the next", () => {
  const bar = new BarPosition()
  assert.equal(bar.next(running, null), null)
  assert.equal(bar.next(running, 0.4), 0.4)
  assert.equal(bar.next(running, 0.3), 0.4)
  assert.equal(bar.next(running, null), 0.4)
  assert.equal(bar.next({ attempt: 2, state: "running" }, 0.1), 0.1)
})

test("a bar is never behind what the server rendered of the attempt, before the first snapshot and after it", () => {
  const bar = new BarPosition()
  bar.rendered(0.5, 1)
  assert.equal(bar.next(running, 0.3), 0.5)
  bar.rendered(0.7, 1)
  assert.equal(bar.next(running, 0.6), 0.7)
})

test("what the server rendered of another attempt counts only if the attempt is a later one", () => {
  const bar = new BarPosition()
  bar.next({ attempt: 2, state: "running" }, 0.2)
  bar.rendered(0.9, 1)
  assert.equal(bar.filled, 0.2)
  bar.rendered(0.1, 3)
  assert.equal(bar.next({ attempt: 3, state: "running" }, 0.05), 0.1)
})

test("markup that does not tell its attempt continues in the first snapshot, unless the task still waits", () => {
  for (const [state, expected] of [["running", 0.5], ["queued", null]]) {
    const bar = new BarPosition()
    bar.rendered(0.5, undefined)
    assert.equal(bar.next({ attempt: 1, state }, null), expected)
  }
})
