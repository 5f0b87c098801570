/** What a page follows is compared with what its ticket grants, and given up when nothing on the page follows it. */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import test from "node:test"

import { MAX_TOPICS } from "telltale/live/protocol.js"

import { SimulatedPage, settle } from "./simulated-page.js"

const snapshot = (id, seq, more = {}) => ({ id, attempt: 1, ended: false, seq, state: "running", ...more })
const ended = (id, seq, state = "succeeded") => snapshot(id, seq, { ended: true, state })

/** A page whose server grants the topics for which `mayFollow(topic)` is true, and adds `added`. */
function pageWith(mayFollow, options) {
  const page = new SimulatedPage(options)
  page.grant = (allows, added = []) => {
    page.answerTicketRequest = topics => {
      const granted = [...new Set([...added, ...topics.filter(allows)])]
      if (topics.length > MAX_TOPICS) return { status: 400, body: {} }
      if (!granted.length) return { status: 404, body: {} }
      const ticket = `ticket ${page.ticketRequests.length}`
      return { status: 200, body: { ticket, topics: granted, expires_at: page.now + 300 } }
    }
  }
  page.grant(mayFollow)
  return page
}

/** Follow a task as a bar does; `bar` has what it was told. */
function bar(page, id, options = {}) {
  const bar = { granted: [], seqs: [], controller: new AbortController() }
  page.live.task(id, ({ seq }) => bar.seqs.push(seq), {
    signal: bar.controller.signal,
    onGranted: isGranted => bar.granted.push(isGranted),
    ...options,
  })
  return bar
}

/** Let time pass with a server that answers. */
async function passWithPings(page, seconds) {
  for (let passed = 0; passed < seconds; passed += 2) {
    await page.pass(2)
    for (const connection of page.openConnections) {
      if (connection.isGreeted) connection.receive({ type: "ping", now: page.now })
      else connection.hello()
      connection.isGreeted = true
    }
  }
}

test("a ticket of the page is as large as the server's may be", () => {
  const source = readFileSync(new URL("../../src/telltale/live/tickets.py", import.meta.url), "utf-8")
  assert.equal(MAX_TOPICS, Number(/^MAX_TOPICS: Final = (\d+)$/m.exec(source)[1]))
})

// What is granted ---------------------------------------------------------------------------------

test("an anonymous visitor's first task, whose bar is inserted later, is followed by the topic of the new session", async () => {
  const page = pageWith(topic => topic === "session:x", { topics: [] })
  page.live.tasks(() => {})
  await page.pass(60)
  const first = bar(page, "a", { mine: "session:x" })
  await page.pass(1)
  page.connection.hello()
  page.connection.receive({ type: "update", tasks: [snapshot("a", 1)] })
  const second = bar(page, "b", { mine: "session:x" })
  page.connection.receive({ type: "update", tasks: [snapshot("b", 7)] })
  await page.pass(1)
  assert.deepEqual(page.ticketRequests, [["session:x"]])
  assert.deepEqual([first.seqs, first.granted, second.seqs, second.granted], [[1], [true], [7], [true]])
})

test("after a sign-in without a new page, the first task makes the page follow the user", async () => {
  const page = pageWith(topic => topic === "user:7", { topics: ["session:x"] })
  page.live.tasks(() => {})
  await settle()
  page.connection.hello()
  const ofSession = page.connection
  const task = bar(page, "a", { mine: "user:7" })
  await page.pass(1)
  assert.deepEqual(page.ticketRequests, [["session:x", "user:7"]])
  assert.deepEqual([ofSession.isOpen, page.openConnections.length, page.connection.ticket], [false, 1, "ticket 1"])
  page.connection.hello()
  page.connection.receive({ type: "update", tasks: [snapshot("a", 3)] })
  assert.deepEqual([task.granted, task.seqs, page.live.state], [[true], [3], "live"])
})

