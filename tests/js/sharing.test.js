/** One stream for all tabs of a person: who has it, what each tab gets, and who takes over; in simulated time. */
import assert from "node:assert/strict"
import test from "node:test"

import { visiblePart } from "telltale/sharing/tab-messages.js"

import { SimulatedBrowser, eightTabs } from "./simulated-tabs.js"

const leaderOf = browser => browser.openStreams[0].tab
const seqsOf = (browser, id) => browser.tabs.filter(tab => tab.isRunning).map(tab => tab.shown.get(id))

test("eight tabs have one stream, all are live, and all get what changes", async () => {
  const browser = await eightTabs()
  assert.equal(browser.openStreams.length, 1)
  assert.deepEqual(browser.tabs.map(tab => tab.live.state), Array(8).fill("live"))
  for (const seq of [1, 2, 3]) browser.change("a", seq)
  await browser.pass(0)
  assert.deepEqual(seqsOf(browser, "a"), Array(8).fill(3))
})

test("tabs go on sharing for an hour, with a read of each now and then", async () => {
  const browser = await eightTabs()
  for (let minute = 0; minute < 60; minute++) {
    for (let part = 0; part < 4; part++) {
      await browser.pass(15)
      browser.send(() => true, { type: "ping" })
    }
  }
  assert.equal(browser.openStreams.length, 1)
  assert.ok(browser.tabs.every(tab => tab.isLive))
  assert.ok(browser.reads.length <= 7 * 150, `${browser.reads.length} reads`)
})

for (const [how, end] of [
  ["is closed", tab => tab.close()],
  ["crashes", tab => tab.kill()],
  ["is frozen, or hangs", tab => tab.freeze()],
]) {
  test(`when the leading tab ${how}, another leads within 5 s, and nothing is missed`, async () => {
    const browser = await eightTabs()
    browser.change("a", 1)
    const leader = leaderOf(browser)
    end(leader)
    browser.change("a", 2)
    await browser.pass(5)
    const others = browser.tabs.filter(tab => tab !== leader)
    const streams = browser.openStreams.filter(stream => stream.tab !== leader)
    assert.equal(streams.length, 1)
    assert.ok(others.includes(streams[0].tab))
    assert.deepEqual(seqsOf(browser, "a"), Array(7).fill(2))
    browser.change("a", 3)
    await browser.pass(0)
    assert.deepEqual(seqsOf(browser, "a"), Array(7).fill(3))
    assert.ok(others.every(tab => tab.isLive))
    // A takeover is no outage: no page says that it reconnects.
    assert.deepEqual(others.flatMap(tab => tab.states).filter(state => state === "reconnecting"), [])
  })
}

test("a tab that was frozen while it led follows when it runs again", async () => {
  const browser = await eightTabs()
  const leader = leaderOf(browser)
  leader.freeze()
  await browser.pass(6)
  leader.isRunning = true
  leader.live.suspend() // as at the event `freeze`, which a page that hangs never gets
  leader.live.resume()
  await browser.pass(3)
  assert.equal(browser.openStreams.length, 1)
  assert.notEqual(leaderOf(browser), leader)
  assert.ok(leader.isLive)
})

test("when every tab in turn is killed while it leads, the last one is live", async () => {
  const browser = await eightTabs()
  for (let n = 0; n < 7; n++) {
    leaderOf(browser).kill()
    browser.change("a", n)
    await browser.pass(5)
    assert.equal(browser.openStreams.length, 1)
  }
  assert.deepEqual(seqsOf(browser, "a"), [6])
  assert.ok(leaderOf(browser).isLive)
})

test("what one tab follows beside the person's own is followed for it, and no other tab sees it", async () => {
  const browser = await eightTabs()
  const [, , tab] = browser.tabs
  tab.live.task("theirs", () => {})
  tab.live.topic("project:7", event => tab.events.push(event.name))
  await browser.pass(2)
  assert.deepEqual(browser.openStreams.map(stream => stream.topics), [["user:1", "task:theirs", "project:7"]])
  browser.change("theirs", 4, "user:2")
  browser.change("own", 5)
  const events = [{ topic: "project:7", name: "built", data: null }]
  browser.send(stream => stream.topics.includes("project:7"), { events })
  await browser.pass(0)
  assert.deepEqual(browser.tabs.map(it => it.shown.get("theirs")), [undefined, undefined, 4, ...Array(5).fill(undefined)])
  assert.deepEqual(seqsOf(browser, "own"), Array(8).fill(5))
  assert.deepEqual(tab.events, ["built"])
})

test("what a closed tab had followed is given up", async () => {
  const browser = await eightTabs()
  const tab = browser.open({ tasks: ["theirs"] })
  await browser.pass(2)
  assert.ok(browser.openStreams[0].topics.includes("task:theirs"))
  tab.close()
  await browser.pass(5)
  assert.deepEqual(browser.openStreams.map(stream => stream.topics), [["user:1"]])
})

test("a tab whose topics the leader does not get opens a connection of its own", async () => {
  const browser = await eightTabs()
  browser.refusals.set("task:theirs", [leaderOf(browser)])
  const tab = browser.open({ tasks: ["theirs"] })
  await browser.pass(6)
  assert.deepEqual(browser.openStreams.map(stream => stream.topics), [["user:1"], ["user:1", "task:theirs"]])
  browser.change("theirs", 4, "user:2")
  await browser.pass(0)
  assert.equal(tab.shown.get("theirs"), 4)
  assert.ok(tab.isLive)
})

