/** The estimate of the server's clock. */
import assert from "node:assert/strict"
import { readFileSync, readdirSync } from "node:fs"
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

test("a server's clock that was put forward or back is followed at once", () => {
  let localNow = 1000
  const clock = new Clock(() => localNow)
  clock.update(5000)
  for (const byS of [3600, -30, -3600]) {
    const serverNow = clock.now + byS + 1
    localNow += 1
    clock.update(serverNow)
    assert.equal(clock.now, serverNow)
  }
})

test("after a message that was very late, the next one corrects the clock", () => {
  let localNow = 1000
  const clock = new Clock(() => localNow)
  clock.update(5000)
  localNow += 20
  clock.update(5005) // 15 s late
  localNow += 1
  clock.update(5021)
  assert.equal(clock.now, 5021)
})

test("the clock of the machine, which its visitor may set, is read only where a sleep or a day must be noticed", () => {
  const folder = new URL("../../src/telltale/static/telltale/", import.meta.url)
  const modules = readdirSync(folder, { recursive: true }).filter(name => name.endsWith(".js"))
  const readers = modules.filter(name => /\bDate\.now\b|new Date\(\)/.test(readFileSync(new URL(name, folder), "utf-8")))
  // The public `wallNow` of the connection; the age of a receipt; whether a page slept while it held a notice;
  // the day since a push subscription was renewed; whether a time was today; how far off the self-test finds it.
  assert.deepEqual(readers.sort(), [
    ...["elements/notice-server.js", "elements/task-timeline.js", "index.js"],
    ...["notifications/page-notifications.js", "self-test.js"],
  ])
})

test("anything but a finite number is ignored", () => {
  const clock = new Clock(() => 1000)
  clock.update(5000)
  for (const value of [Number.NaN, Infinity, undefined, "6000"]) clock.update(value)
  assert.equal(clock.now, 5000)
})