test("the bars from before a sign-in are covered by the topic that the server adds", async () => {
  const page = pageWith(() => false, { topics: ["session:x"] })
  const before = bar(page, "a", { mine: "session:x" })
  await settle()
  page.connection.hello()
  page.grant(topic => topic === "user:7", ["user:7"])
  page.expireTicket()
  await page.pass(1)
  page.connection.hello()
  page.connection.receive({ type: "update", tasks: [snapshot("a", 9)] })
  const again = bar(page, "a", { mine: "session:x" })
  await page.pass(1)
  assert.deepEqual(page.ticketRequests, [["session:x"]])
  assert.deepEqual([before.seqs, before.granted.at(-1), again.granted.at(-1), page.live.state], [[9], true, true, "live"])
  page.expireTicket()
  await page.pass(10)
  assert.deepEqual(page.ticketRequests.at(-1), ["user:7"])
})

test("a bar of one's own that does not name its owner requests its task if no snapshot comes", async () => {
  const page = pageWith(() => true)
  const missing = bar(page, "a", { mine: true })
  const known = bar(page, "b", { mine: true })
  bar(page, "c", { mine: true, hasEnded: true })
  await settle()
  page.connection.hello()
  page.connection.receive({ type: "update", tasks: [snapshot("b", 1)] })
  await page.pass(6)
  assert.deepEqual(page.ticketRequests, [["user:1", "task:a"]])
  page.connection.receive({ type: "update", tasks: [snapshot("a", 4)] })
  assert.deepEqual([missing.seqs, known.seqs], [[4], [1]])
})

test("a bar that is inserted into a live page requests its task if no snapshot comes", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  await page.pass(12)
  bar(page, "a", { mine: true })
  await page.pass(6)
  assert.deepEqual(page.ticketRequests, [["user:1", "task:a"]])
})

test("signed out in another tab, a page that also follows a shared topic tells the bars of the user, and stays live", async () => {
  const page = pageWith(topic => topic === "public:news", { topics: ["user:7"] })
  page.answerTicketRequest = topics => ({ status: 200, body: { ticket: "both", topics, expires_at: page.now + 300 } })
  const told = []
  page.live.topic("public:news", () => {}, { onGranted: isGranted => told.push(isGranted) })
  const own = []
  page.live.tasks(() => {}, { onGranted: isGranted => own.push(isGranted) })
  const task = bar(page, "a", { mine: "user:7" })
  await page.pass(1)
  page.connection.hello()
  page.connection.receive({ type: "update", tasks: [snapshot("a", 1), snapshot("only in the tray", 1)] })
  page.grant(topic => topic === "public:news")
  await passWithPings(page, 250)
  const refusedAt = page.now
  await passWithPings(page, 120)
  assert.deepEqual([task.granted, told, own], [[true, false], [true], [false]])
  assert.equal(page.live.state, "live")
  for (const id of ["a", "only in the tray"]) assert.ok(page.live.nowOf(id) <= refusedAt, id)
  assert.ok(page.live.now > refusedAt + 100)
})

test("signed in again in another tab, a page that was refused is live when the visitor comes back to it", async () => {
  const page = pageWith(topic => topic === "public:news", { topics: ["user:7"] })
  page.live.topic("public:news", () => {})
  const task = bar(page, "a", { mine: "user:7" })
  await page.pass(1)
  page.connection.hello()
  assert.equal(task.granted.at(-1), false)
  page.grant(() => true)
  page.live.resume()
  await page.pass(1)
  page.connection.hello()
  assert.deepEqual([task.granted.at(-1), page.live.nowOf("a") === page.live.now], [true, true])
})

test("of two topics, the follower of the refused one is told, and the other one is live", async () => {
  const page = pageWith(topic => topic !== "task:theirs")
  page.live.tasks(() => {})
  const theirs = bar(page, "theirs")
  const shared = bar(page, "shared")
  await page.pass(1)
  page.connection.hello()
  assert.deepEqual([theirs.granted, shared.granted, page.live.state], [[false], [true], "live"])
})

test("a page that was refused everything asks again when something more is followed", async () => {
  const page = pageWith(() => false, { topics: [] })
  const first = bar(page, "a")
  await page.pass(1)
  assert.deepEqual([first.granted, page.live.state, page.openConnections.length], [[false], "signed out", 0])
  await page.pass(3_600)
  assert.equal(page.ticketRequests.length, 1)
  page.grant(() => true)
  const second = bar(page, "b")
  await page.pass(1)
  page.connection.hello()
  assert.deepEqual([first.granted, second.granted, page.live.state], [[false, true], [true], "live"])
})

