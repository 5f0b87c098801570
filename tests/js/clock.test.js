/** The estimate of the server's clock. */
import assert from "node:assert/strict"
import test from "node:test"

import { Clock } from "telltale/live/clock.js"

test("the message with the least delay sets the clock", () => {
  let localNow = 1000
  const clock = new Clock(() => localNow)
  clock.update(5000)
  localNow += 10
  clock.update(5009.5) // half a second late
  assert.equal(clock.now, 5010)
  localNow += 1
  clock.update(5011.2) // the first was late, too
  assert.ok(Math.abs(clock.now - 5011.2) < 1e-9)
})

test("a correction of the visitor's clock is followed at once", () => {
  let localNow = 1000
  const clock = new Clock(() => localNow)
  clock.update(5000)
  localNow += 3600
  clock.update(5001)
  assert.equal(clock.now, 5001)
})

test("anything but a finite number is ignored", () => {
  const clock = new Clock(() => 1000)
  clock.update(5000)
  for (const value of [Number.NaN, Infinity, undefined, "6000"]) clock.update(value)
  assert.equal(clock.now, 5000)
})
