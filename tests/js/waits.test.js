/**
 * Every wait of the page for the network has an end. The table lists all; a wait that is added must be entered, with its
 * limit. `tests/test_waits.py` does the same for the server.
 */
import assert from "node:assert/strict"
import { readFileSync, readdirSync } from "node:fs"
import test from "node:test"

import { NoticeQueue } from "telltale/elements/notice-queue.js"
import { TimedOut, limitedFetch } from "telltale/limited-fetch.js"
import { polling, requestPoll } from "telltale/live/polling.js"
import { Authorizer } from "telltale/live/pusher-auth.js"
import { sse } from "telltale/live/sse.js"
import { confirmNotice, fetchActions, fetchPage, fetchTicket, fetchTimeline, postSubscription, submitAction, takeNotice } from "telltale/requests.js"
import { withReturnValue } from "telltale/return-value.js"

import { Recorder } from "./recorder.js"
import { SimulatedPage, Timers, settle } from "./simulated-page.js"

const page = {
  urls: { ticket: "/ticket/", take: "/take/00000000-0000-0000-0000-000000000000/" },
  csrf: { token: "c", cookie: null },
}
const live = { page, ticket: "T" }
const signal = () => new AbortController().signal
const authorize = env => {
  const authorizer = Object.assign(new Authorizer("/auth/", page), { env })
  return new Promise((resolve, reject) =>
    authorizer.authorize({ socketId: "1", channelName: "a" }, (error, answer) => (error ? reject(error) : resolve(answer))),
  )
}
const ending = transport => env =>
  new Promise((_resolve, reject) => {
    const { options } = new Recorder()
    transport({ ...options, onEnd: () => reject(new Error("ended")) }, env)
  })

/** By the place in the source: the limit in seconds, and how to begin the wait, which then fails. */
const WAITS = {
  "requests.js fetchPage": { limitS: 15, begin: env => fetchPage("/page/", env) },
  "requests.js fetchTicket": { limitS: 15, begin: env => fetchTicket(page, ["user:1"], env) },
  "requests.js postNotice": {
    limitS: 15,
    begin: env => Promise.all([takeNotice(live, "n1", "A", env), confirmNotice(live, "n1", "A", env)]),
  },
  "requests.js submitAction": { limitS: 30, begin: env => submitAction({ action: "/cancel/" }, "c", env) },
  "requests.js fetchActions": { limitS: 15, begin: env => fetchActions(page, ["a"], env) },
  "requests.js postSubscription": { limitS: 15, begin: env => postSubscription(page, "/push/", {}, env) },
  "requests.js fetchTimeline": { limitS: 15, begin: env => fetchTimeline("/timeline/", env) },
  "return-value.js withReturnValue": {
    limitS: 15,
    begin: async env => {
      await withReturnValue({ urls: { task: page.urls.take } }, { id: "a", attempt: 1 }, env)
      throw new Error("ended, without the value")
    },
  },
  "live/pusher-auth.js #request": { limitS: 15, begin: authorize },
  "live/polling.js requestPoll": {
    limitS: 35, // 10 s for the first poll, which the server does not hold
    begin: env => requestPoll(new Recorder().options, env, signal(), 25),
  },
  "live/sse.js sse": { limitS: 60, begin: ending(sse) }, // `live.js` gives up after 40 s of silence
}

/** Waits whose end is not their own: `live.js` closes a connection that is not established, or is silent. */
const ENDED_BY_LIVE = ["live/websocket.js websocket", "live/pusher.js findPusher"]

