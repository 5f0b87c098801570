/** The page's connection: over which transport, when again, and what its listeners get; in simulated time. */
import assert from "node:assert/strict"
import test from "node:test"

import { AGAIN, CLOSE } from "telltale/live/protocol.js"

import { SimulatedPage, settle } from "./simulated-page.js"

const snapshot = (id, seq, more = {}) => ({ id, attempt: 1, ended: false, seq, state: "running", ...more })
const transportsOf = page => page.connections.map(connection => connection.name)

/** Let 14 seconds pass, and then let the server ping. */
async function passToPing(page, connection = page.connection) {
  await page.pass(14)
  connection.receive({ type: "ping", n: 2, now: page.now })
}

test("no connection is opened before something is followed, and then only one", async () => {
  const page = new SimulatedPage()
  await page.pass(60)
  assert.equal(page.connections.length, 0)
  page.live.tasks(() => {})
  page.live.notices(() => {})
  page.live.task("a", () => {}, { mine: true })
  await settle()
  assert.deepEqual(transportsOf(page), ["best"])
  assert.equal(page.connection.ticket, "ticket 0")
  assert.equal(page.connection.url, "https://site.example/telltale/live/")
})

test("a page with nothing to follow opens no connection", async () => {
  const page = await SimulatedPage.following({ topics: [] })
  await page.pass(600)
  assert.deepEqual([page.connections.length, page.ticketRequests.length, page.live.state], [0, 0, "idle"])
})

test("the page is live once the server has said hello", async () => {
  const page = await SimulatedPage.following()
  assert.equal(page.live.state, "connecting")
  page.connection.hello()
  assert.equal(page.live.state, "live")
})

test("a listener gets the newer snapshots of its task, until its signal aborts", async () => {
  const page = await SimulatedPage.following()
  const controller = new AbortController()
  const received = []
  page.live.task("a", ({ seq }) => received.push(seq), { mine: true, signal: controller.signal })
  page.connection.hello()
  for (const seq of [1, 3, 2, 3]) {
    page.connection.receive({ type: "update", tasks: [snapshot("a", seq), snapshot("b", seq)] })
  }
  controller.abort()
  page.connection.receive({ type: "update", tasks: [snapshot("a", 4)] })
  assert.deepEqual(received, [1, 3])
})

test("a listener that is added later gets the newest snapshot at once", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.connection.receive({ type: "update", tasks: [snapshot("a", 5)] })
  const received = []
  page.live.task("a", ({ seq }) => received.push(seq), { mine: true })
  assert.deepEqual(received, [5])
})

test("a listener gets the events of its topic only", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  const received = []
  page.live.topic("project:7", event => received.push(event.name))
  page.connection.receive({
    type: "update",
    events: [
      { topic: "project:7", name: "x", data: 1 },
      { topic: "other:1", name: "y" },
    ],
  })
  assert.deepEqual(received, ["x"])
})

test("an attempt without an answer fails after five seconds, and after two such the next transport is tried", async () => {
  const page = await SimulatedPage.following()
  await page.pass(12)
  assert.deepEqual(transportsOf(page).slice(0, 3), ["best", "best", "middle"])
  assert.equal(page.openConnections.length, 1)
})

test("a transport that needs longer for its first answer gets the time", async () => {
  const page = await SimulatedPage.following({ establishMs: { best: 10_000 } })
  await page.pass(9)
  assert.deepEqual([transportsOf(page), page.connection.isOpen], [["best"], true])
  await page.pass(2)
  assert.deepEqual(transportsOf(page), ["best", "best"])
})

test("a transport that is tried beside the connection gets as long as it needs, too", async () => {
  const page = await SimulatedPage.following({ transports: ["best", "last"], establishMs: { best: 10_000 } })
  await page.pass(21)
  const lower = page.connection
  assert.equal(lower.name, "last")
  for (let i = 0; i < 6; i++) {
    lower.receive({ type: "poll", now: page.now, poll_after_s: 2 })
    if (page.connection !== lower) break
    await page.pass(10)
  }
  assert.equal(page.connection.name, "best")
  await page.pass(4)
  page.connection.hello()
  assert.deepEqual([lower.isOpen, page.live.state], [false, "live"])
})

