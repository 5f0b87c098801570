/** Notices that wait: taken only when there is room, in order, each shown on one page, and confirmed when painted. */
import assert from "node:assert/strict"
import test from "node:test"

import { NoticeQueue } from "telltale/elements/notice-queue.js"

import { Timers, settle } from "./simulated-page.js"

const HELD_MS = 10_000

/** Decides as the real server does: one page at a time holds a notice, and none after it was confirmed. */
class Server {
  /** Ids of the notices that were confirmed. */
  shown = new Set()
  /** Who holds each notice. */
  holders = new Map()
  /** The id of each request. */
  requests = []
  isDown = false

  async take(id, holder) {
    this.requests.push(id)
    if (this.isDown) throw new Error("Undecided: 503.")
    if (this.shown.has(id)) return { granted: false, retryAfterMs: null }
    const isHeld = this.holders.has(id) && this.holders.get(id) !== holder
    if (isHeld) return { granted: false, retryAfterMs: HELD_MS }
    this.holders.set(id, holder)
    return { granted: true, confirmWithinMs: HELD_MS }
  }

  /** The time of all that hold a notice and have not confirmed it is over. */
  giveBack() {
    this.holders.clear()
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
  /** Whether the page paints: a hidden or frozen page does not. */
  paints = true
  /** Notices that were painted on a page of this browser, before the server knew. */
  receipts = new Set()
  #timers = new Timers(0, 1)
  #frames = []

  constructor(server = new Server()) {
    this.server = server
    const display = {
      isReady: () => this.isVisible,
      hasRoom: () => this.toasts.length < 3,
      isShownElsewhere: ({ id }) => this.shownElsewhere.has(id),
      wasShown: id => this.receipts.has(id),
      nextPaint: () => this.#frame(),
      afterPaint: async () => {},
      take: id => server.take(id, this),
      show: ({ id }) => {
        this.toasts.push(id)
        this.everShown.push(id)
        return true
      },
      onPainted: id => server.shown.add(id),
      onDecided: () => {},
      onChange: () => {},
    }
    const clocks = { now: () => this.#timers.now, wallNow: () => this.#timers.now }
    this.queue = new NoticeQueue(display, { ...this.#timers.env, ...clocks })
  }

  #frame() {
    return this.paints ? Promise.resolve() : new Promise(resolve => this.#frames.push(resolve))
  }

  async paint() {
    this.paints = true
    for (const resolve of this.#frames.splice(0)) resolve()
    await settle()
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
  for (const id of numbered(100)) tab.server.shown.add(id)
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

test("a notice is confirmed when it has been painted, and not before", async () => {
  const tab = new Tab()
  tab.paints = false
  await tab.receive("n1")
  assert.deepEqual([tab.server.requests, [...tab.server.shown]], [[], []])
  await tab.paint()
  assert.deepEqual([tab.toasts, [...tab.server.shown]], [["n1"], ["n1"]])
})

/** A page to which a notice was granted, and which has not painted it. */
async function tabWithUnpaintedNotice(server) {
  const tab = new Tab(server)
  const take = server.take.bind(server)
  server.take = async (id, holder) => {
    tab.paints = false
    server.take = take
    return take(id, holder)
  }
  await tab.receive("n1")
  return tab
}

test("a notice whose page was closed before it was painted is shown once, on another page", async () => {
  const server = new Server()
  const closed = await tabWithUnpaintedNotice(server)
  closed.queue.stop()
  const other = new Tab(server)
  await other.receive("n1", "n2")
  await other.pass(1_000)
  assert.deepEqual([other.toasts, other.queue.length], [["n2"], 0])
  server.giveBack()
  await other.pass(HELD_MS)
  assert.deepEqual([closed.everShown, other.everShown], [[], ["n2", "n1"]])
})

test("a page that paints too late does not show the notice, because another page may show it", async () => {
  const server = new Server()
  const frozen = await tabWithUnpaintedNotice(server)
  await frozen.pass(HELD_MS)
  server.giveBack()
  const other = new Tab(server)
  await other.receive("n1")
  await frozen.paint()
  await frozen.pass(60_000)
  assert.deepEqual([frozen.everShown, other.everShown], [[], ["n1"]])
})

test("a page that paints too late shows the notice if no other page has", async () => {
  const server = new Server()
  const frozen = await tabWithUnpaintedNotice(server)
  await frozen.pass(HELD_MS)
  server.giveBack()
  await frozen.paint()
  await frozen.pass(60_000)
  assert.deepEqual(frozen.everShown, ["n1"])
})

test("a notice that another page of this browser has shown is not shown, also if the server does not know", async () => {
  const tab = new Tab()
  tab.receipts.add("n1")
  await tab.receive("n1", "n2")
  assert.deepEqual([tab.toasts, tab.server.requests, tab.queue.length], [["n2"], ["n2"], 0])
})

test("notices that other pages hold cost one request for each time that they are held", async () => {
  const server = new Server()
  for (const id of numbered(20)) server.holders.set(id, "another page")
  const tab = new Tab(server)
  await tab.receive(...numbered(20))
  await tab.pass(HELD_MS - 2_000)
  assert.equal(server.requests.length, 20)
  for (const id of numbered(20)) server.shown.add(id)
  await tab.pass(60_000)
  assert.deepEqual([server.requests.length, tab.queue.length, tab.everShown], [40, 0, []])
})