const FOLDER = new URL("../../src/telltale/static/telltale/", import.meta.url)
const NETWORK = /(?<![#\w])(?:limitedFetch|fetch|post|WebSocket|import|EventSource|XMLHttpRequest|sendBeacon|WebTransport)\(/
const FUNCTION = /^(?:export )?(?:async )?function (\w+)|^ {2}(?:async )?(#?\w+)\(.*\) \{$|^(?:export )?const (\w+) =/

/** The functions of a module that use the network. */
function* networkUsers(name) {
  let user = ""
  const source = readFileSync(new URL(name, FOLDER), "utf-8").replaceAll(/\/\*\*.*?\*\//gs, "")
  for (const line of source.split("\n")) {
    const found = FUNCTION.exec(line)
    if (found) user = found[1] ?? found[2] ?? found[3]
    const isUse = NETWORK.test(line.replace(FUNCTION, "").replace(/\/\/.*/, ""))
    if (isUse) yield `${name} ${user}`
  }
}

// The self-test uses the browser's own functions, to find what the client hides. Each of its waits is `within` a limit.
const modules = readdirSync(FOLDER, { recursive: true }).filter(name => name.endsWith(".js") && name !== "self-test.js")

test("the table lists every use of the network", () => {
  const users = new Set(modules.flatMap(name => [...networkUsers(name)]))
  // Modules of the page itself: the browser ends these, and what waits for them is shown as not there yet.
  const onDemand = ["elements.js notices", "elements/tell-button.js startNotifying", "index.js loadPusher", "notifications/page-notifications.js loadPush", "index.js loadShared"]
  // The wrappers, whose callers are in the table.
  const wrappers = ["limited-fetch.js limitedFetch", "live/http.js post", "index.js browserEnvironment"]
  assert.deepEqual([...users].sort(), [...Object.keys(WAITS), ...ENDED_BY_LIVE, ...onDemand, ...wrappers].sort())
})

test("each request of the self-test is within a limit", () => {
  const source = readFileSync(new URL("self-test.js", FOLDER), "utf-8")
  const asks = source.match(/(?<!function )\b(?:fetch|askLive)\(.*/g).filter(line => !line.startsWith("fetch(data.urls.live"))
  assert.ok(asks.length >= 5)
  for (const ask of asks) assert.ok(source.includes(`within(CONNECT_MS, ${ask}`) || ask.includes("HOLD_S"), ask)
})

test("only one module calls `fetch`, so that no request is without a limit", () => {
  const callers = modules.filter(name => {
    const code = readFileSync(new URL(name, FOLDER), "utf-8").replaceAll(/\/\*\*.*?\*\//gs, "")
    return /(?<![\w#])fetch\(/.test(code)
  })
  assert.deepEqual(callers.sort(), ["index.js", "limited-fetch.js"]) // `index.js` passes the browser's on
})

const hangs = () => new Promise(() => {})
const HANGING = {
  "that is not answered": hangs,
  "whose answer has no body": async () => ({
    ok: true,
    status: 200,
    headers: new Headers({ "Content-Type": "application/json" }),
    json: hangs,
    text: hangs,
  }),
  "whose stream is silent": async () =>
    new Response(new ReadableStream(), { headers: { "Content-Type": "text/event-stream" } }),
}

for (const [where, { limitS, begin }] of Object.entries(WAITS)) {
  for (const [how, fetch] of Object.entries(HANGING)) {
    if (how.includes("stream") !== where.includes("sse") && how.includes("stream")) continue
    test(`${where}: a request ${how} ends after ${limitS} s`, async () => {
      const timers = new Timers(0, 1_000)
      let error = null
      begin({ ...timers.env, fetch }).catch(found => (error = found))
      await timers.pass(limitS - 1)
      assert.equal(error, null)
      await timers.pass(2)
      assert.ok(error instanceof Error)
    })
  }
}

test("the first poll, which the server does not hold, ends earlier", async () => {
  const timers = new Timers(0, 1_000)
  const recorder = new Recorder()
  polling(recorder.options, { ...timers.env, fetch: hangs })
  await timers.pass(9)
  assert.equal(recorder.ends, 0)
  await timers.pass(2)
  assert.equal(recorder.ends, 1)
})

test("a time limit aborts the request, and counts anew from each part of the answer", async () => {
  const timers = new Timers(0, 1_000)
  let given, onPart
  const fetch = async (_url, init) => (given = init)
  const read = (_response, partArrived) => ((onPart = partArrived), hangs())
  let error = null
  limitedFetch("/", {}, { limitMs: 10_000, read, env: { ...timers.env, fetch } }).catch(found => (error = found))
  await timers.pass(9)
  onPart()
  await timers.pass(9)
  assert.deepEqual([error, given.signal.aborted], [null, false])
  await timers.pass(2)
  assert.deepEqual([error instanceof TimedOut, given.signal.aborted], [true, true])
})

test("a request that was answered leaves no timer", async () => {
  const cleared = []
  const env = { setTimeout: () => 7, clearTimeout: timer => cleared.push(timer), fetch: async () => "answer" }
  assert.equal(await limitedFetch("/", {}, { limitMs: 1, read: async answer => answer, env }), "answer")
  assert.equal(cleared.at(-1), 7)
})

test("a connection that is never established is replaced, whatever its transport", async () => {
  const connected = await SimulatedPage.following({ transports: ["best"] })
  await connected.pass(60)
  assert.ok(connected.connections.length > 2)
  assert.equal(connected.openConnections.length <= 1, true)
})

test("a connection that falls silent is replaced", async () => {
  const connected = await SimulatedPage.following()
  connected.connection.hello()
  await connected.pass(60)
  assert.ok(connected.connections.length > 1)
})

test("a request for a notice that hangs is repeated, and the queue goes on", async () => {
  const timers = new Timers(0, 1)
  const shown = []
  let isHanging = true
  const display = {
    isReady: () => true,
    hasRoom: () => true,
    isShownElsewhere: () => false,
    wasShown: () => false,
    nextPaint: async () => {},
    afterPaint: async () => {},
    take: id => takeNotice(live, id, "A", {
      ...timers.env,
      fetch: () => (isHanging ? hangs() : Promise.resolve(Response.json({ granted: true, confirm_within_s: 10 }))),
    }),
    show: ({ id }) => shown.push(id) > 0,
    onPainted: () => {},
    onDecided: () => {},
    onChange: () => {},
  }
  const clocks = { now: () => timers.now, wallNow: () => timers.now }
  new NoticeQueue(display, { ...timers.env, ...clocks }).add({ id: "n1" })
  await timers.pass(10_000)
  isHanging = false
  await timers.pass(30_000)
  for (let i = 0; i < 5; i++) await new Promise(resolve => setImmediate(resolve))
  await settle()
  assert.deepEqual(shown, ["n1"])
})