test("s49 tabs of different people share nothing", async () => {
  const browser = new SimulatedBrowser()
  const tabs = [browser.open(), browser.open({ topics: ["user:2"] }), browser.open()]
  await browser.pass(3)
  assert.deepEqual(browser.openStreams.map(stream => stream.topics).sort(), [["user:1"], ["user:2"]])
  browser.change("a", 1)
  browser.change("b", 2, "user:2")
  await browser.pass(30)
  assert.deepEqual(tabs.map(tab => [...tab.shown]), [[["a", 1]], [["b", 2]], [["a", 1]]])
})

test("a page without topics of the visitor's own has its own connection", async () => {
  const browser = new SimulatedBrowser()
  for (let n = 0; n < 2; n++) browser.open({ topics: ["project:7"] })
  await browser.pass(3)
  assert.equal(browser.openStreams.length, 2)
})

test("a sign-out ends all tabs at once, and none of them leads afterwards", async () => {
  const browser = await eightTabs()
  browser.signOut()
  await browser.pass(3)
  assert.deepEqual(browser.tabs.map(tab => tab.live.state), Array(8).fill("signed out"))
  assert.equal(browser.openStreams.length, 0)
  browser.change("a", 9)
  await browser.pass(60)
  assert.deepEqual(seqsOf(browser, "a"), Array(8).fill(undefined))
})

test("s49 when another person signs in, all tabs share that person's stream, and forget the other's tasks", async () => {
  const browser = await eightTabs()
  browser.change("a", 1)
  await browser.pass(0)
  browser.signInAs("user:2")
  await browser.pass(5)
  assert.deepEqual(browser.openStreams.map(stream => stream.topics), [["user:2"]])
  assert.ok(browser.tabs.every(tab => tab.isLive && !tab.live.snapshots.has("a")))
  browser.change("a", 2)
  browser.change("b", 3, "user:2")
  await browser.pass(30)
  assert.deepEqual(seqsOf(browser, "a"), Array(8).fill(1))
  assert.deepEqual(seqsOf(browser, "b"), Array(8).fill(3))
})

test("tabs share a long poll as they share a stream", async () => {
  const browser = await eightTabs({ polls: true })
  assert.equal(browser.openStreams.length, 1)
  assert.ok(browser.tabs.every(tab => tab.isLive))
  browser.change("a", 1)
  await browser.pass(1)
  assert.deepEqual(seqsOf(browser, "a"), Array(8).fill(1))
})

test("when the server is away, all tabs say so, and share again when it is back", async () => {
  const browser = await eightTabs()
  browser.isUp = false
  for (const stream of browser.openStreams) stream.end()
  await browser.pass(10)
  assert.ok(browser.tabs.every(tab => !tab.isLive))
  browser.change("a", 7)
  browser.isUp = true
  await browser.pass(60)
  assert.deepEqual(browser.tabs.map(tab => tab.live.state), Array(8).fill("live"))
  assert.equal(browser.openStreams.length, 1)
  assert.deepEqual(seqsOf(browser, "a"), Array(8).fill(7))
})

test("every tab gets a notice, and only the server decides which of them shows it", async () => {
  const browser = await eightTabs()
  const notices = [{ id: "n1", topic: "user:1", text: "Done" }]
  browser.send(() => true, { notices })
  await browser.pass(0)
  assert.deepEqual(browser.tabs.map(tab => tab.notices), Array(8).fill(["n1"]))
})

test("hidden tabs leave, and one in sight leads", async () => {
  const browser = await eightTabs()
  const inSight = browser.tabs[5]
  for (const tab of browser.tabs) if (tab !== inSight) tab.live.suspend()
  await browser.pass(2)
  assert.deepEqual(browser.openStreams.map(stream => stream.tab), [inSight])
  assert.ok(inSight.isLive)
  for (const tab of browser.tabs) tab.live.resume()
  await browser.pass(2)
  assert.equal(browser.openStreams.length, 1)
  assert.ok(browser.tabs.every(tab => tab.isLive))
})

test("of a message, a tab sees what its ticket covers", () => {
  const message = {
    type: "update",
    now: 1,
    tasks: [{ id: "own" }, { id: "theirs" }, { id: "mine-by-name" }],
    notices: [{ id: "n", topic: "user:1" }, { id: "m", topic: "user:2" }],
    events: [{ topic: "project:7" }, { topic: "project:8" }],
    corrected: ["own", "theirs"],
  }
  const covered = new Set(["user:1", "task:mine-by-name", "project:8"])
  const shared = ["user:1", "task:theirs", "task:mine-by-name", "project:7", "project:8"]
  assert.deepEqual(visiblePart(message, shared, topic => covered.has(topic)), {
    type: "update",
    now: 1,
    tasks: [{ id: "own" }, { id: "mine-by-name" }],
    notices: [{ id: "n", topic: "user:1" }],
    events: [{ topic: "project:8" }],
    corrected: ["own"],
  })
})