test("behind a proxy that refuses the others at once, the page polls within two seconds", async () => {
  const page = await SimulatedPage.following()
  await page.fallBack()
  await page.fallBack()
  assert.equal(page.connection.name, "last")
  page.connection.receive({ type: "poll", now: page.now, poll_after_s: 2, tasks: [snapshot("a", 1)] })
  assert.equal(page.live.state, "polling")
  assert.equal(page.live.snapshots.get("a").seq, 1)
})

test("a transport that the browser forbids by an exception counts as failed", async () => {
  const page = await SimulatedPage.following({ forbidden: ["best"] })
  await page.pass(1)
  assert.deepEqual(transportsOf(page), ["middle"])
})

const withoutHolding = { held: ["best", "middle"], can_hold: false }
const poll = (page, poll_after_s) => page.connection.receive({ type: "poll", now: page.now, poll_after_s })

test("a page whose server can't hold connections polls at once, and tries nothing else while answers say so", async () => {
  const page = await SimulatedPage.following(withoutHolding)
  assert.deepEqual(transportsOf(page), ["last"])
  for (let i = 0; i < 100; i++) {
    poll(page, 2)
    assert.equal(page.live.state, "polling")
    await page.pass(10)
  }
  assert.deepEqual([...new Set(transportsOf(page))], ["last"])
})

test("such a page still only polls after its server was gone for a while", async () => {
  const page = await SimulatedPage.following(withoutHolding)
  poll(page, 2)
  for (let i = 0; i < 8; i++) {
    page.connection.end()
    await page.pass(40)
  }
  assert.deepEqual([...new Set(transportsOf(page))], ["last"])
})

test("if an answer shows that connections can be held, the best transport is tried at once", async () => {
  const page = await SimulatedPage.following(withoutHolding)
  const polling = page.connection
  poll(page, 0)
  await page.pass(0)
  assert.deepEqual([transportsOf(page), polling.isOpen], [["last", "best"], true])
  page.connection.hello()
  assert.deepEqual([polling.isOpen, page.live.state], [false, "live"])
})

test("a page that has fallen back to a server that can't hold connections tries no better transport again", async () => {
  const page = await SimulatedPage.following({ held: ["best", "middle"] })
  await page.fallBack()
  await page.fallBack()
  assert.equal(page.connection.name, "last")
  const opened = page.connections.length
  for (let i = 0; i < 100; i++) {
    poll(page, 2)
    await page.pass(10)
  }
  assert.deepEqual([...new Set(transportsOf(page).slice(opened - 1))], ["last"])
})

test("a better transport is tried beside the connection, which is replaced when the better one answers", async () => {
  const page = await SimulatedPage.following()
  await page.fallBack()
  const lower = page.connection
  lower.hello()
  await passToPing(page)
  await passToPing(page)
  await page.pass(18)
  assert.equal(page.connection.name, "best")
  assert.deepEqual([lower.isOpen, page.live.state], [true, "live"])
  page.connection.hello()
  assert.deepEqual([lower.isOpen, page.connection.isOpen, page.live.state], [false, true, "live"])
  lower.receive({ type: "update", tasks: [snapshot("a", 9)] })
  assert.equal(page.live.snapshots.size, 0, "messages of the replaced connection are ignored")
})

test("when the better transport does not answer, the connection stays as it was", async () => {
  const page = await SimulatedPage.following({ transports: ["best", "last"] })
  await page.fallBack()
  const lower = page.connection
  for (let i = 0; i < 5; i++) {
    lower.receive({ type: "poll", now: page.now, poll_after_s: 0 })
    await page.pass(11)
  }
  assert.equal(transportsOf(page).filter(name => name === "best").length, 3)
  assert.deepEqual(page.openConnections, [lower])
})

