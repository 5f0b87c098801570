/** The transport by a Pusher service: what it subscribes, when it reads, what it passes on, and when it ends. */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import test from "node:test"

import { Authorizer } from "telltale/live/pusher-auth.js"
import { UPDATE } from "telltale/live/pusher-connection.js"
import { pusherTransport } from "telltale/live/pusher.js"
import { AGAIN, CLOSE } from "telltale/live/protocol.js"

import { fakePusher } from "./fake-pusher.js"
import { Recorder } from "./recorder.js"
import { Timers, settle } from "./simulated-page.js"

const CSRF = { csrf: { token: "T", cookie: null } }
const SERVICE = { key: "K", options: { cluster: "eu" }, auth: "/pusher/auth/", script: null }
const json = (body, status = 200) => new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } })

/** A page with one connection by the transport, in simulated time. The site answers polls and signs. */
class PusherPage {
  channels = { "private-user-7": "user:7" }
  tasks = { a: [1, false, 2] }
  polls = []
  signatures = []
  /** Polls that the test answers itself, while it holds them. */
  held = null
  answerPoll = () => json({ type: "poll", v: 1, now: this.timers.now, limits: {}, tasks: [], notices: [], events: [{}], poll_after_s: 2 })
  answerSignatures = () => json({ auth: "K:signature" })
  recorder = new Recorder()
  timers = new Timers(1_000, 1_000)

  constructor({ Pusher = fakePusher() } = {}) {
    this.Pusher = Pusher
    this.open_ = pusherTransport(SERVICE, CSRF, async () => Pusher)
  }

  static async open(options) {
    const page = new PusherPage(options)
    await page.open()
    return page
  }

  /** A page whose connection is established: all channels are subscribed, and the snapshots read. */
  static async established(options) {
    const page = await PusherPage.open(options)
    await page.establish()
    return page
  }

  async open() {
    const options = { ...this.recorder.options, channels: () => this.channels, have: () => this.tasks }
    const env = { ...this.timers.env, now: () => this.timers.now, fetch: (...request) => this.fetch(...request) }
    this.transport = this.open_(options, env)
    await settle()
  }

  async establish() {
    this.client.become("connected")
    for (const name of this.client.channels.keys()) this.client.succeed(name)
    await settle()
  }

  async fetch(url, { body, signal }) {
    if (url === SERVICE.auth) {
      this.signatures.push(body)
      return this.answerSignatures()
    }
    this.polls.push(JSON.parse(body))
    if (this.held) await new Promise((resolve, reject) => {
      this.held.push(resolve)
      signal.addEventListener("abort", reject)
    })
    return this.answerPoll()
  }

  get client() {
    return this.Pusher.clients.at(-1)
  }

  get messages() {
    return this.recorder.messages
  }

  /** The messages that tell something: no pings. */
  get news() {
    return this.messages.filter(message => message.type !== "ping")
  }

  /** The service delivers an event. */
  receive(name, event, data) {
    this.client.channels.get(name).emit(event, data)
  }

  /** Ask for a signature, as pusher-js does for a private channel. */
  authorize(channelName, socketId = "1.2") {
    return new Promise(resolve =>
      this.client.options.channelAuthorization.customHandler({ socketId, channelName }, (...result) => resolve(result)),
    )
  }
}

test("the name of the event that carries snapshots is the publisher's", () => {
  const source = readFileSync(new URL("../../src/telltale/pusher/publisher/events.py", import.meta.url), "utf-8")
  assert.equal(/^UPDATE: Final = "([^"]+)"$/m.exec(source)[1], UPDATE)
})

test("the client gets the key and the options of the page", async () => {
  const page = await PusherPage.open()
  assert.equal(page.client.key, "K")
  assert.equal(page.client.options.cluster, "eu")
})

test("the snapshots are read once, after all channels are subscribed, and that establishes the connection", async () => {
  const page = new PusherPage()
  page.channels = { "private-user-7": "user:7", "private-project-7": "project:7" }
  await page.open()
  assert.deepEqual(page.client.calls, ["subscribe private-user-7", "subscribe private-project-7", "connect"])
  page.client.become("connected")
  page.client.succeed("private-user-7")
  await settle()
  assert.deepEqual([page.polls.length, page.messages.length], [0, 0])
  page.client.succeed("private-project-7")
  await settle()
  assert.deepEqual(page.polls, [{ have: page.tasks, seen: ["n1"], wait_s: 0 }])
  assert.deepEqual(page.messages.map(({ type, poll_after_s }) => [type, poll_after_s]), [["hello", 0]])
})

