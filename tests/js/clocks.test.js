/** Health, the server's clock, waiting, and what is said aloud when. */
import assert from "node:assert/strict"
import test from "node:test"

import { backoff } from "telltale/live/backoff.js"
import { Clock } from "telltale/live/clock.js"
import { health } from "telltale/health.js"
import { Ladder } from "telltale/live/fallback.js"
import { Spoken } from "telltale/elements/announcements.js"

import { shared } from "./traces.js"

for (const { about, snapshot, now, expected } of shared.healths) {
  test(`a task is seen to be so well here and on the server: ${about}`, () => {
    assert.equal(health({ created_at: 0, ...snapshot }, now, shared.limits), expected)
  })
}

test("the server's clock is told by the message that came quickest", () => {
  let local = 1000
  const clock = new Clock(() => local)
  clock.hear(5000)
  local += 10
  clock.hear(5009.5) // half a second late
  assert.equal(clock.now, 5010)
  local += 1
  clock.hear(5011.2) // the first was late too
  assert.ok(Math.abs(clock.now - 5011.2) < 1e-9)
})

test("a visitor's clock that is put right in the middle is followed", () => {
  let local = 1000
  const clock = new Clock(() => local)
  clock.hear(5000)
  local += 3600
  clock.hear(5001)
  assert.equal(clock.now, 5001)
  clock.hear(Number.NaN)
  assert.equal(clock.now, 5001)
})

test("waiting doubles up to half a minute, and chance spreads it over the whole of it", () => {
  assert.equal(backoff(0, 0), 0)
  assert.equal(backoff(0, 0.5), 250)
  assert.equal(backoff(3, 0.5), 2_000)
  assert.equal(backoff(50, 0.999) < 30_000, true)
})

test("a rung that never worked is left after two failures, quickly", () => {
  const ladder = new Ladder(3, () => 0.5)
  assert.deepEqual([ladder.failed(), ladder.rung], [250, 0])
  assert.deepEqual([ladder.failed(), ladder.rung], [250, 1])
  ladder.failed()
  ladder.failed()
  assert.equal(ladder.rung, 2)
})

test("a rung that has worked is given more patience, and longer and longer waits", () => {
  const ladder = new Ladder(3, () => 0.5)
  ladder.proved()
  const waits = [ladder.ended(), ladder.failed(), ladder.failed(), ladder.failed()]
  assert.equal(ladder.rung, 0)
  assert.deepEqual(waits, [500, 1000, 2000, 4000])
  ladder.failed()
  assert.equal(ladder.rung, 1)
})

test("below the last rung it starts over at the first", () => {
  const ladder = new Ladder(2, () => 0.5)
  for (let i = 0; i < 4; i++) ladder.failed()
  assert.equal(ladder.rung, 0)
})

test("it climbs back one rung at a time, less and less eagerly while that fails", () => {
  const ladder = new Ladder(3, () => 0)
  assert.equal(ladder.climbAfter, null)
  ladder.failed()
  ladder.failed()
  assert.equal(ladder.climbAfter, 30_000)
  ladder.slipped()
  assert.equal(ladder.climbAfter, 60_000)
  for (let i = 0; i < 20; i++) ladder.slipped()
  assert.equal(ladder.climbAfter, 300_000)
  ladder.climbed()
  assert.deepEqual([ladder.rung, ladder.climbAfter], [0, null])
})

const at = (state, step = 0, more = {}) =>
  ({ state, attempt: 1, ended: ["succeeded", "failed", "lost"].includes(state), progress: { step }, ...more })

test("the first sight is read, not said; each end is said, trouble urgently", () => {
  const spoken = new Spoken()
  assert.equal(spoken.next(at("running"), "ok", 0.1, 0), null)
  assert.deepEqual(spoken.next(at("failed"), null, 0.1, 1), { urgent: true })
  assert.equal(spoken.next(at("failed"), null, 0.1, 2), null)
})

test("a long task is said in quarters, at most once a minute", () => {
  const spoken = new Spoken()
  let count = 0
  for (let i = 0; i <= 900; i++) if (spoken.next(at("running"), "ok", i / 1000, i / 10)) count += 1
  assert.equal(count, 2)
})

test("a step, a loss of contact and a cancellation are said once", () => {
  const spoken = new Spoken()
  spoken.next(at("running", 1), "ok", null, 0)
  assert.ok(spoken.next(at("running", 2), "ok", null, 1))
  assert.equal(spoken.next(at("running", 2), "ok", null, 2), null)
  assert.ok(spoken.next(at("running", 2), "stalled", null, 3))
  assert.equal(spoken.next(at("running", 2), "stalled", null, 4), null)
  assert.ok(spoken.next(at("running", 2, { cancel_requested: true }), "ok", null, 5))
})
