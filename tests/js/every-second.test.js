/** The clock of all elements: they are shown together, in one frame. */
import assert from "node:assert/strict"
import { afterEach, beforeEach, mock, test } from "node:test"

import { everySecond } from "telltale/elements/every-second.js"

const errors = []
globalThis.reportError = error => errors.push(error)

beforeEach(() => mock.timers.enable({ apis: ["setInterval"] }))
afterEach(() => mock.timers.reset())

test("all elements are called together, each until it leaves the page", t => {
  const started = t.mock.method(globalThis, "setInterval")
  const calls = []
  const [first, second] = [new AbortController(), new AbortController()]
  everySecond(() => calls.push("first"), first.signal)
  mock.timers.tick(700)
  everySecond(() => calls.push("second"), second.signal)
  mock.timers.tick(300)
  assert.deepEqual(calls, ["first", "second"])
  first.abort()
  mock.timers.tick(1_000)
  assert.deepEqual(calls, ["first", "second", "second"])
  second.abort()
  mock.timers.tick(5_000)
  assert.equal(calls.length, 3)
  assert.equal(started.mock.callCount(), 1)
})

test("the clock starts again for a later element, and not for one that has left already", () => {
  const calls = []
  everySecond(() => calls.push("left"), AbortSignal.abort())
  const controller = new AbortController()
  everySecond(() => calls.push("later"), controller.signal)
  mock.timers.tick(2_000)
  controller.abort()
  assert.deepEqual(calls, ["later", "later"])
})

test("an element that fails stops no other", () => {
  const controller = new AbortController()
  const calls = []
  everySecond(() => assert.fail("broken"), controller.signal)
  everySecond(() => calls.push("whole"), controller.signal)
  mock.timers.tick(1_000)
  controller.abort()
  assert.deepEqual([calls, errors.map(({ message }) => message)], [["whole"], ["broken"]])
})