test("an update that arrives before the first read is passed on", async () => {
  const page = await PusherPage.open()
  page.held = []
  await page.establish()
  page.receive("private-user-7", UPDATE, { tasks: [{ id: "a", seq: 9 }] })
  page.held.forEach(answer => answer())
  await settle()
  assert.deepEqual(page.messages.map(message => message.type), ["update", "hello"])
})

test("an update is passed on without the publisher's time", async () => {
  const page = await PusherPage.established()
  page.receive("private-user-7", UPDATE, { type: "update", n: 0, now: 9e9, tasks: [{ id: "a" }], notices: [{ id: "n" }], events: [] })
  assert.deepEqual(page.messages.at(-1), { type: "update", tasks: [{ id: "a" }], notices: [{ id: "n" }] })
})

test("a site's event is passed on with its topic, its name and its data", async () => {
  const page = new PusherPage()
  page.channels = { "private-project-7": "project:7" }
  await page.open()
  await page.establish()
  page.receive("private-project-7", "build.finished", { ok: true })
  assert.deepEqual(page.messages.at(-1), { type: "update", events: [{ topic: "project:7", name: "build.finished", data: { ok: true } }] })
})

test("events of pusher-js, of the service and of other subscribers are not passed on", async () => {
  const page = await PusherPage.established()
  for (const event of ["pusher:member_added", "pusher_internal:x", "client-build.finished"]) page.receive("private-user-7", event, {})
  page.receive("private-user-7", UPDATE, "no object")
  assert.deepEqual(page.news.map(message => message.type), ["hello"])
})

test("events in the answer to a poll are left out: they come by the channels as well", async () => {
  const page = await PusherPage.established()
  assert.deepEqual(page.messages[0].events, [])
})

test("while a task is under way, the page reads every half minute, else every five minutes", async () => {
  const page = await PusherPage.established()
  await page.timers.pass(300)
  assert.equal(page.polls.length, 11)
  page.tasks = { a: [1, true, 3] }
  await page.timers.pass(620)
  assert.ok(page.polls.length <= 14, String(page.polls.length))
  assert.ok(page.polls.length >= 12, String(page.polls.length))
  assert.deepEqual(page.news.map(message => message.type).slice(0, 3), ["hello", "update", "update"])
})

test("something is passed on every ten seconds while the service is connected, so that the connection does not look dead", async () => {
  const page = await PusherPage.established()
  await page.timers.pass(60)
  assert.equal(page.messages.filter(message => message.type === "ping").length, 6)
  assert.ok(page.messages.every(message => message.type !== "ping" || message.now === undefined))
})

test("a new ticket subscribes its new channels, gives up the others, and reads again", async () => {
  const page = await PusherPage.established()
  page.channels = { "private-user-8": "user:8" }
  assert.equal(page.transport.updateTicket("new"), true)
  assert.deepEqual(page.client.calls.slice(-2), ["unsubscribe private-user-7", "subscribe private-user-8"])
  assert.equal(page.polls.length, 1)
  page.client.succeed("private-user-8")
  await settle()
  assert.equal(page.polls.length, 2)
  assert.equal(page.messages.at(-1).type, "update")
})

test("a channel that is given up before it is subscribed holds up no read", async () => {
  const page = await PusherPage.established()
  page.channels = { "private-user-7": "user:7", "private-task-a": "task:a", "private-task-b": "task:b" }
  page.transport.updateTicket()
  page.client.succeed("private-task-b")
  await settle()
  assert.equal(page.polls.length, 1)
  page.channels = { "private-user-7": "user:7", "private-task-b": "task:b" }
  page.transport.updateTicket()
  await settle()
  assert.equal(page.polls.length, 2)
})

test("a new ticket with the same topics changes nothing", async () => {
  const page = await PusherPage.established()
  const before = [...page.client.calls]
  page.transport.updateTicket("new")
  await settle()
  assert.deepEqual([page.client.calls, page.polls.length], [before, 1])
})

