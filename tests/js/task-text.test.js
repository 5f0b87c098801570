/** The browser's text of a task, checked against the same cases as the server's. */
import assert from "node:assert/strict"
import test from "node:test"

import { Texts } from "telltale/task-text.js"

import { shared } from "./traces.js"

const texts = new Texts(shared.catalogue)

for (const { about, snapshot, progress, health, now, expected } of shared.cases) {
  test(`the text of a task: ${about}`, () => {
    const full = { ...shared.base, created_at: 0, ...snapshot, progress: { step: 0, ...progress } }
    full.ended = ["succeeded", "failed", "cancelled", "lost"].includes(full.state)
    const text = texts.describe(full, health, now)
    assert.equal(text.status, expected.status)
    assert.equal(text.detail, expected.detail)
    assert.equal(text.figure, expected.figure)
    assert.equal(text.valueText, expected.value_text)
    assert.deepEqual(text.borders, expected.borders ?? [])
    assert.equal(text.keepsRunning, expected.keeps_running)
    if (expected.filled === null) assert.equal(text.filled, null)
    else assert.ok(Math.abs(text.filled - expected.filled) < 1e-6)
  })
}

test("percentages are written as browsers write them in each language", () => {
  // Versions of browsers differ in the kind of space.
  const plain = text => text.replace(/\p{Z}/gu, " ")
  for (const [language, text] of shared.percentages) {
    assert.equal(plain(new Intl.NumberFormat(language, { style: "percent" }).format(0.44)), plain(text), language)
  }
  assert.equal(texts.percentage(0.449), "44%")
  assert.equal(new Texts({ ...shared.catalogue, percent: "{n} %" }).percentage(1), "100 %")
})

test("a blank label is replaced by the task's name", () => {
  for (const [label, name, shown] of shared.labels) assert.equal(texts.label({ label, name }), shown)
})

test("numbers and durations are formatted", () => {
  for (const [value, text] of shared.numbers) assert.equal(texts.number(value), text)
  for (const [seconds, rough, exact] of shared.times) {
    assert.equal(texts.roughDuration(seconds), rough)
    assert.equal(texts.duration(seconds), exact)
  }
})

test("a duration that may err is a range", () => {
  for (const [seconds, spread, text] of shared.ranges) assert.equal(texts.durationRange(seconds, spread), text)
})

test("the texts that change most often can be held back", () => {
  const progress = { step: 0, current: 7, total: 10, unit: "rows" }
  const snapshot = { ...shared.base, state: "running", ended: false, progress, created_at: 0, remaining_s: 20 }
  const text = texts.describe(snapshot, "ok", 5, { count: "6 of 10 rows", timeLeft: "about 25 seconds left" })
  assert.equal(text.detail, "6 of 10 rows · about 25 seconds left")
  assert.equal(text.valueText, "7 of 10 rows")
})

test("an unknown state of a newer server is shown by its name", () => {
  const snapshot = { ...shared.base, state: "paused", ended: false, progress: { step: 0 }, created_at: 0 }
  assert.equal(texts.describe(snapshot, null, 5).status, "paused")
})

test("numbers and plurals follow the page's language", () => {
  const forms = { hours: [0, "{n} hodin", "{n} hodina", "{n} hodiny"] }
  const rule = Array.from({ length: 200 }, (_, n) => (n === 1 ? 1 : n > 1 && n < 5 ? 2 : 0)).join("")
  const czech = new Texts({ messages: {}, plurals: forms, rules: [rule], group: "\u00a0", decimal: "," })
  assert.equal(czech.number(1234567), "1\u00a0234\u00a0567")
  assert.equal(czech.number(2.5), "2,5")
  assert.deepEqual([1, 3, 5, 205].map(n => czech.plural("hours", n)), ["1 hodina", "3 hodiny", "5 hodin", "205 hodin"])
})
