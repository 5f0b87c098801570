/** Notices that wait: taken only when there is room to show them, in order, by one page of all. */
import assert from "node:assert/strict"
import test from "node:test"

import { NoticeQueue } from "telltale/elements/notice-queue.js"

import { settle } from "./stage.js"

/** As the server decides it: the first that asks may show the notice. */
class Server {
  shown = new Set()
  takes = []
  isWell = true

  async take(id) {
    this.takes.push(id)
    if (!this.isWell) throw new Error("Undecided: 503.")
    const isGranted = !this.shown.has(id)
    this.shown.add(id)
    return isGranted
  }
}

/** A page with room for three, whose time passes when told. */
class Tab {
  now = 0
  isVisible = true
  said = new Set()
  toasts = []
  /** Every notice that was ever shown here. */
  told = []
  #timers = new Map()
  #next = 1

  constructor(server = new Server()) {
    this.server = server
    this.queue = new NoticeQueue(
      {
        isReady: () => this.isVisible,
        hasRoom: () => this.toasts.length < 3,
        isSaid: ({ id }) => this.said.has(id),
        painted: async () => {},
        take: id => server.take(id),
        show: ({ id }) => (this.toasts.push(id), this.told.push(id)),
        changed: () => {},
      },
      {
        setTimeout: (then, ms) => (this.#timers.set(this.#next, { at: this.now + ms, then }), this.#next++),
        clearTimeout: timer => this.#timers.delete(timer),
        random: () => 0.5,
      },
    )
  }

  async hears(...ids) {
    for (const id of ids) this.queue.hear({ id })
    await settle()
  }

  async dismisses(id) {
    this.toasts = this.toasts.filter(toast => toast !== id)
    this.queue.go()
    await settle()
  }

  async passes(ms) {
    const until = this.now + ms
    for (;;) {
      await settle()
      const due = [...this.#timers].filter(([, { at }]) => at <= until).sort((a, b) => a[1].at - b[1].at)[0]
      if (!due) break
      this.#timers.delete(due[0])
      this.now = due[1].at
      due[1].then()
    }
    this.now = until
  }
}

const numbered = count => Array.from({ length: count }, (_, i) => `n${i + 1}`)

test("of five notices three are shown, and no more than these are taken", async () => {
  const tab = new Tab()
  await tab.hears(...numbered(5))
  assert.deepEqual(tab.toasts, ["n1", "n2", "n3"])
  assert.deepEqual(tab.server.takes, ["n1", "n2", "n3"])
  assert.equal(tab.queue.length, 2)
})

test("when a toast leaves, the next in order of arrival comes", async () => {
  const tab = new Tab()
  await tab.hears(...numbered(5))
  await tab.dismisses("n2")
  assert.deepEqual(tab.toasts, ["n1", "n3", "n4"])
  await tab.dismisses("n1")
  assert.deepEqual(tab.toasts, ["n3", "n4", "n5"])
  assert.deepEqual([tab.server.takes, tab.queue.length], [numbered(5), 0])
})

test("what a page could not show comes on the next", async () => {
  const tab = new Tab()
  await tab.hears(...numbered(5))
  tab.queue.end()
  const next = new Tab(tab.server)
  await next.hears("n4", "n5")
  assert.deepEqual(next.toasts, ["n4", "n5"])
})

test("a page that has ended takes nothing more", async () => {
  const tab = new Tab()
  tab.queue.end()
  await tab.hears("n1")
  assert.deepEqual(tab.server.takes, [])
})

test("of two pages that hear the same notices each is shown by one", async () => {
  const server = new Server()
  const tabs = [new Tab(server), new Tab(server)]
  await Promise.all(tabs.map(tab => tab.hears(...numbered(10))))
  for (let i = 0; i < 30; i++) {
    for (const tab of tabs) {
      await tab.dismisses(tab.toasts[0])
      await tab.passes(300)
    }
  }
  assert.deepEqual(tabs.flatMap(tab => tab.told).sort(), numbered(10).sort())
})

test("a notice that arrives again while it waits keeps its place and is taken once", async () => {
  const tab = new Tab()
  await tab.hears(...numbered(5), "n4", "n1")
  await tab.dismisses("n1")
  await tab.dismisses("n2")
  await tab.passes(1_000)
  assert.deepEqual(tab.told, numbered(5))
  await tab.dismisses("n3")
  await tab.passes(1_000)
  assert.deepEqual(tab.told, numbered(5))
})

test("a hundred notices that wait cost no request until there is room", async () => {
  const tab = new Tab()
  await tab.hears(...numbered(100))
  for (let i = 0; i < 600; i++) {
    tab.queue.go()
    await tab.passes(1_000)
  }
  assert.equal(tab.server.takes.length, 3)
})

test("a hundred notices cost few requests while the server is not well, and all come in order when it is", async () => {
  const tab = new Tab()
  tab.server.isWell = false
  await tab.hears(...numbered(50))
  await tab.hears(...numbered(100))
  await tab.passes(60_000)
  assert.ok(tab.server.takes.length <= 12, `${tab.server.takes.length} requests`)
  assert.deepEqual([...new Set(tab.server.takes)], ["n1"])
  tab.server.isWell = true
  await tab.passes(60_000)
  assert.deepEqual(tab.toasts, ["n1", "n2", "n3"])
})

test("once the server is reached again, no time is lost", async () => {
  const tab = new Tab()
  tab.server.isWell = false
  await tab.hears("n1")
  await tab.passes(60_000)
  tab.server.isWell = true
  tab.queue.wake()
  await settle()
  assert.deepEqual(tab.toasts, ["n1"])
})

test("a hundred notices that another page has shown are given up at a steady pace", async () => {
  const tab = new Tab()
  for (const id of numbered(100)) tab.server.shown.add(id)
  await tab.hears(...numbered(100), "fresh")
  await tab.passes(1_000)
  assert.ok(tab.server.takes.length <= 6, `${tab.server.takes.length} requests in a second`)
  await tab.passes(30_000)
  assert.deepEqual([tab.toasts, tab.queue.length], [["fresh"], 0])
  assert.equal(tab.server.takes.length, 101)
})

test("a page that can't be seen takes nothing, and begins when it can", async () => {
  const tab = new Tab()
  tab.isVisible = false
  await tab.hears("n1")
  await tab.passes(60_000)
  assert.deepEqual(tab.server.takes, [])
  tab.isVisible = true
  tab.queue.wake()
  await settle()
  assert.deepEqual(tab.toasts, ["n1"])
})

test("what the page tells elsewhere needs no room, and is not told by a toast later", async () => {
  const tab = new Tab()
  await tab.hears(...numbered(4))
  tab.said.add("n5")
  await tab.hears("n5")
  assert.deepEqual([tab.toasts, tab.server.takes], [["n1", "n2", "n3"], ["n1", "n2", "n3", "n5"]])
  await tab.dismisses("n1")
  assert.deepEqual(tab.toasts, ["n2", "n3", "n4"])
})