test("a read that is asked for during another follows it, because the other may have begun too early", async () => {
  const page = await PusherPage.established()
  page.held = []
  page.transport.pollNow()
  page.transport.pollNow()
  page.transport.pollNow()
  await settle()
  assert.equal(page.polls.length, 2)
  page.held.shift()()
  await settle()
  assert.equal(page.polls.length, 3)
  page.held.shift()()
  await settle()
  assert.equal(page.polls.length, 3)
})

for (const [name, lose] of [
  ["is closed and pusher-js waits", client => client.connection.emit("connecting_in", 1)],
  ["is closed and pusher-js connects at once", client => client.become("connecting")],
  ["is refused by the service", client => client.become("disconnected")],
]) {
  test(`a connection that ${name} has ended, and pusher-js does not go on by itself`, async () => {
    const page = await PusherPage.established()
    lose(page.client)
    await settle()
    assert.equal(page.recorder.ends, 1)
    assert.deepEqual(page.client.calls.slice(-2), ["disconnect", "unsubscribe private-user-7"])
    assert.equal(page.client.connection.isBound, false)
    await page.timers.pass(600)
    assert.equal(page.polls.length, 1)
  })
}

test("a service that can't be reached is an end", async () => {
  for (const state of ["unavailable", "failed"]) {
    const page = await PusherPage.open()
    page.client.become(state)
    await settle()
    assert.equal(page.recorder.ends, 1, state)
  }
})

test("an error before the first answer is an end, and later it is not", async () => {
  const early = await PusherPage.open()
  early.client.become("connected")
  early.client.connection.emit("error", { type: "PusherError", data: { code: null, message: "Invalid signature" } })
  assert.equal(early.recorder.ends, 1)
  const late = await PusherPage.established()
  late.client.connection.emit("error", { type: "PusherError", data: { code: 4301 } })
  assert.equal(late.recorder.ends, 0)
})

test("the next connection uses the same client, and reads again", async () => {
  const page = await PusherPage.established()
  page.client.connection.emit("connecting_in", 1)
  await settle()
  await page.open()
  await page.establish()
  assert.equal(page.Pusher.clients.length, 1)
  assert.deepEqual([page.polls.length, page.messages.at(-1).type], [2, "hello"])
})

test("after `close`, nothing is reported", async () => {
  const page = await PusherPage.established()
  const count = page.messages.length
  const channel = page.client.channels.get("private-user-7")
  page.transport.close()
  channel.emit(UPDATE, { tasks: [{ id: "a" }] })
  await page.timers.pass(600)
  assert.deepEqual([page.messages.length, page.recorder.ends, page.client.connection.state], [count, 0, "disconnected"])
})

test("a connection that is closed before pusher-js is found opens nothing", async () => {
  const page = new PusherPage()
  const opening = page.open()
  page.transport.close()
  await opening
  assert.deepEqual([page.client.calls, page.recorder.ends], [[], 0])
})

test("without pusher-js, without a channel for each topic, or without encryption, the transport ends at once", async () => {
  const missing = await PusherPage.open({ Pusher: null })
  const unnamed = new PusherPage()
  unnamed.channels = null
  await unnamed.open()
  const encrypted = await PusherPage.open({ Pusher: fakePusher({ forbidden: ["private-user-7"] }) })
  for (const page of [missing, unnamed, encrypted]) assert.equal(page.recorder.ends, 1)
})

test("a new ticket with a topic that has no channel is not taken", async () => {
  const page = await PusherPage.established()
  page.channels = null
  assert.equal(page.transport.updateTicket("new"), false)
})

// Refusals and outages of the site

test("a channel that the site refuses asks for a new ticket", async () => {
  const page = await PusherPage.open()
  page.answerSignatures = () => json({ error: "…" }, 403)
  const [error] = await page.authorize("private-user-7")
  assert.ok(error instanceof Error)
  page.receive("private-user-7", "pusher:subscription_error", { type: "AuthError" })
  assert.deepEqual(page.messages, [{ type: "bye", code: CLOSE.EXPIRED, again: AGAIN.AT_ONCE }])
  assert.equal(page.recorder.ends, 1)
})

