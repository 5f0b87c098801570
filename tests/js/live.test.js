/** The page's line: which rung, when again, with what ticket; by a clock that moves when told. */
import assert from "node:assert/strict"
import test from "node:test"

import { Stage, settle } from "./stage.js"

const snapshot = (id, seq, more = {}) => ({ id, attempt: 1, ended: false, seq, state: "running", ...more })

async function follows(options) {
  const stage = new Stage(options)
  stage.live.tasks(() => {})
  await settle()
  return stage
}

test("nothing is opened before something is followed, and then once", async () => {
  const stage = new Stage()
  await stage.passes(60)
  assert.equal(stage.lines.length, 0)
  stage.live.tasks(() => {})
  stage.live.notices(() => {})
  stage.live.task("a", () => {}, { mine: true })
  await settle()
  assert.deepEqual(stage.lines.map(line => line.name), ["best"])
  assert.equal(stage.line.ticket, "ticket 0")
  assert.equal(stage.line.url, "https://site.example/telltale/live/")
})

test("a visitor with nothing to follow opens nothing", async () => {
  const stage = await follows({ topics: [] })
  await stage.passes(600)
  assert.deepEqual([stage.lines.length, stage.requests.length, stage.live.state], [0, 0, "idle"])
})

test("it is live once the server has said hello", async () => {
  const stage = await follows()
  assert.equal(stage.live.state, "connecting")
  stage.line.hello()
  assert.equal(stage.live.state, "live")
})

test("snapshots go to those who follow the task, only newer ones, until their signal ends", async () => {
  const stage = await follows()
  const life = new AbortController()
  const seen = []
  stage.live.task("a", ({ seq }) => seen.push(seq), { mine: true, signal: life.signal })
  stage.line.hello()
  for (const seq of [1, 3, 2, 3]) stage.line.hear({ type: "update", tasks: [snapshot("a", seq), snapshot("b", seq)] })
  life.abort()
  stage.line.hear({ type: "update", tasks: [snapshot("a", 4)] })
  assert.deepEqual(seen, [1, 3])
})

test("one who comes later is told the newest at once", async () => {
  const stage = await follows()
  stage.line.hello()
  stage.line.hear({ type: "update", tasks: [snapshot("a", 5)] })
  const seen = []
  stage.live.task("a", ({ seq }) => seen.push(seq), { mine: true })
  assert.deepEqual(seen, [5])
})

test("a rung that says nothing for five seconds is given up, after two such the next is tried", async () => {
  const stage = await follows()
  await stage.passes(12)
  assert.deepEqual(stage.lines.map(line => line.name).slice(0, 3), ["best", "best", "middle"])
  assert.equal(stage.open.length, 1)
})

test("refused at once by a proxy it is at the last rung within two seconds", async () => {
  const stage = await follows()
  for (let i = 0; i < 4; i++) {
    stage.line.end()
    await stage.passes(0.4)
  }
  assert.equal(stage.line.name, "last")
  stage.line.hear({ type: "poll", v: 1, now: stage.now, poll_after_s: 2, tasks: [snapshot("a", 1)] })
  assert.equal(stage.live.state, "polling")
  assert.equal(stage.live.snapshots.get("a").seq, 1)
})

test("a transport that the browser forbids by an exception is a failure like any other", async () => {
  const stage = await follows({ forbidden: ["best"] })
  await stage.passes(1)
  assert.deepEqual(stage.lines.map(line => line.name), ["middle"])
})

test("it climbs back while the lower line goes on, and changes over when the better one speaks", async () => {
  const stage = await follows()
  for (let i = 0; i < 2; i++) {
    stage.line.end()
    await stage.passes(0.4)
  }
  const lower = stage.line
  lower.hello()
  await stage.passes(14)
  lower.hear({ type: "ping", n: 2, now: stage.now })
  await stage.passes(14)
  lower.hear({ type: "ping", n: 3, now: stage.now })
  await stage.passes(18)
  assert.equal(stage.line.name, "best")
  assert.deepEqual([lower.isOpen, stage.live.state], [true, "live"])
  stage.line.hello()
  assert.deepEqual([lower.isOpen, stage.line.isOpen, stage.live.state], [false, true, "live"])
  lower.hear({ type: "update", tasks: [snapshot("a", 9)] })
  assert.equal(stage.live.snapshots.size, 0, "a line that was left is not heard")
})

