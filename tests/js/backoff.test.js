/** The wait before the next attempt. */
import assert from "node:assert/strict"
import test from "node:test"

import { backoff, spread } from "telltale/live/backoff.js"

test("the wait doubles up to half a minute, and is random between zero and that", () => {
  assert.equal(backoff(0, 0), 0)
  assert.equal(backoff(0, 0.5), 250)
  assert.equal(backoff(3, 0.5), 2_000)
  assert.equal(backoff(50, 0.999) < 30_000, true)
})

test("after a bye the wait is random within the time that the server gives, at most five minutes", () => {
  assert.equal(spread({ within_s: 20 }, 0.5), 10_000)
  assert.equal(spread({ within_s: 5_000 }, 0.5), 150_000)
  assert.equal(spread({}, 0.5), 0)
})
