/** Texts that wait to be announced. */
import assert from "node:assert/strict"
import test from "node:test"

import { AnnouncementQueue } from "telltale/elements/announcement-queue.js"

const PAUSE = 2_000

/** All texts that are read, by the time, when the queue is asked whenever it says it is ready. */
function readAll(queue, now) {
  const read = []
  while (!queue.isEmpty) {
    now += queue.delay(now)
    read.push([now, queue.take(now)])
  }
  return read
}

test("of texts that come one after the other none replaces another", () => {
  const queue = new AnnouncementQueue(() => PAUSE)
  queue.add("a", "A failed")
  assert.deepEqual(queue.take(0), ["A failed"])
  queue.add("b", "B failed")
  assert.deepEqual(queue.take(40), [], "the first is still being read")
  queue.add("c", "C failed")
  assert.deepEqual(readAll(queue, 40), [[PAUSE, ["B failed", "C failed"]]])
})

test("many texts are read a few at a time, all of them, in order", () => {
  const queue = new AnnouncementQueue(() => PAUSE)
  const texts = Array.from({ length: 23 }, (_, i) => `Task ${i} failed`)
  for (const text of texts) queue.add(text, text)
  const read = readAll(queue, 0)
  assert.deepEqual(read.flatMap(([, together]) => together), texts)
  assert.ok(read.every(([, together]) => together.length <= 5))
  assert.deepEqual(read.map(([at]) => at), [0, PAUSE, 2 * PAUSE, 3 * PAUSE, 4 * PAUSE])
})

test("a later text about the same thing replaces the one that waits", () => {
  const queue = new AnnouncementQueue(() => PAUSE)
  queue.add("a", "Step 1")
  queue.add("b", "Step 7")
  queue.add("a", "Step 2")
  queue.add("c", "Step 9")
  queue.remove("c")
  assert.deepEqual(queue.take(0), ["Step 7", "Step 2"])
})

test("the pause depends on what was read, and nothing to read makes none", () => {
  const queue = new AnnouncementQueue(texts => texts.join("").length * 100)
  assert.deepEqual(queue.take(0), [])
  assert.equal(queue.delay(0), 0)
  queue.add("a", "1234567890")
  queue.take(0)
  assert.equal(queue.delay(300), 700)
})
