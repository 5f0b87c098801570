/**
 * The transports, and their order on this page. Pure: the protocol by which the page was loaded is passed in.
 *
 * A WebSocket costs an ASGI server twice as much as an event stream. But over HTTP/1.1 a browser allows a site six
 * requests at a time, so that a few open tabs with streams would block it; HTTP/2 and 3 carry a hundred on one
 * connection. A page that listens to a Pusher service uses that first, because then the site's servers need no open
 * connections.
 *
 * A transport is a function. It opens one connection, calls `onMessage` for each message and `onEnd` once when the
 * connection ends, unless `close` was called before.
 *
 * @typedef {(options: TransportOptions, env: Environment) => OpenTransport} Open
 * @typedef {Open & {establishMs?: number, isHeld?: boolean}} Transport `establishMs`: how long it may take until the
 *   server's first answer; `isHeld`: it needs a server that can hold connections open
 *
 * @typedef {object} TransportOptions
 * @property {string} url the absolute address, which begins with "http"
 * @property {() => string} ticket the ticket's text
 * @property {() => Object<string, string> | null} channels the topics of the ticket, each by its channel at a Pusher
 *   service; null if the site uses none, or a topic has no channel
 * @property {() => Object<string, [number, boolean, number]>} have the order of the newest snapshots, by task id
 * @property {() => string[]} seen ids of the notices that have arrived
 * @property {() => string[]} topics those of the ticket
 * @property {() => string} owner the visitor's own topics in the ticket, as text; empty if it has none
 * @property {(topic: string) => boolean} isFollowed whether this page itself asks for the topic
 * @property {(topics: string[]) => void} want ask for these topics too, for other pages of the visitor
 * @property {(message: ServerMessage) => void} onMessage
 * @property {() => void} onEnd
 *
 * @typedef {object} OpenTransport
 * @property {() => void} close
 * @property {(ticket: string, isChanged: boolean) => boolean} updateTicket whether the open connection goes on with the
 *   new ticket; `isChanged`: it has other topics
 * @property {() => void} [pollNow] read from the server at once; only transports that read at intervals have it
 */
import { polling } from "telltale/live/polling.js"
import { sse } from "telltale/live/sse.js"
import { websocket } from "telltale/live/websocket.js"
/** @import { Environment } from "telltale/live/live.js" */
/** @import { ServerMessage } from "telltale/live/protocol.js" */

/** @type {Transport[]} */
const [heldSocket, heldStream] = [websocket, sse].map(open => Object.assign(open, { isHeld: true }))

/**
 * The transports to try, best first.
 * @param {string} protocol as `nextHopProtocol` gives it: "h2", "http/1.1", or "" if unknown
 * @param {Transport | null} [pusher] of a page that listens to a Pusher service
 * @param {(transport: Transport, name: string) => Transport} [share] makes the visitor's tabs share a transport that
 *   holds a request open; not used over HTTP/2 and 3, which have room for many
 * @returns {Transport[]}
 */
export const transportsFor = (protocol, pusher = null, share = transport => transport) => [
  ...(pusher ? [pusher] : []),
  ...(/^h[23]/.test(protocol)
    ? [heldStream, heldSocket, polling]
    : [heldSocket, share(heldStream, "stream"), share(polling, "poll")]),
]

/**
 * The protocol by which this page was loaded; "" if the browser does not tell.
 * @param {Partial<Pick<Performance, "getEntriesByType">>} [performance]
 * @returns {string}
 */
export function pageProtocol(performance = globalThis.performance) {
  const [navigation] = performance?.getEntriesByType?.("navigation") ?? []
  return /** @type {PerformanceNavigationTiming | undefined} */ (navigation)?.nextHopProtocol ?? ""
}
