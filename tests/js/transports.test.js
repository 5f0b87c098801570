/** The three transports, each before a server that is a few lines of script. */
import assert from "node:assert/strict"
import test from "node:test"

import { polling } from "telltale/live/polling.js"
import { sse } from "telltale/live/sse.js"
import { websocket } from "telltale/live/websocket.js"

const lineOf = () => {
  const line = {
    url: "https://site.example/live/",
    ticket: () => "T",
    have: () => ({ a: [1, false, 2] }),
    seen: () => ["n1"],
    heard: [],
    ends: 0,
    hear: message => line.heard.push(message),
    end: () => (line.ends += 1),
  }
  return line
}
const later = (ms = 5) => new Promise(resolve => setTimeout(resolve, ms))

class Socket {
  static last = null
  readyState = 1
  sent = []
  constructor(url) {
    this.url = url
    Socket.last = this
  }
  send(text) {
    this.sent.push(JSON.parse(text))
  }
  close() {
    this.readyState = 3
    this.onclose?.({ code: 1000 })
  }
}

test("a WebSocket brings its ticket first, never in the address, and acknowledges what is numbered", () => {
  const line = lineOf()
  const open = websocket(line, { WebSocket: Socket })
  const socket = Socket.last
  socket.onopen()
  socket.onmessage({ data: '{"type":"hello","n":1}' })
  socket.onmessage({ data: "rubbish" })
  socket.onmessage({ data: '{"type":"bye","code":4000}' })
  assert.equal(socket.url, "wss://site.example/live/")
  assert.deepEqual(socket.sent, [
    { type: "hello", v: 1, ticket: "T", have: { a: [1, false, 2] } },
    { type: "ack", n: 1 },
  ])
  assert.equal(open.renew("T2"), true)
  assert.deepEqual(socket.sent.at(-1), { type: "ticket", ticket: "T2" })
  assert.deepEqual(line.heard.map(message => message.type), ["hello", "bye"])
  socket.onclose({ code: 4000 })
  assert.equal(line.ends, 1)
})

test("a WebSocket acknowledges whenever as much has come as the server said, and at a numbered ping", () => {
  const line = lineOf()
  websocket(line, { WebSocket: Socket })
  const socket = Socket.last
  const hear = message => socket.onmessage({ data: JSON.stringify(message) })
  hear({ type: "hello", n: 1, ack_every: 200 })
  for (const n of [4, 7, 9]) hear({ type: "update", n, tasks: [], notices: [], events: ["x".repeat(80)] })
  hear({ type: "ping" })
  hear({ type: "ping", n: 12 })
  assert.deepEqual(socket.sent, [
    { type: "ack", n: 7 },
    { type: "ack", n: 12 },
  ])
})

test("a WebSocket that is closed from here is not heard of again", () => {
  const line = lineOf()
  const open = websocket(line, { WebSocket: Socket })
  open.close()
  Socket.last.onmessage({ data: '{"type":"ping"}' })
  assert.deepEqual([line.ends, line.heard.length], [0, 0])
})

const answerOf = (chunks, { status = 200, type = "text/event-stream" } = {}) =>
  new Response(
    new ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk))
        controller.close()
      },
    }),
    { status, headers: { "Content-Type": type } },
  )

test("a stream's messages are heard as they come, and its end is told", async () => {
  const line = lineOf()
  let request = null
  sse(line, { fetch: async (url, init) => ((request = { url, ...init }), answerOf(['data: {"type":"hel', 'lo"}\n\n: x\n\n'])) })
  await later()
  assert.deepEqual([line.heard, line.ends], [[{ type: "hello" }], 1])
  assert.equal(request.headers.Authorization, "Bearer T")
  assert.equal(request.headers.Accept, "text/event-stream")
  assert.ok(!request.url.includes("T"))
})

test("letters cut in the middle of their bytes arrive whole", async () => {
  const line = lineOf()
  const bytes = new TextEncoder().encode('data: {"text":"Zürich"}\n\n')
  const body = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(new Uint8Array([byte]))
      controller.close()
    },
  })
  sse(line, { fetch: async () => new Response(body, { headers: { "Content-Type": "text/event-stream" } }) })
  await later()
  assert.deepEqual(line.heard, [{ text: "Zürich" }])
})

test("a refused stream passes on why", async () => {
  const line = lineOf()
  const bye = '{"type":"bye","code":4401,"again":"never"}'
  sse(line, { fetch: async () => answerOf([bye], { status: 401, type: "application/json" }) })
  await later()
  assert.deepEqual([line.heard.map(message => message.code), line.ends], [[4401], 1])
})

test("a page where a stream should be is a failure, not a message", async () => {
  const line = lineOf()
  sse(line, { fetch: async () => answerOf(["<h1>proxy</h1>"], { type: "text/html" }) })
  await later()
  assert.deepEqual([line.heard, line.ends], [[], 1])
})

const env = fetch => ({ fetch, setTimeout: (then, ms) => setTimeout(then, ms / 1000), clearTimeout })

test("the first poll is answered at once, later ones may be held, until one fails", async () => {
  const line = lineOf()
  const bodies = []
  polling(
    line,
    env(async (_url, { body, headers }) => {
      bodies.push(JSON.parse(body))
      assert.equal(headers.Accept, "application/json")
      if (bodies.length === 3) throw new Error("no network")
      return new Response('{"type":"poll","poll_after_s":2}')
    }),
  )
  await later(60)
  assert.deepEqual(bodies.map(body => body.wait_s), [0, 25, 25])
  assert.deepEqual(bodies[0], { have: { a: [1, false, 2] }, seen: ["n1"], wait_s: 0 })
  assert.deepEqual([line.heard.length, line.ends], [2, 1])
})

test("a nudge asks at once; closing ends it without a word", async () => {
  const line = lineOf()
  let count = 0
  const open = polling(line, env(async () => ((count += 1), new Response('{"type":"poll","poll_after_s":60}'))))
  await later()
  assert.equal(count, 1)
  open.nudge()
  await later()
  assert.equal(count, 2)
  open.close()
  await later(100)
  assert.deepEqual([count, line.ends], [2, 0])
})
