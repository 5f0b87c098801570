/**
 * The WebSocket transport. The ticket goes in the first message.
 *
 * Acknowledgements are cumulative: one is sent when as many characters have arrived as the server's `hello` asks
 * for, and at each numbered ping.
 */
import { VERSION, decode } from "telltale/live/protocol.js"
/** @import { ServerMessage } from "telltale/live/protocol.js" */
/** @import { OpenTransport, TransportOptions } from "telltale/live/transports.js" */

/**
 * @param {TransportOptions} options
 * @param {{WebSocket: typeof WebSocket}} env
 * @returns {OpenTransport}
 */
export function websocket(options, env) {
  const socket = new env.WebSocket(options.url.replace(/^http/, "ws"))
  let isOpen = true
  let ackEvery = 0
  let unacknowledged = 0

  /** @param {object} message */
  const send = message => socket.readyState === 1 && socket.send(JSON.stringify(message))

  /**
   * @param {ServerMessage} message
   * @param {number} size in characters
   */
  const acknowledge = (message, size) => {
    if (message.type === "hello") ackEvery = message.ack_every || 0
    unacknowledged += size
    if (!message.n || (message.type !== "ping" && unacknowledged < ackEvery)) return
    unacknowledged = 0
    send({ type: "ack", n: message.n })
  }

  socket.onopen = () => send({ type: "hello", v: VERSION, ticket: options.ticket(), have: options.have() })
  socket.onmessage = ({ data }) => {
    const message = decode(data)
    if (!isOpen || !message) return
    options.onMessage(message)
    acknowledge(message, data.length)
  }
  socket.onclose = () => {
    if (!isOpen) return
    isOpen = false
    options.onEnd()
  }

  return {
    updateTicket(ticket) {
      send({ type: "ticket", ticket })
      return true
    },
    close() {
      isOpen = false
      socket.close()
    },
  }
}
