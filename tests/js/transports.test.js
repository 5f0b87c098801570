/** The order of the transports. */
import assert from "node:assert/strict"
import test from "node:test"

import { pageProtocol, transportsFor } from "telltale/live/transports.js"

const order = protocol => transportsFor(protocol).map(transport => transport.name)

test("over HTTP/1.1, where a browser allows few requests at a time, the WebSocket is first", () => {
  for (const protocol of ["", "http/1.1", "http/1.0"]) assert.deepEqual(order(protocol), ["websocket", "sse", "polling"])
})

test("over HTTP/2 and 3, where requests share a connection, the event stream is first: it costs servers half", () => {
  for (const protocol of ["h2", "h3", "h3-29"]) assert.deepEqual(order(protocol), ["sse", "websocket", "polling"])
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
