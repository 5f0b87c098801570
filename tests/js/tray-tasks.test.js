/** What the tray lists, and what "Clear finished" clears. */
import assert from "node:assert/strict"
import test from "node:test"

import { STORAGE_KEY, TrayTasks } from "telltale/elements/tray-tasks.js"

class MemoryStorage {
  values = new Map()
  getItem = key => this.values.get(key) ?? null
  setItem = (key, value) => this.values.set(key, value)
}

const task = (id, endedAt = null, more = {}) =>
  ({ id, attempt: 1, ended: endedAt !== null, created_at: 1, ended_at: endedAt, ...more })
const ids = tasks => tasks.map(({ id }) => id)
const many = (count, make) => Array.from({ length: count }, (_, i) => make(i))

test("open tasks come first, the newest first, then those that ended last", () => {
  const tasks = [
    task("ended long ago", 5, { created_at: 4 }),
    task("old", null, { created_at: 1 }),
    task("ended now", 9, { created_at: 2 }),
    task("new", null, { created_at: 3 }),
  ]
  assert.deepEqual(ids(new TrayTasks(() => new MemoryStorage()).list(tasks)), ["new", "old", "ended now", "ended long ago"])
})

test("of 30 ended tasks, clearing the 20 that were shown leaves the 10 that were not", () => {
  const tray = new TrayTasks(() => new MemoryStorage())
  const tasks = many(30, i => task(`t${i}`, 100 - i))
  tray.clear(tray.list(tasks).slice(0, 20))
  assert.deepEqual(ids(tray.list(tasks)), many(10, i => `t${20 + i}`))
})

test("clearing keeps what runs, and a later attempt of what was cleared is listed again", () => {
  const tray = new TrayTasks(() => new MemoryStorage())
  const shown = [task("runs"), task("failed", 5)]
  tray.clear(shown)
  assert.deepEqual(ids(tray.list(shown)), ["runs"])
  assert.deepEqual(ids(tray.list([task("failed", null, { attempt: 2 })])), ["failed"])
  assert.deepEqual(ids(tray.list([task("failed", 7, { attempt: 2 })])), ["failed"])
})

test("what two tabs clear stays cleared, on the next page and in both", () => {
  const storage = new MemoryStorage()
  const [first, second] = [new TrayTasks(() => storage), new TrayTasks(() => storage)]
  const tasks = [task("a", 1), task("b", 2), task("c", 3)]
  first.clear([tasks[0]])
  second.clear([tasks[1]])
  first.load()
  for (const tray of [first, second, new TrayTasks(() => storage)]) assert.deepEqual(ids(tray.list(tasks)), ["c"])
})

test("what is stored stays small", () => {
  const storage = new MemoryStorage()
  for (let round = 0; round < 10; round++) new TrayTasks(() => storage).clear(many(100, i => task(`${round} ${i}`, 1)))
  assert.equal(JSON.parse(storage.getItem(STORAGE_KEY)).length, 200)
})

for (const stored of ["{", "7", "null", '{"a": 1}', "[[1], null]"]) {
  test(`the list stands whatever is stored: ${stored}`, () => {
    const storage = new MemoryStorage()
    storage.setItem(STORAGE_KEY, stored)
    assert.deepEqual(ids(new TrayTasks(() => storage).list([task("a", 1)])), ["a"])
  })
}

test("a browser that refuses its storage clears for this page only", () => {
  const refuse = () => {
    throw new Error("SecurityError")
  }
  const tray = new TrayTasks(refuse)
  tray.clear([task("a", 1)])
  assert.deepEqual(tray.list([task("a", 1)]), [])
})
