/** Modules that are loaded when the page needs them: those of elements, and those of transports. */
import assert from "node:assert/strict"
import test from "node:test"

import { loadOnDemand } from "telltale/elements/on-demand.js"
import { lazyTransport } from "telltale/live/lazy-transport.js"

import { Recorder } from "./recorder.js"
import { Timers, settle } from "./simulated-page.js"

/** A page with elements of some names, and scripts that add more. */
class ChangingPage {
  loads = []
  isObserved = true
  failures = 0
  timers = new Timers(0, 1_000)
  #elements = {}
  #onChange

  constructor(names) {
    for (const name of names) this.#collection(name).length = 1
    const page = this
    loadOnDemand(
      { "task-tray": () => this.#load("task-tray"), "task-toasts": () => this.#load("task-toasts") },
      {
        document: { getElementsByTagName: name => this.#collection(name) },
        setTimeout: this.timers.env.setTimeout,
        MutationObserver: class {
          constructor(callback) {
            page.#onChange = callback
          }
          observe() {}
          disconnect() {
            page.isObserved = false
          }
        },
      },
    )
  }

  #collection(name) {
    return (this.#elements[name] ??= { length: 0 })
  }

  #load(name) {
    this.loads.push(name)
    return this.failures-- > 0 ? Promise.reject(new TypeError("network")) : Promise.resolve()
  }

  add(name) {
    this.#collection(name).length += 1
    this.#onChange()
  }
}

test("the module of an element is loaded if the page has one, once", () => {
  const page = new ChangingPage(["task-tray"])
  assert.deepEqual(page.loads, ["task-tray"])
  page.add("task-tray")
  assert.deepEqual(page.loads, ["task-tray"])
})

test("the module of an element that comes later is loaded then, and the page is observed no longer than needed", () => {
  const page = new ChangingPage([])
  page.add("task-toasts")
  assert.deepEqual(page.loads, ["task-toasts"])
  assert.equal(page.isObserved, true)
  page.add("task-tray")
  assert.deepEqual(page.loads, ["task-toasts", "task-tray"])
  assert.equal(page.isObserved, false)
})

test("a module that could not be loaded is requested again", async () => {
  const page = new ChangingPage([])
  page.failures = 2
  page.add("task-tray")
  await page.timers.pass(60)
  assert.deepEqual(page.loads, ["task-tray", "task-tray", "task-tray"])
})

/** A transport that is loaded when the test says so. */
class Loading {
  opened = []
  recorder = new Recorder()
  #done = []

  constructor() {
    const load = () => new Promise((resolve, reject) => this.#done.push({ resolve, reject }))
    this.transport = lazyTransport(load, { establishMs: 7 })
  }

  get loads() {
    return this.#done.length
  }

  open() {
    return this.transport(this.recorder.options, {})
  }

  async finish() {
    this.#done.at(-1).resolve(options => {
      const opened = { options, isOpen: true }
      this.opened.push(opened)
      return { close: () => (opened.isOpen = false), updateTicket: () => false, pollNow: () => (opened.hasPolled = true) }
    })
    await settle()
  }

  async fail() {
    this.#done.at(-1).reject(new TypeError("network"))
    await settle()
  }
}

test("a transport whose module is loaded late opens then, and passes everything on", async () => {
  const loading = new Loading()
  assert.equal(loading.transport.establishMs, 7)
  const connection = loading.open()
  assert.equal(connection.updateTicket("new", true), true, "it will read the ticket when it opens")
  await loading.finish()
  assert.equal(loading.opened.length, 1)
  assert.equal(connection.updateTicket("new", true), false)
  connection.pollNow()
  assert.equal(loading.opened[0].hasPolled, true)
  connection.close()
  assert.equal(loading.opened[0].isOpen, false)
  loading.open()
  await settle()
  assert.deepEqual([loading.loads, loading.opened.length], [1, 2])
})

test("a connection that is closed before its module has arrived never opens", async () => {
  const loading = new Loading()
  loading.open().close()
  await loading.finish()
  assert.deepEqual([loading.opened.length, loading.recorder.ends], [0, 0])
})

test("a module that does not arrive ends the connection, and the next one requests it again", async () => {
  const loading = new Loading()
  loading.open()
  await loading.fail()
  assert.equal(loading.recorder.ends, 1)
  loading.open()
  await loading.finish()
  assert.deepEqual([loading.loads, loading.opened.length], [2, 1])
})