test("a climb that brings nothing leaves the lower line as it was", async () => {
  const stage = await follows({ rungs: ["best", "last"] })
  for (let i = 0; i < 2; i++) {
    stage.line.end()
    await stage.passes(0.4)
  }
  const lower = stage.line
  for (let i = 0; i < 5; i++) {
    lower.hear({ type: "poll", now: stage.now, poll_after_s: 0 })
    await stage.passes(11)
  }
  assert.equal(stage.lines.filter(line => line.name === "best").length, 3)
  assert.deepEqual(stage.open, [lower])
})

test("after a cut it comes back by the same rung and says what it has", async () => {
  const stage = await follows()
  stage.line.hello()
  stage.line.hear({ type: "update", tasks: [snapshot("a", 7)] })
  stage.line.end()
  await settle()
  assert.equal(stage.live.state, "reconnecting")
  await stage.passes(1)
  assert.equal(stage.line.name, "best")
  assert.deepEqual(stage.line.have, { a: [1, false, 7] })
})

test("a line that is silent for longer than the server may be is given up", async () => {
  const stage = await follows()
  stage.line.hello()
  const first = stage.line
  await stage.passes(39)
  assert.equal(first.isOpen, true)
  await stage.passes(2)
  assert.equal(first.isOpen, false)
})

test("while it is not heard, what is shown is true for when it was last heard", async () => {
  const stage = await follows()
  stage.line.hello()
  await stage.passes(5)
  assert.equal(stage.live.now, stage.now)
  stage.line.hear({ type: "ping", n: 2, now: stage.now })
  const heardAt = stage.now
  stage.line.end()
  await settle()
  await stage.passes(0.1)
  assert.equal(stage.live.now, heardAt)
})

test("the ticket is renewed before it runs out, on the open line where that can be", async () => {
  const stage = await follows()
  stage.line.hello()
  for (let i = 0; i < 20; i++) {
    await stage.passes(14)
    stage.line.hear({ type: "ping", n: i, now: stage.now })
  }
  assert.deepEqual(stage.requests, [["user:1"]])
  assert.deepEqual(stage.line.renewed, ["ticket 1"])
  assert.equal(stage.lines.length, 1)
})

test("a line that can't take the new ticket is replaced by one that has it", async () => {
  const stage = await follows({ rungs: ["middle"] })
  for (let i = 0; i < 70; i++) {
    stage.line.hello()
    await stage.passes(4)
  }
  assert.deepEqual([stage.lines.length, stage.line.ticket, stage.open.length], [2, "ticket 1", 1])
})

test("topics that come later are asked for together, with those that were", async () => {
  const stage = await follows()
  stage.line.hello()
  stage.live.task("b", () => {})
  const events = []
  stage.live.topic("project:7", event => events.push(event.name))
  await stage.passes(1)
  assert.deepEqual(stage.requests, [["user:1", "task:b", "project:7"]])
  assert.deepEqual(stage.line.renewed, ["ticket 1"])
  stage.line.hear({ type: "update", events: [{ topic: "project:7", name: "x", data: 1 }, { topic: "other:1", name: "y" }] })
  assert.deepEqual(events, ["x"])
})

test("a visitor without topics of their own gets a line when they follow something", async () => {
  const stage = new Stage({ topics: [] })
  stage.live.task("b", () => {})
  await stage.passes(1)
  assert.deepEqual([stage.requests, stage.line.ticket], [[["task:b"]], "ticket 1"])
})

test("an expired ticket is replaced before coming back", async () => {
  const stage = await follows()
  stage.line.hello()
  stage.line.bye(4402, "at once")
  await stage.passes(0.2)
  assert.deepEqual([stage.requests.length, stage.line.ticket], [1, "ticket 1"])
})

test("a page that slept past its ticket fetches one before it opens anything", async () => {
  const stage = await follows()
  stage.line.hello()
  stage.live.leave()
  stage.now += 4_000
  stage.live.wake()
  await settle()
  assert.equal(stage.line.ticket, "ticket 1")
})

test("the server that says later is left in peace for longer and longer", async () => {
  const stage = await follows()
  const opened = []
  for (let i = 0; i < 6; i++) {
    opened.push(stage.now)
    const { length } = stage.lines
    stage.line.bye(4429, "later")
    while (stage.lines.length === length) await stage.passes(0.1)
  }
  const waits = opened.slice(1).map((at, i) => at - opened[i])
  assert.ok(waits[4] > 8 && waits[0] >= 0.5, `${waits}`)
})

test("sent away with many others, it comes back at its own moment of the time that they were given", async () => {
  const stage = await follows()
  stage.line.bye(4000, "later", { within_s: 20 })
  await stage.passes(9.9)
  assert.equal(stage.open.length, 0)
  await stage.passes(0.2)
  assert.equal(stage.open.length, 1)
})

