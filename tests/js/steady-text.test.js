/** Texts that change at most once in a while, and the words of the time left over whole runs. */
import assert from "node:assert/strict"
import test from "node:test"

import { SteadyText } from "telltale/elements/steady-text.js"

test("a text that changes too early is held back until it has stayed for the period", () => {
  const steady = new SteadyText(5)
  assert.equal(steady.next("2 minutes", 0), "2 minutes")
  assert.equal(steady.next("3 minutes", 4.9), "2 minutes")
  assert.equal(steady.next("4 minutes", 5), "4 minutes")
  assert.equal(steady.next("3 minutes", 9), "4 minutes")
  assert.equal(steady.next("3 minutes", 10), "3 minutes")
})

test("the first text is shown at once, also after none", () => {
  const steady = new SteadyText(5)
  assert.equal(steady.next("", 0), "")
  assert.equal(steady.next("1 of 9", 0.1), "1 of 9")
  assert.equal(steady.next("", 6), "")
  assert.equal(steady.next("2 of 9", 6.1), "2 of 9")
})

test("a text that goes does not blink", () => {
  const steady = new SteadyText(5)
  steady.next("2 minutes", 0)
  assert.equal(steady.next("", 1), "2 minutes")
  assert.equal(steady.next("2 minutes", 2), "2 minutes")
})

test("whatever comes, changes are a period apart, and nothing old is shown for longer than that", () => {
  const steady = new SteadyText(5)
  let [shown, changedAt] = ["", -Infinity]
  for (let tick = 0; tick < 2_000; tick += 1) {
    const now = tick / 10
    const newest = String(Math.floor(Math.abs(Math.sin(tick * 12.9898) * 43758.5453)) % 7)
    const text = steady.next(newest, now)
    if (text === shown) {
      assert.ok(text === newest || now - changedAt < 5, `${now} s`)
      continue
    }
    assert.ok(now - changedAt >= 5, `${now} s`)
    assert.equal(text, newest)
    shown = text
    changedAt = now
  }
})
