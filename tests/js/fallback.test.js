/** The choice of the next transport, and the waits between attempts. */
import assert from "node:assert/strict"
import test from "node:test"

import { Fallback } from "telltale/live/fallback.js"

test("a transport that never worked is left after two quick failures", () => {
  const fallback = new Fallback(3, () => 0.5)
  assert.deepEqual([fallback.attemptFailed(), fallback.current], [250, 0])
  assert.deepEqual([fallback.attemptFailed(), fallback.current], [250, 1])
  fallback.attemptFailed()
  fallback.attemptFailed()
  assert.equal(fallback.current, 2)
})

test("a transport that has worked gets more attempts, with longer and longer waits", () => {
  const fallback = new Fallback(3, () => 0.5)
  fallback.established()
  const waits = [
    fallback.connectionLost(),
    fallback.attemptFailed(),
    fallback.attemptFailed(),
    fallback.attemptFailed(),
  ]
  assert.equal(fallback.current, 0)
  assert.deepEqual(waits, [500, 1000, 2000, 4000])
  fallback.attemptFailed()
  assert.equal(fallback.current, 1)
})

test("when the visitor or the network is back, earlier failures no longer lengthen the wait", () => {
  const fallback = new Fallback(3, () => 0.5)
  fallback.established()
  for (let i = 0; i < 3; i++) fallback.attemptFailed()
  fallback.resetBackoff()
  assert.equal(fallback.connectionLost(), 500)
})

test("after the last transport, the first is next", () => {
  const fallback = new Fallback(2, () => 0.5)
  for (let i = 0; i < 4; i++) fallback.attemptFailed()
  assert.equal(fallback.current, 0)
})

test("a better transport is tried again, less and less often while that fails", () => {
  const fallback = new Fallback(3, () => 0)
  assert.equal(fallback.upgradeAfterMs, null)
  fallback.attemptFailed()
  fallback.attemptFailed()
  assert.equal(fallback.upgradeAfterMs, 30_000)
  fallback.upgradeFailed()
  assert.equal(fallback.upgradeAfterMs, 60_000)
  for (let i = 0; i < 20; i++) fallback.upgradeFailed()
  assert.equal(fallback.upgradeAfterMs, 300_000)
  fallback.upgraded()
  assert.deepEqual([fallback.current, fallback.upgradeAfterMs], [0, null])
})

test("better transports are tried in turn, from the next to the best", () => {
  const fallback = new Fallback(4, () => 0)
  for (let i = 0; i < 6; i++) fallback.attemptFailed()
  assert.equal(fallback.current, 3)
  const targets = []
  for (let i = 0; i < 4; i++) {
    targets.push(fallback.upgradeTarget)
    fallback.upgradeFailed()
  }
  assert.deepEqual(targets, [2, 1, 0, 2])
  fallback.upgraded(1)
  assert.deepEqual([fallback.current, fallback.upgradeTarget], [1, 0])
})

test("without a server that holds connections, the transports that need it are left out", () => {
  const fallback = new Fallback(4, () => 0, { held: [1, 2], canHold: false })
  assert.equal(fallback.current, 0)
  for (let i = 0; i < 2; i++) fallback.attemptFailed()
  assert.deepEqual([fallback.current, fallback.isLast, fallback.upgradeTarget], [3, true, 0])
  const polls = new Fallback(3, () => 0, { held: [0, 1], canHold: false })
  for (let i = 0; i < 9; i++) {
    assert.deepEqual([polls.current, polls.upgradeAfterMs], [2, null])
    polls.attemptFailed()
  }
})

test("once the server is known to hold connections, what was not tried yet is tried at once, best first", () => {
  const fallback = new Fallback(3, () => 0, { held: [0, 1], canHold: false })
  fallback.established()
  assert.deepEqual([fallback.learn(true), fallback.learn(true)], [true, false])
  assert.deepEqual([fallback.upgradeTarget, fallback.upgradeAfterMs], [0, 0])
  fallback.upgradeFailed()
  assert.deepEqual([fallback.upgradeTarget, fallback.upgradeAfterMs], [1, 0])
  fallback.upgradeFailed()
  assert.deepEqual([fallback.upgradeTarget, fallback.upgradeAfterMs], [1, 30_000])
  assert.equal(fallback.learn(false), true)
  assert.equal(fallback.upgradeAfterMs, null)
})
