/**
 * Which transports a page tries, the best first. Pure: it is told how the page came.
 *
 * A WebSocket costs an ASGI server twice what an event stream does. But over HTTP/1.1 a browser grants a site six
 * requests at a time, so that a few open tabs with streams would lock it up; HTTP/2 and 3 carry a hundred on one line.
 */
import { polling } from "telltale/live/polling.js"
import { sse } from "telltale/live/sse.js"
import { websocket } from "telltale/live/websocket.js"

/**
 * @param {string} protocol as `nextHopProtocol` has it: "h2", "http/1.1", or "" where nobody knows
 */
export const rungsOver = protocol =>
  /^h[23]/.test(protocol) ? [sse, websocket, polling] : [websocket, sse, polling]

/** How this page came. */
export const protocolOf = (performance = globalThis.performance) =>
  performance?.getEntriesByType?.("navigation")[0]?.nextHopProtocol ?? ""