test("a topic that is added while the server refuses all others is requested next, and is live", async () => {
  const page = pageWith(topic => topic === "task:shared", { topics: [] })
  const refuse = page.answerTicketRequest
  let answer = () => {}
  page.answerTicketRequest = topics => new Promise(resolve => (answer = () => resolve(refuse(topics))))
  const refused = bar(page, "refused")
  await page.pass(1)
  const shared = bar(page, "shared")
  page.answerTicketRequest = refuse
  answer()
  await page.pass(1)
  page.connection.hello()
  assert.deepEqual([refused.granted, shared.granted, page.live.state], [[false], [true], "live"])
})

test("where another user signs in on the same page, nothing of the first one stays", async () => {
  const page = pageWith(topic => topic === "user:2")
  page.live.tasks(() => {})
  const theirs = bar(page, "a", { mine: "user:1" })
  await settle()
  page.connection.hello()
  page.connection.receive({ type: "update", tasks: [snapshot("a", 1)], notices: [{ id: "n1" }] })
  bar(page, "b", { mine: "user:2" })
  await page.pass(1)
  page.connection.hello()
  page.connection.receive({ type: "update", tasks: [snapshot("b", 1)] })
  const notices = []
  page.live.notices(({ id }) => notices.push(id))
  assert.deepEqual([[...page.live.snapshots.keys()], notices, theirs.granted.at(-1)], [["b"], [], false])
})

test("a bar that is inserted just before the page is left is followed when the page is restored", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  const task = bar(page, "a")
  page.live.suspend()
  await page.pass(60)
  page.live.resume()
  await page.pass(1)
  assert.deepEqual([page.ticketRequests, task.granted], [[["user:1", "task:a"]], [true]])
})

test("a connection that replaces another with a better transport has what was added meanwhile", async () => {
  const page = await SimulatedPage.following({ transports: ["best", "last"] })
  await page.fallBack()
  const lower = page.connection
  lower.takesTickets = true
  while (page.connection === lower) {
    lower.receive({ type: "poll", now: page.now, poll_after_s: 0 })
    await page.pass(2)
  }
  bar(page, "a")
  await page.pass(0.1)
  page.connection.hello()
  assert.deepEqual([lower.isOpen, page.connection.newTickets], [false, ["ticket 1"]])
})

// What is given up --------------------------------------------------------------------------------

test("a topic is given up when the last element that follows it has left the page", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  const [first, second] = [bar(page, "a"), bar(page, "a")]
  await page.pass(1)
  first.controller.abort()
  await page.pass(10)
  assert.equal(page.ticketRequests.length, 1)
  second.controller.abort()
  await page.pass(10)
  assert.deepEqual(page.ticketRequests, [["user:1", "task:a"], ["user:1"]])
  assert.equal(page.connection.newTickets.at(-1), "ticket 2")
})

test("an element that a script moves is followed without interruption", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  const before = bar(page, "a")
  await page.pass(1)
  before.controller.abort()
  await page.pass(0.5)
  bar(page, "a")
  await page.pass(10)
  assert.equal(page.ticketRequests.length, 1)
})

test("topics that the page was rendered with are given up with their elements, the visitor's own are not", async () => {
  const page = await SimulatedPage.following({ topics: ["user:1", "task:a", "task:b"] })
  page.connection.hello()
  const [a, own] = [bar(page, "a"), bar(page, "c", { mine: "user:1" })]
  a.controller.abort()
  own.controller.abort()
  await page.pass(10)
  assert.deepEqual(page.ticketRequests, [["user:1", "task:b"]])
})

test("a task that has succeeded is given up while its bar stays; one that may be run again is not", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  const done = bar(page, "done")
  bar(page, "failed")
  await page.pass(1)
  page.connection.receive({ type: "update", tasks: [ended("done", 5), ended("failed", 5, "failed")] })
  await page.pass(10)
  assert.deepEqual(page.ticketRequests.at(-1), ["user:1", "task:failed"])
  assert.deepEqual([done.seqs, done.granted], [[5], [true]])
  bar(page, "done")
  await page.pass(10)
  assert.equal(page.ticketRequests.length, 2, "what is known to the end is not requested again")
})