test("a lost connection is replaced over the same transport, which is told what the page has", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.connection.receive({ type: "update", tasks: [snapshot("a", 7)] })
  page.connection.end()
  await settle()
  assert.equal(page.live.state, "reconnecting")
  await page.pass(1)
  assert.equal(page.connection.name, "best")
  assert.deepEqual(page.connection.have, { a: [1, false, 7] })
})

test("a connection that is silent for longer than the server may be is closed", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  const first = page.connection
  await page.pass(39)
  assert.equal(first.isOpen, true)
  await page.pass(2)
  assert.equal(first.isOpen, false)
})

test("without a connection, `now` is the time of the last message", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  await page.pass(5)
  assert.equal(page.live.now, page.now)
  page.connection.receive({ type: "ping", n: 2, now: page.now })
  const lastMessageAt = page.now
  page.connection.end()
  await settle()
  await page.pass(0.1)
  assert.equal(page.live.now, lastMessageAt)
})

test("a message without a time is of the moment at which it arrives", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  await page.pass(30)
  page.connection.receive({ type: "update", tasks: [snapshot("a", 1)] })
  const arrivedAt = page.now
  page.connection.end()
  await page.pass(0.1)
  assert.equal(page.live.now, arrivedAt)
})

test("a server that says later gets longer and longer pauses", async () => {
  const page = await SimulatedPage.following()
  const openedAt = []
  for (let i = 0; i < 6; i++) {
    openedAt.push(page.now)
    const { length } = page.connections
    page.connection.bye(CLOSE.LIMIT, AGAIN.LATER)
    while (page.connections.length === length) await page.pass(0.1)
  }
  const waits = openedAt.slice(1).map((time, i) => time - openedAt[i])
  assert.ok(waits[4] > 8 && waits[0] >= 0.5, `${waits}`)
})

test("a page that is sent away with many others reconnects at a random moment of the time that the server gives", async () => {
  const page = await SimulatedPage.following()
  page.connection.bye(CLOSE.DRAIN, AGAIN.LATER, { within_s: 20 })
  await page.pass(9.9)
  assert.equal(page.openConnections.length, 0)
  await page.pass(0.2)
  assert.equal(page.openConnections.length, 1)
})

test("a page that becomes visible keeps a connection with a recent message, and replaces an older one at once", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  await page.pass(10)
  page.live.resume()
  assert.equal(page.connections.length, 1)
  assert.equal(page.connection.hasPolledNow, true)
  await page.pass(14)
  page.live.resume()
  await settle()
  assert.deepEqual([page.connections.length, page.openConnections.length], [2, 1])
})

test("a page that is left closes everything, and connects again when it is restored", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.live.suspend()
  await page.pass(600)
  assert.deepEqual([page.openConnections.length, page.connections.length, page.ticketRequests.length], [0, 1, 0])
  page.live.resume()
  await settle()
  assert.equal(page.openConnections.length, 1)
})

test("a page that is hidden for long closes its connection, unless it uses the best transport", async () => {
  const onMiddle = await SimulatedPage.following()
  await onMiddle.fallBack()
  onMiddle.connection.hello()
  onMiddle.live.hide()
  const onBest = await SimulatedPage.following()
  onBest.connection.hello()
  onBest.live.hide()
  for (const page of [onMiddle, onBest]) {
    for (let i = 0; i < 6; i++) {
      await page.pass(14)
      if (page.connection.isOpen) page.connection.receive({ type: "ping", n: 2, now: page.now })
    }
  }
  assert.deepEqual([onMiddle.openConnections.length, onBest.openConnections.length], [0, 1])
  onMiddle.live.resume()
  await settle()
  assert.equal(onMiddle.openConnections.length, 1)
})

