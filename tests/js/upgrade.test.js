/** F38: pages of earlier versions with this server, and this page with earlier and newer servers. */
import assert from "node:assert/strict"
import { existsSync, readFileSync, readdirSync } from "node:fs"
import test from "node:test"

import { AGAIN, CLOSE } from "telltale/live/protocol.js"

import { SimulatedPage } from "./simulated-page.js"
import { traces } from "./traces.js"

const FOLDER = new URL("../upgrade/", import.meta.url)
const inFolder = path => new URL(path, FOLDER)
const versions = readdirSync(FOLDER).filter(name => existsSync(inFolder(`${name}/client.mjs`)))
const load = (version, name) => JSON.parse(readFileSync(inFolder(`${version}/${name}.json`), "utf-8"))
const HOUR = 3_600

/** For an hour, let the server close each connection with this reason. */
async function refuse(page, code, again) {
  for (let passed = 0; passed < HOUR; passed += 1) {
    if (page.connection.isOpen) page.connection.bye(code, again)
    await page.pass(1)
  }
}

class Socket {
  static last = null
  readyState = 1
  sent = []

  constructor() {
    Socket.last = this
  }

  send(text) {
    this.sent.push(JSON.parse(text))
  }

  close() {
    this.readyState = 3
  }
}

test("there is a record of an earlier version", () => assert.ok(versions.length >= 1))

for (const version of versions) {
  const client = await import(inFolder(`${version}/client.mjs`))

  for (const trace of traces) {
    test(`F38: the page of ${version} shows what this server sends: ${trace.name}`, () => {
      const snapshots = new client.Snapshots()
      for (const frame of trace.frames) snapshots.merge(frame)
      assert.deepEqual(Object.fromEntries(snapshots.tasks), trace.expected.tasks)
      assert.deepEqual(snapshots.seen, trace.expected.notices)
    })
  }

  test(`F38: the socket of ${version} says what it said, and acknowledges the frames of this server`, () => {
    const messages = []
    const recorded = load(version, "client")
    const { ticket, have } = recorded.hello
    const options = { url: "https://site.example/live/", ticket: () => ticket, have: () => have }
    client.websocket({ ...options, onMessage: message => messages.push(message), onEnd() {} }, { WebSocket: Socket })
    const socket = Socket.last
    socket.onopen()
    const frames = traces.flatMap(trace => trace.frames).filter(frame => frame.type !== "bye")
    for (const frame of frames) socket.onmessage({ data: JSON.stringify(frame) })
    socket.onmessage({ data: JSON.stringify({ type: "ping", n: 1_000, now: 1 }) })
    assert.deepEqual(socket.sent[0], recorded.hello)
    assert.deepEqual(socket.sent.at(-1), { type: "ack", n: 1_000 })
    assert.equal(messages.length, frames.length + 1)
  })

  test(`F38: this page shows what the server of ${version} sends`, async () => {
    const page = await SimulatedPage.following()
    const shown = []
    const events = []
    page.live.tasks(snapshot => shown.push(snapshot))
    page.live.topic("project:7", event => events.push(event.name))
    for (const frame of load(version, "frames").filter(({ type }) => type !== "bye")) page.connection.receive(frame)
    assert.equal(page.live.state, "live")
    assert.ok(shown.length >= 5)
    assert.deepEqual(events, ["build.finished"])
  })
}

test("F38: unknown fields, states and messages of a newer server disturb nothing", async () => {
  const page = await SimulatedPage.following()
  const shown = []
  page.live.tasks(({ seq, state }) => shown.push([seq, state]))
  page.connection.hello({ colour: "green", v: 2 })
  page.connection.receive({ type: "weather", colour: "green" })
  const snapshot = { id: "a", attempt: 1, ended: false, progress: {}, colour: "green" }
  page.connection.receive({ type: "update", n: 2, tasks: [{ ...snapshot, seq: 1, state: "running" }], pictures: [1] })
  page.connection.receive({ type: "update", n: 3, tasks: [{ ...snapshot, seq: 2, state: "paused" }] })
  page.connection.receive({ type: "update", n: 4, tasks: [{ ...snapshot, seq: 3, state: "running" }] })
  assert.deepEqual(shown, [[1, "running"], [2, "paused"], [3, "running"]])
  assert.equal(page.live.state, "live")
})

test("F38: a page that the server refuses for its protocol stops, instead of asking for ever", async () => {
  const page = await SimulatedPage.following()
  await refuse(page, CLOSE.VERSION, AGAIN.NEVER)
  assert.ok(page.connections.length <= 3, `${page.connections.length} connections in an hour`)
})

test("F38: a page that is closed for an unknown reason, again and again, returns more and more seldom", async () => {
  const page = await SimulatedPage.following()
  await refuse(page, 4999, "when the moon is full")
  assert.ok(page.connections.length > 10, `${page.connections.length} connections in an hour`)
  assert.ok(page.connections.length < HOUR / 10, `${page.connections.length} connections in an hour`)
})
