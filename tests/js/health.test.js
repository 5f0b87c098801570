/** The health of running tasks, with the same cases as the server's tests. */
import assert from "node:assert/strict"
import test from "node:test"

import { health } from "telltale/health.js"

import { shared } from "./traces.js"

for (const { about, snapshot, now, expected } of shared.healths) {
  test(`the browser and the server agree on the health of a task: ${about}`, () => {
    assert.equal(health({ created_at: 0, ...snapshot }, now, shared.limits), expected)
  })
}