test("a hidden page keeps its connection for as long as it is needed, such as for notifications", async () => {
  const page = await SimulatedPage.following()
  await page.fallBack()
  page.connection.hello()
  let isNeeded = true
  page.live.keepWhileHidden(() => isNeeded)
  page.live.hide()
  for (let i = 0; i < 10; i++) await passToPing(page)
  assert.equal(page.openConnections.length, 1)
  isNeeded = false
  for (let i = 0; i < 5 && page.connection.isOpen; i++) await passToPing(page)
  assert.equal(page.openConnections.length, 0)
})

test("what a page that was left shows is of the last message, until the server answers again", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  const lastMessageAt = page.now
  await page.pass(5)
  page.live.suspend()
  await page.pass(3)
  assert.equal(page.live.now, lastMessageAt)
  await page.pass(600)
  page.live.resume()
  await page.pass(0.1)
  assert.deepEqual([page.live.now, page.live.state], [lastMessageAt, "reconnecting"])
  page.connection.hello()
  assert.deepEqual([page.live.now, page.live.state], [page.now, "live"])
})

test("after a sleep of the machine, what the page shows is of the last message", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  const lastMessageAt = page.now
  page.sleep(600)
  assert.deepEqual([page.live.state, page.live.now], ["live", lastMessageAt]) // No timer has run yet.
})

test("a page that falls back to another transport while it is hidden closes that connection, too", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.live.hide()
  await page.pass(30)
  page.connection.receive({ type: "ping", n: 2, now: page.now })
  await page.pass(31)
  page.connection.end()
  await page.pass(20)
  while (page.connection.name === "best") {
    page.connection.end()
    await page.pass(5)
  }
  page.connection.hello()
  assert.deepEqual([page.connection.name, page.openConnections.length], ["middle", 1])
  for (let i = 0; i < 8 && page.connection.isOpen; i++) await passToPing(page)
  assert.equal(page.openConnections.length, 0)
})

test("without a network the page is offline, and connects at once when the network is back", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.isOnline = false
  page.live.goOffline()
  assert.deepEqual([page.live.state, page.openConnections.length], ["offline", 0])
  page.isOnline = true
  page.live.resume()
  await settle()
  page.connection.hello()
  assert.equal(page.live.state, "live")
})

test("a server that is down for a minute gets few attempts, and a connection within half a minute of its return", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  for (let i = 0; i < 600; i++) {
    for (const connection of page.openConnections) connection.end()
    await page.pass(0.1)
  }
  assert.ok(page.connections.length < 25, `${page.connections.length} attempts`)
  const returnedAt = page.now
  while (!page.openConnections.length) await page.pass(0.5)
  assert.ok(page.now - returnedAt < 31)
})

test("a listener that is added later gets the notices that still wait, not those that are decided", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.connection.receive({ type: "update", notices: [{ id: "n1" }, { id: "n2" }, { id: "n3" }] })
  page.live.forgetNotice("n2")
  const received = []
  page.live.notices(({ id }) => received.push(id))
  page.connection.receive({ type: "update", notices: [{ id: "n3" }, { id: "n4" }] })
  assert.deepEqual(received, ["n1", "n3", "n4"])
})

test("of the notices that no page takes, the newest thousand are kept", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.connection.receive({ type: "update", notices: Array.from({ length: 1_200 }, (_, i) => ({ id: `n${i}` })) })
  const received = []
  page.live.notices(({ id }) => received.push(id))
  assert.deepEqual([received.length, received[0], received.at(-1)], [1_000, "n200", "n1199"])
})

test("a visitor who returns after the machine slept gets a new connection, although the page's own clock stood still", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.live.resume()
  assert.equal(page.connections.length, 1)
  page.sleptS = 3_600
  page.live.resume()
  await settle()
  assert.equal(page.connections.length, 2)
})

test("when the server's clock is put back, its time is the page's at once", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  page.connection.receive({ type: "ping", now: page.now - 50 })
  assert.equal(page.live.now, page.now - 50)
})