test("a channel for which the site could not be asked is a failure, and no refusal", async () => {
  for (const answer of [() => json({}, 502), () => Promise.reject(new Error("no network"))]) {
    const page = await PusherPage.open()
    page.answerSignatures = answer
    await page.authorize("private-user-7")
    page.receive("private-user-7", "pusher:subscription_error", { type: "AuthError" })
    assert.deepEqual([page.messages, page.recorder.ends], [[], 1])
  }
})

test("a first read that fails is an end", async () => {
  for (const answer of [() => json({}, 503), () => Promise.reject(new Error("no network"))]) {
    const page = await PusherPage.open()
    page.answerPoll = answer
    await page.establish()
    assert.deepEqual([page.messages, page.recorder.ends], [[], 1])
  }
})

test("while the site can't be read, an established connection goes on", async () => {
  const page = await PusherPage.established()
  page.answerPoll = () => json({}, 503)
  page.transport.pollNow()
  await settle()
  page.receive("private-user-7", UPDATE, { tasks: [{ id: "a" }] })
  assert.deepEqual([page.news.map(message => message.type), page.recorder.ends], [["hello", "update"], 0])
})

test("a read that is answered by a bye passes it on and ends", async () => {
  const page = await PusherPage.established()
  page.answerPoll = () => json({ type: "bye", code: CLOSE.EXPIRED, again: AGAIN.AT_ONCE }, 401)
  page.transport.pollNow()
  await settle()
  assert.deepEqual([page.news.at(-1).code, page.recorder.ends], [CLOSE.EXPIRED, 1])
})

// Signatures

const authorizerWith = answer => {
  const requests = []
  const authorizer = new Authorizer("/pusher/auth/", CSRF)
  authorizer.env = {
    fetch: async (url, options) => {
      requests.push({ url, ...options })
      return answer()
    },
  }
  const ask = (channelName, socketId = "1.2") =>
    new Promise(resolve => authorizer.authorize({ socketId, channelName }, (...result) => resolve(result)))
  return { authorizer, requests, ask }
}

test("channels that are subscribed together are signed by one request, with token and cookies", async () => {
  const { requests, ask } = authorizerWith(() => json({ channels: { a: { auth: "A" }, b: { auth: "B" } } }))
  assert.deepEqual(await Promise.all([ask("a"), ask("b")]), [[null, { auth: "A" }], [null, { auth: "B" }]])
  const [{ url, method, body, headers, credentials, redirect }] = requests
  assert.deepEqual([requests.length, url, method, String(body)], [1, "/pusher/auth/", "POST", "socket_id=1.2&channel_name=a&channel_name=b"])
  assert.deepEqual([headers["X-CSRFToken"], credentials, redirect], ["T", "same-origin", "manual"])
})

test("one channel gets the answer as it is; channels of another connection are asked for apart", async () => {
  const { requests, ask } = authorizerWith(() => json({ auth: "A", channel_data: "{}" }))
  const answers = await Promise.all([ask("a"), ask("a", "3.4")])
  assert.deepEqual(answers, Array(2).fill([null, { auth: "A", channel_data: "{}" }]))
  assert.equal(requests.length, 2)
})

test("of several channels, those that the answer leaves out are refused", async () => {
  const { authorizer, ask } = authorizerWith(() => json({ channels: { a: { auth: "A" } } }))
  const [, [error]] = await Promise.all([ask("a"), ask("b")])
  assert.match(error.message, /no signature for b/)
  assert.deepEqual([authorizer.hasRefused("a"), authorizer.hasRefused("b")], [false, true])
})

test("a refusal is forgotten once the site signs", async () => {
  let status = 403
  const { authorizer, ask } = authorizerWith(() => json({ auth: "A" }, status))
  await ask("a")
  assert.equal(authorizer.hasRefused("a"), true)
  status = 200
  await ask("a")
  assert.equal(authorizer.hasRefused("a"), false)
})

test("a login page instead of an answer is a refusal", async () => {
  const { authorizer, ask } = authorizerWith(() => new Response("<html>", { headers: { "Content-Type": "text/html" } }))
  await ask("a")
  assert.equal(authorizer.hasRefused("a"), true)
})
