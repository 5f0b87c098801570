/** One connection over a transport, from its opening to its end. */
/** @import { Environment } from "telltale/live/live.js" */
/** @import { ServerMessage } from "telltale/live/protocol.js" */
/** @import { OpenTransport, Transport, TransportOptions } from "telltale/live/transports.js" */

/**
 * @typedef {object} Connection
 * @property {OpenTransport | null} transport null until it is open
 * @property {boolean} isEstablished whether the server has answered
 * @property {boolean} isClosed its later messages are ignored
 * @property {ServerMessage | null} bye the server's reason for closing it
 * @property {number} openedAt by the environment's `now`
 */

/**
 * Open a connection.
 * @param {Transport} transport
 * @param {Omit<TransportOptions, "onMessage" | "onEnd">} options
 * @param {Environment} env
 * @param {object} callbacks
 * @param {(connection: Connection, message: ServerMessage) => void} callbacks.onMessage
 * @param {(connection: Connection) => void} callbacks.onEnd
 * @returns {Connection}
 */
export function openConnection(transport, options, env, callbacks) {
  /** @type {Connection} */
  const connection = { transport: null, isEstablished: false, isClosed: false, bye: null, openedAt: env.now() }
  const onEnd = () => {
    if (connection.isClosed) return
    connection.isClosed = true
    // Later, because the caller must have the connection before it learns of its end.
    queueMicrotask(() => callbacks.onEnd(connection))
  }
  const onMessage = (/** @type {ServerMessage} */ message) => {
    if (!connection.isClosed) callbacks.onMessage(connection, message)
  }
  try {
    connection.transport = transport({ ...options, onMessage, onEnd }, env)
  } catch {
    onEnd() // a browser's policy may forbid a transport by an exception
  }
  return connection
}

/** @param {Connection} connection */
export function closeConnection(connection) {
  connection.isClosed = true
  connection.transport?.close()
}