test("refused for good, it tries a fresh ticket once and then says so and rests", async () => {
  const stage = await follows()
  stage.line.bye(4401, "never")
  await stage.passes(1)
  assert.equal(stage.line.ticket, "ticket 1")
  stage.line.bye(4401, "never")
  await stage.passes(600)
  assert.deepEqual([stage.live.state, stage.lines.length, stage.requests.length], ["signed out", 2, 1])
})

test("signed out elsewhere, it says so and asks no more", async () => {
  const stage = await follows()
  stage.line.hello()
  stage.answer = () => ({ status: 404, body: {} })
  for (let i = 0; i < 30; i++) {
    await stage.passes(14)
    stage.line.hear({ type: "ping", n: i, now: stage.now })
  }
  assert.deepEqual([stage.live.state, stage.requests.length, stage.open.length], ["signed out", 1, 0])
})

test("a ticket that can't be fetched for now is asked for again", async () => {
  const stage = await follows()
  stage.line.hello()
  stage.answer = () => new Error("no network")
  stage.line.bye(4402, "at once")
  await stage.passes(10)
  assert.ok(stage.requests.length >= 2)
  stage.answer = topics => ({ status: 200, body: { ticket: "good", topics, expires_at: stage.now + 300 } })
  await stage.passes(60)
  assert.equal(stage.line.ticket, "good")
})

test("coming back to a page whose line was heard lately keeps it, an old one is replaced at once", async () => {
  const stage = await follows()
  stage.line.hello()
  await stage.passes(10)
  stage.live.wake()
  assert.equal(stage.lines.length, 1)
  assert.equal(stage.line.nudged, true)
  await stage.passes(14)
  stage.live.wake()
  await settle()
  assert.deepEqual([stage.lines.length, stage.open.length], [2, 1])
})

test("left for another page it ends everything, and comes back with it", async () => {
  const stage = await follows()
  stage.line.hello()
  stage.live.leave()
  await stage.passes(600)
  assert.deepEqual([stage.open.length, stage.lines.length, stage.requests.length], [0, 1, 0])
  stage.live.wake()
  await settle()
  assert.equal(stage.open.length, 1)
})

test("hidden for long, a page on a lower rung lets its line go; on the best it keeps it", async () => {
  const low = await follows()
  for (let i = 0; i < 2; i++) {
    low.line.end()
    await low.passes(0.4)
  }
  low.line.hello()
  low.live.hide()
  const best = await follows()
  best.line.hello()
  best.live.hide()
  for (const stage of [low, best]) {
    for (let i = 0; i < 6; i++) {
      await stage.passes(14)
      if (stage.line.isOpen) stage.line.hear({ type: "ping", n: 2, now: stage.now })
    }
  }
  assert.deepEqual([low.open.length, best.open.length], [0, 1])
  low.live.wake()
  await settle()
  assert.equal(low.open.length, 1)
})

test("without a network it says so, and tries at once when there is one", async () => {
  const stage = await follows()
  stage.line.hello()
  stage.isOnline = false
  stage.live.lose()
  assert.deepEqual([stage.live.state, stage.open.length], ["offline", 0])
  stage.isOnline = true
  stage.live.wake()
  await settle()
  stage.line.hello()
  assert.equal(stage.live.state, "live")
})

test("a server away for a minute is not hammered, and found again when it is back", async () => {
  const stage = await follows()
  stage.line.hello()
  for (let i = 0; i < 600; i++) {
    for (const line of stage.open) line.end()
    await stage.passes(0.1)
  }
  assert.ok(stage.lines.length < 25, `${stage.lines.length} attempts`)
  const before = stage.now
  while (!stage.open.length) await stage.passes(0.5)
  assert.ok(stage.now - before < 31)
})

test("a listener that comes later hears the notices that still wait, not those decided", async () => {
  const stage = await follows()
  stage.line.hello()
  stage.line.hear({ type: "update", notices: [{ id: "n1" }, { id: "n2" }, { id: "n3" }] })
  stage.live.decided("n2")
  const heard = []
  stage.live.notices(({ id }) => heard.push(id))
  stage.line.hear({ type: "update", notices: [{ id: "n3" }, { id: "n4" }] })
  assert.deepEqual(heard, ["n1", "n3", "n4"])
})

test("of notices that no page takes a thousand are kept", async () => {
  const stage = await follows()
  stage.line.hello()
  stage.line.hear({ type: "update", notices: Array.from({ length: 1_200 }, (_, i) => ({ id: `n${i}` })) })
  const heard = []
  stage.live.notices(({ id }) => heard.push(id))
  assert.deepEqual([heard.length, heard[0], heard.at(-1)], [1_000, "n200", "n1199"])
})
