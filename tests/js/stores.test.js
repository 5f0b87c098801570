/** The stores for frameworks, over a connection that the test plays. */
import assert from "node:assert/strict"
import test from "node:test"

import { connectionStore, taskStore, tasksStore } from "telltale/stores"

/** What the stores follow: each entry has the listener and the signal. */
let followed = []
const follow = (kind, ...details) => {
  const { signal } = details.at(-1)
  followed.push({ kind, signal, details, tell: details.at(-2) })
}
const live = {
  state: "connecting",
  snapshots: new Map(),
  task(id, listener, options) {
    follow("task", id, listener, options)
    const known = this.snapshots.get(id)
    if (known) listener(known)
  },
  tasks(listener, options) {
    follow("tasks", listener, options)
    for (const _ of this.snapshots) listener()
  },
  states: (listener, options) => follow("states", listener, options),
}
globalThis[Symbol.for("telltale.live")] = live

const settle = () => new Promise(resolve => setImmediate(resolve))

test.beforeEach(() => {
  followed = []
  live.snapshots = new Map()
})

test("a store follows with its first subscriber, and gives up with the last", () => {
  const store = taskStore("a", { mine: true })
  assert.equal(followed.length, 0)
  const ends = [store.subscribe(() => {}), store.subscribe(() => {})]
  assert.equal(followed.length, 1)
  assert.deepEqual([followed[0].details[0], followed[0].details.at(-1).mine], ["a", true])
  ends[0]()
  ends[0]()
  assert.equal(followed[0].signal.aborted, false)
  ends[1]()
  assert.equal(followed[0].signal.aborted, true)
  store.subscribe(() => {})
  assert.equal(followed.length, 2)
})

test("a subscriber gets the value at once, then each newer one, until it ends", () => {
  const store = taskStore("a")
  const values = []
  const end = store.subscribe(value => values.push(value))
  const [first, second] = [{ seq: 1 }, { seq: 2 }]
  followed[0].tell(first)
  followed[0].tell(first)
  assert.equal(store.get(), first)
  followed[0].tell(second)
  end()
  followed[0].tell({ seq: 3 })
  assert.deepEqual(values, [null, first, second])
})

test("one function may subscribe twice", () => {
  const store = taskStore("a")
  let calls = 0
  const listener = () => (calls += 1)
  const end = store.subscribe(listener)
  store.subscribe(listener)
  followed[0].tell({ seq: 1 })
  assert.equal(calls, 4)
  end()
  followed[0].tell({ seq: 2 })
  assert.equal(calls, 5)
})

test("without an id nothing is followed", () => {
  for (const id of [null, undefined, ""]) taskStore(id).subscribe(value => assert.equal(value, null))
  assert.equal(followed.length, 0)
})

test("all tasks come as one list for many snapshots, and a list stays as it is until something changes", async () => {
  live.snapshots = new Map([["a", { id: "a" }], ["b", { id: "b" }]])
  const store = tasksStore()
  const lists = []
  store.subscribe(list => lists.push(list))
  await settle()
  assert.deepEqual(lists, [[], [{ id: "a" }, { id: "b" }]])
  assert.equal(store.get(), store.get())
  live.snapshots.delete("a")
  followed[0].tell()
  followed[0].tell()
  await settle()
  assert.deepEqual(lists.slice(2), [[{ id: "b" }]])
})

test("the connection's state is known at once", () => {
  const states = []
  connectionStore().subscribe(state => states.push(state))
  followed[0].tell("live")
  assert.deepEqual(states, ["connecting", "live"])
})
