/** What people read, held to the cases that the server's words are held to as well. */
import assert from "node:assert/strict"
import test from "node:test"

import { Words } from "telltale/task-text.js"

import { shared } from "./traces.js"

const words = new Words(shared.catalogue)

for (const { about, snapshot, progress, health, now, expected } of shared.cases) {
  test(`a task is told in these words: ${about}`, () => {
    const whole = { ...shared.base, created_at: 0, ...snapshot, progress: { step: 0, ...progress } }
    whole.ended = ["succeeded", "failed", "cancelled", "lost"].includes(whole.state)
    const told = words.tell(whole, health, now)
    assert.equal(told.status, expected.status)
    assert.equal(told.quiet, expected.quiet)
    assert.equal(told.figure, expected.figure)
    assert.equal(told.valueText, expected.value_text)
    if (expected.filled === null) assert.equal(told.filled, null)
    else assert.ok(Math.abs(told.filled - expected.filled) < 1e-6)
  })
}

test("numbers and times are written and said so", () => {
  for (const [value, text] of shared.numbers) assert.equal(words.number(value), text)
  for (const [seconds, about, span] of shared.times) {
    assert.equal(words.about(seconds), about)
    assert.equal(words.span(seconds), span)
  }
})

test("a state of a newer server is shown by its word", () => {
  const snapshot = { ...shared.base, state: "paused", ended: false, progress: { step: 0 }, created_at: 0 }
  assert.equal(words.tell(snapshot, null, 5).status, "paused")
})

test("figures and plurals are those of the page's language", () => {
  const forms = { hours: [0, "{n} hodin", "{n} hodina", "{n} hodiny"] }
  const rule = Array.from({ length: 200 }, (_, n) => (n === 1 ? 1 : n > 1 && n < 5 ? 2 : 0)).join("")
  const czech = new Words({ messages: {}, plurals: forms, rules: [rule], group: "\u00a0", decimal: "," })
  assert.equal(czech.number(1234567), "1\u00a0234\u00a0567")
  assert.equal(czech.number(2.5), "2,5")
  assert.deepEqual([1, 3, 5, 205].map(n => czech.plural("hours", n)), ["1 hodina", "3 hodiny", "5 hodin", "205 hodin"])
})
