/** Whether a task can be cancelled: the same cases as `tests/core/test_health.py`. */
import assert from "node:assert/strict"
import test from "node:test"

import { canCancel, offersCancel } from "telltale/health.js"

import { cancelCases } from "./traces.js"

for (const { about, snapshot, offers_cancel, can_cancel } of cancelCases) {
  test(`the page and the server agree whether to offer and accept a cancellation of ${about}`, () => {
    assert.equal(offersCancel(snapshot), offers_cancel)
    assert.equal(canCancel(snapshot), can_cancel)
  })
}
