/** Notices that wait: taken only when there is room, in order, and each shown on one page. */
import assert from "node:assert/strict"
import test from "node:test"

import { NoticeQueue } from "telltale/elements/notice-queue.js"

import { Timers, settle } from "./simulated-page.js"

/** Decides as the real server does: the first page that takes a notice may show it. */
class Server {
  taken = new Set()
  /** The id of each request. */
  requests = []
  isDown = false

  async take(id) {
    this.requests.push(id)
    if (this.isDown) throw new Error("Undecided: 503.")
    const isGranted = !this.taken.has(id)
    this.taken.add(id)
    return isGranted
  }
}

/** A page with room for three toasts, in simulated time. */
class Tab {
  isVisible = true
  /** Ids of the notices whose content the page shows already. */
  shownElsewhere = new Set()
  toasts = []
  /** Every notice that was ever shown here. */
  everShown = []
  #timers = new Timers(0, 1)

  constructor(server = new Server()) {
    this.server = server
    const display = {
      isReady: () => this.isVisible,
      hasRoom: () => this.toasts.length < 3,
      isShownElsewhere: ({ id }) => this.shownElsewhere.has(id),
      nextPaint: async () => {},
      take: id => server.take(id),
      show: ({ id }) => {
        this.toasts.push(id)
        this.everShown.push(id)
      },
      onChange: () => {},
    }
    this.queue = new NoticeQueue(display, this.#timers.env)
  }

  async receive(...ids) {
    for (const id of ids) this.queue.add({ id })
    await settle()
  }

  async dismiss(id) {
    this.toasts = this.toasts.filter(toast => toast !== id)
    this.queue.showNext()
    await settle()
  }

  pass(ms) {
    return this.#timers.pass(ms)
  }
}

const numbered = count => Array.from({ length: count }, (_, i) => `n${i + 1}`)

test("of five notices three are shown, and only these are taken", async () => {
  const tab = new Tab()
  await tab.receive(...numbered(5))
  assert.deepEqual(tab.toasts, ["n1", "n2", "n3"])
  assert.deepEqual(tab.server.requests, ["n1", "n2", "n3"])
  assert.equal(tab.queue.length, 2)
})

test("when a toast leaves, the next notice in order of arrival is shown", async () => {
  const tab = new Tab()
  await tab.receive(...numbered(5))
  await tab.dismiss("n2")
  assert.deepEqual(tab.toasts, ["n1", "n3", "n4"])
  await tab.dismiss("n1")
  assert.deepEqual(tab.toasts, ["n3", "n4", "n5"])
  assert.deepEqual([tab.server.requests, tab.queue.length], [numbered(5), 0])
})

test("notices that a page could not show are shown on the next page", async () => {
  const tab = new Tab()
  await tab.receive(...numbered(5))
  tab.queue.stop()
  const nextTab = new Tab(tab.server)
  await nextTab.receive("n4", "n5")
  assert.deepEqual(nextTab.toasts, ["n4", "n5"])
})

test("a queue that was stopped takes nothing more", async () => {
  const tab = new Tab()
  tab.queue.stop()
  await tab.receive("n1")
  assert.deepEqual(tab.server.requests, [])
})

test("of two pages that receive the same notices, one shows each", async () => {
  const server = new Server()
  const tabs = [new Tab(server), new Tab(server)]
  await Promise.all(tabs.map(tab => tab.receive(...numbered(10))))
  for (let i = 0; i < 30; i++) {
    for (const tab of tabs) {
      await tab.dismiss(tab.toasts[0])
      await tab.pass(300)
    }
  }
  assert.deepEqual(tabs.flatMap(tab => tab.everShown).sort(), numbered(10).sort())
})

test("a notice that arrives again while it waits keeps its place and is taken once", async () => {
  const tab = new Tab()
  await tab.receive(...numbered(5), "n4", "n1")
  await tab.dismiss("n1")
  await tab.dismiss("n2")
  await tab.pass(1_000)
  assert.deepEqual(tab.everShown, numbered(5))
  await tab.dismiss("n3")
  await tab.pass(1_000)
  assert.deepEqual(tab.everShown, numbered(5))
})

test("a hundred waiting notices cost no request until there is room", async () => {
  const tab = new Tab()
  await tab.receive(...numbered(100))
  for (let i = 0; i < 600; i++) {
    tab.queue.showNext()
    await tab.pass(1_000)
  }
  assert.equal(tab.server.requests.length, 3)
})

test("a hundred notices cost few requests while the server is down, and are shown in order when it is back", async () => {
  const tab = new Tab()
  tab.server.isDown = true
  await tab.receive(...numbered(50))
  await tab.receive(...numbered(100))
  await tab.pass(60_000)
  assert.ok(tab.server.requests.length <= 12, `${tab.server.requests.length} requests`)
  assert.deepEqual([...new Set(tab.server.requests)], ["n1"])
  tab.server.isDown = false
  await tab.pass(60_000)
  assert.deepEqual(tab.toasts, ["n1", "n2", "n3"])
})

test("once the server can be reached again, earlier failures cause no delay", async () => {
  const tab = new Tab()
  tab.server.isDown = true
  await tab.receive("n1")
  await tab.pass(60_000)
  tab.server.isDown = false
  tab.queue.retryNow()
  await settle()
  assert.deepEqual(tab.toasts, ["n1"])
})

test("a hundred notices that another page has shown are dropped at a steady pace", async () => {
  const tab = new Tab()
  for (const id of numbered(100)) tab.server.taken.add(id)
  await tab.receive(...numbered(100), "fresh")
  await tab.pass(1_000)
  assert.ok(tab.server.requests.length <= 6, `${tab.server.requests.length} requests in a second`)
  await tab.pass(30_000)
  assert.deepEqual([tab.toasts, tab.queue.length], [["fresh"], 0])
  assert.equal(tab.server.requests.length, 101)
})

test("a hidden page takes nothing until it is visible", async () => {
  const tab = new Tab()
  tab.isVisible = false
  await tab.receive("n1")
  await tab.pass(60_000)
  assert.deepEqual(tab.server.requests, [])
  tab.isVisible = true
  tab.queue.retryNow()
  await settle()
  assert.deepEqual(tab.toasts, ["n1"])
})

test("a notice whose content the page shows already needs no room, and gets no toast later", async () => {
  const tab = new Tab()
  await tab.receive(...numbered(4))
  tab.shownElsewhere.add("n5")
  await tab.receive("n5")
  assert.deepEqual([tab.toasts, tab.server.requests], [["n1", "n2", "n3"], ["n1", "n2", "n3", "n5"]])
  await tab.dismiss("n1")
  assert.deepEqual(tab.toasts, ["n2", "n3", "n4"])
})
