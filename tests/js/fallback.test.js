/** Which transport comes first. */
import assert from "node:assert/strict"
import test from "node:test"

import { protocolOf, rungsOver } from "telltale/live/transports.js"

const order = protocol => rungsOver(protocol).map(rung => rung.name)

test("where a browser grants few requests at a time, a socket comes first", () => {
  for (const protocol of ["", "http/1.1", "http/1.0"]) assert.deepEqual(order(protocol), ["websocket", "sse", "polling"])
})

test("where many share one line, a stream comes first: it costs servers half", () => {
  for (const protocol of ["h2", "h3", "h3-29"]) assert.deepEqual(order(protocol), ["sse", "websocket", "polling"])
})

test("how the page came is asked of the browser, and unknown where it does not tell", () => {
  const performance = { getEntriesByType: type => (type === "navigation" ? [{ nextHopProtocol: "h2" }] : []) }
  assert.equal(protocolOf(performance), "h2")
  assert.equal(protocolOf({ getEntriesByType: () => [] }), "")
  assert.equal(protocolOf({}), "")
})
