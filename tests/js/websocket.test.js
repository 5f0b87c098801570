/** The WebSocket transport, with a scripted socket. */
import assert from "node:assert/strict"
import test from "node:test"

import { VERSION } from "telltale/live/protocol.js"
import { websocket } from "telltale/live/websocket.js"

import { Recorder } from "./recorder.js"

class Socket {
  /** The last one that was opened. */
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

test("the ticket goes in the first message, never in the address", () => {
  const recorder = new Recorder()
  websocket(recorder.options, { WebSocket: Socket })
  const socket = Socket.last
  socket.onopen()
  assert.equal(socket.url, "wss://site.example/live/")
  assert.deepEqual(socket.sent, [{ type: "hello", v: VERSION, ticket: "T", have: { a: [1, false, 2] } }])
})

test("messages and the end are reported, invalid messages are not, and numbered messages are acknowledged", () => {
  const recorder = new Recorder()
  websocket(recorder.options, { WebSocket: Socket })
  const socket = Socket.last
  socket.onmessage({ data: '{"type":"hello","n":1}' })
  socket.onmessage({ data: "rubbish" })
  socket.onmessage({ data: '{"type":"bye","code":4000}' })
  assert.deepEqual(recorder.messages.map(message => message.type), ["hello", "bye"])
  assert.deepEqual(socket.sent, [{ type: "ack", n: 1 }])
  socket.onclose({ code: 4000 })
  assert.equal(recorder.ends, 1)
})

test("an open WebSocket takes a new ticket", () => {
  const transport = websocket(new Recorder().options, { WebSocket: Socket })
  assert.equal(transport.updateTicket("T2"), true)
  assert.deepEqual(Socket.last.sent, [{ type: "ticket", ticket: "T2" }])
})

test("messages are acknowledged after as many characters as the server asks for, and at a numbered ping", () => {
  websocket(new Recorder().options, { WebSocket: Socket })
  const socket = Socket.last
  const receive = message => socket.onmessage({ data: JSON.stringify(message) })
  receive({ type: "hello", n: 1, ack_every: 200 })
  for (const n of [4, 7, 9]) receive({ type: "update", n, tasks: [], notices: [], events: ["x".repeat(80)] })
  receive({ type: "ping" })
  receive({ type: "ping", n: 12 })
  assert.deepEqual(socket.sent, [
    { type: "ack", n: 7 },
    { type: "ack", n: 12 },
  ])
})

test("after `close`, neither messages nor the end are reported", () => {
  const recorder = new Recorder()
  const transport = websocket(recorder.options, { WebSocket: Socket })
  transport.close()
  Socket.last.onmessage({ data: '{"type":"ping"}' })
  assert.deepEqual([recorder.ends, recorder.messages.length], [0, 0])
})