test("a page with nothing left to follow closes its connection, and opens one for the next task", async () => {
  const page = new SimulatedPage({ topics: [] })
  for (const [i, id] of ["a", "b"].entries()) {
    const task = bar(page, id)
    await page.pass(1)
    page.connection.hello()
    assert.deepEqual([page.live.state, page.openConnections.length, page.connections.length], ["live", 1, i + 1])
    task.controller.abort()
    await page.pass(10)
    assert.deepEqual([page.live.state, page.openConnections.length], ["idle", 0])
  }
  assert.deepEqual(page.ticketRequests, [["task:a"], ["task:b"]])
})

test("a shared task that is given up before its end leaves the tray, the visitor's own stay", async () => {
  const page = await SimulatedPage.following()
  page.connection.hello()
  const [shared, own] = [bar(page, "shared"), bar(page, "own", { mine: "user:1" })]
  await page.pass(1)
  page.connection.receive({ type: "update", tasks: [snapshot("shared", 1), snapshot("own", 1)] })
  for (const { controller } of [shared, own]) controller.abort()
  await page.pass(10)
  assert.deepEqual([...page.live.snapshots.keys()], ["own"])
})

test("more topics than a ticket holds: the rest is told, and gets its turn when others are given up", async () => {
  const page = pageWith(() => true, { topics: [] })
  const bars = Array.from({ length: MAX_TOPICS + 5 }, (_, i) => bar(page, `t${i}`))
  await page.pass(1)
  page.connection.hello()
  const grantedCount = () => bars.filter(({ granted }) => granted.at(-1)).length
  assert.deepEqual([grantedCount(), bars.at(-1).granted, page.live.state], [MAX_TOPICS, [false], "live"])
  page.connection.receive({ type: "update", tasks: [0, 1, 2, 3, 4].map(i => ended(`t${i}`, 1)) })
  await page.pass(10)
  assert.deepEqual([grantedCount(), bars.at(-1).granted], [MAX_TOPICS + 5, [false, true]])
})

test("tasks that have ended make room for those that run", async () => {
  const page = pageWith(() => true, { topics: [] })
  const failed = Array.from({ length: MAX_TOPICS }, (_, i) => bar(page, `f${i}`))
  await page.pass(1)
  page.connection.hello()
  page.connection.receive({ type: "update", tasks: failed.map((_, i) => ended(`f${i}`, 1, "failed")) })
  const running = bar(page, "running")
  await page.pass(1)
  assert.deepEqual(running.granted, [true])
})

for (const status of [400, 405, 409, 413, 422]) {
  test(`an answer of ${status} to a request for a ticket is no sign-out: the page goes on and asks again`, async () => {
    const page = await SimulatedPage.following()
    page.connection.hello()
    page.answerTicketRequest = () => ({ status, body: {} })
    const task = bar(page, "a")
    await passWithPings(page, 20)
    assert.deepEqual([page.live.state, page.openConnections.length, task.granted], ["live", 1, []])
    assert.ok(page.ticketRequests.length > 1)
    page.answerTicketRequest = topics => ({ status: 200, body: { ticket: "good", topics, expires_at: page.now + 300 } })
    await passWithPings(page, 60)
    assert.deepEqual(task.granted, [true])
  })
}

test("a page that shows 1,000 tasks, one after another, stays live and keeps nothing of them", async () => {
  const page = pageWith(() => true)
  page.live.tasks(() => {})
  await settle()
  page.connection.hello()
  for (let i = 0; i < 1_000; i++) {
    const task = bar(page, `t${i}`)
    await page.pass(1)
    page.connection.receive({ type: "update", now: page.now, tasks: [snapshot(`t${i}`, 1)] })
    if (i % 2) page.connection.receive({ type: "update", now: page.now, tasks: [ended(`t${i}`, 2)] })
    assert.deepEqual([task.granted, task.seqs.at(-1)], [[true], 1 + (i % 2)], `task ${i}`)
    task.controller.abort()
    await page.pass(4)
  }
  assert.equal(page.live.state, "live")
  assert.ok(Math.max(...page.ticketRequests.map(topics => topics.length)) <= 4)
  assert.deepEqual(page.ticketRequests.at(-1), ["user:1"])
  assert.equal(page.openConnections.length, 1)
  assert.equal([...page.live.snapshots.values()].filter(task => !task.ended).length, 0)
})
