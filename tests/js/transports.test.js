/** The order of the transports. */
import assert from "node:assert/strict"
import test from "node:test"

import { pageProtocol, transportsFor } from "telltale/live/transports.js"

import { Recorder } from "./recorder.js"

/** What each transport of a page opens: "WebSocket", or the answer that its request accepts. */
const opened = async protocol => {
  const kinds = []
  for (const transport of transportsFor(protocol)) {
    const { options } = new Recorder()
    const kind = await new Promise(open => {
      const env = {
        WebSocket: class {
          constructor() {
            open("WebSocket")
          }
          close() {}
        },
        fetch: async (_url, { headers }) => open(headers.Accept),
        setTimeout: () => 0,
        clearTimeout: () => {},
      }
      transport({ ...options, onEnd: () => open("nothing") }, env)
    })
    kinds.push(kind)
  }
  return kinds
}

test("over HTTP/1.1, where a browser allows few requests at a time, the WebSocket is first", async () => {
  for (const protocol of ["", "http/1.1", "http/1.0"]) {
    assert.deepEqual(await opened(protocol), ["WebSocket", "text/event-stream", "application/json"])
  }
})

test("over HTTP/2 and 3, where requests share a connection, the event stream is first: it costs servers half", async () => {
  for (const protocol of ["h2", "h3", "h3-29"]) {
    assert.deepEqual(await opened(protocol), ["text/event-stream", "WebSocket", "application/json"])
  }
})

test("the server must hold the connections of a WebSocket and an event stream open, and can hold a poll", () => {
  assert.deepEqual(transportsFor("").map(({ isHeld = false }) => isHeld), [true, true, false])
})

test("a page that listens to a Pusher service uses that first, and the others after it", () => {
  const pusher = Object.assign(() => ({}), { establishMs: 1 })
  for (const protocol of ["http/1.1", "h2"]) {
    assert.deepEqual(transportsFor(protocol, pusher), [pusher, ...transportsFor(protocol)])
  }
})

test("the browser tells the page's protocol; it is empty if the browser does not", () => {
  const performance = { getEntriesByType: type => (type === "navigation" ? [{ nextHopProtocol: "h2" }] : []) }
  assert.equal(pageProtocol(performance), "h2")
  assert.equal(pageProtocol({ getEntriesByType: () => [] }), "")
  assert.equal(pageProtocol({}), "")
})
