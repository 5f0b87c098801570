/** The health of running tasks, with the same cases as the server's tests. */
import assert from "node:assert/strict"
import test from "node:test"

import { health, mayBeLost } from "telltale/health.js"

import { shared } from "./traces.js"

for (const { about, snapshot, now, expected } of shared.healths) {
  test(`the browser and the server agree on the health of a task: ${about}`, () => {
    assert.equal(health({ created_at: 0, ...snapshot }, now, shared.limits), expected)
  })
}

test("a waiting task may be lost once it has been missing for more than a minute", () => {
  const missing = { state: "queued", missing_since: 100 }
  assert.equal(mayBeLost(missing, 160), false)
  assert.equal(mayBeLost(missing, 160.1), true)
  assert.equal(mayBeLost({ ...missing, state: "retrying" }, 161), true)
  assert.equal(mayBeLost({ ...missing, state: "failed" }, 161), false)
  assert.equal(mayBeLost({ ...missing, missing_since: null }, 161), false)
})
