/**
 * A WebSocket. The ticket goes in the first message; numbered messages are acknowledged, one for
 * many: whenever as much has come as the server's `hello` says, and at a numbered ping.
 *
 * A transport is one function `open(line)`. It tells `line.hear(message)` of each message and `line.end()`, once,
 * of the end, unless it was closed from here. It answers `close()`, and `renew(ticket)`: whether the open line
 * could take the new ticket.
 *
 * @typedef {{url: string, ticket: () => string, have: () => object, seen: () => string[],
 *   hear: (message: any) => void, end: () => void}} Line
 * @typedef {{close: () => void, renew: (ticket: string) => boolean, nudge?: () => void}} OpenLine
 */
import { decode } from "telltale/live/event-stream.js"

/**
 * @param {Line} line
 * @param {{WebSocket: typeof WebSocket}} [env]
 * @returns {OpenLine}
 */
export function websocket(line, env = globalThis) {
  const socket = new env.WebSocket(line.url.replace(/^http/, "ws"))
  const send = message => socket.readyState === 1 && socket.send(JSON.stringify(message))
  let isOpen = true
  let ackEvery = 0
  let unacknowledged = 0

  const acknowledge = (message, size) => {
    if (message.type === "hello") ackEvery = message.ack_every || 0
    unacknowledged += size
    if (!message.n || (message.type !== "ping" && unacknowledged < ackEvery)) return
    unacknowledged = 0
    send({ type: "ack", n: message.n })
  }

  socket.onopen = () => send({ type: "hello", v: 1, ticket: line.ticket(), have: line.have() })
  socket.onmessage = ({ data }) => {
    const message = decode(data)
    if (!isOpen || !message) return
    line.hear(message)
    acknowledge(message, data.length)
  }
  socket.onclose = () => {
    if (!isOpen) return
    isOpen = false
    line.end()
  }

  return {
    renew(ticket) {
      send({ type: "ticket", ticket })
      return true
    },
    close() {
      isOpen = false
      socket.close()
    },
  }
}
