/**
 * The constants of the wire protocol that the client needs, and the messages of the server (`docs/protocol.md`). Pure.
 *
 * `tests/js/protocol.test.js` compares them with `core/protocol.py` and `core/reasons.py`.
 *
 * @typedef {object} ServerMessage
 * @property {string} type "hello", "update", "ping", "poll", "bye", or a type that only newer clients know
 * @property {number} [n] the message's number, for acknowledgements
 * @property {number} [now] the server's clock, in seconds since 1970
 * @property {Limits} [limits]
 * @property {number} [ack_every] acknowledge after this many characters
 * @property {number} [poll_after_s] when to poll again
 * @property {Snapshot[]} [tasks]
 * @property {Notice[]} [notices]
 * @property {TopicEvent[]} [events]
 * @property {string[]} [corrected] ids of tasks whose snapshots in this message replace any other
 * @property {number} [code] of a bye: one of `CLOSE`
 * @property {string} [again] of a bye: one of `AGAIN`
 * @property {number} [within_s] of a bye: within how many seconds all its receivers should reconnect
 */
/** @import { Limits } from "telltale/health.js" */
/** @import { Notice, Snapshot, TopicEvent } from "telltale/live/snapshots.js" */

/** How many topics a ticket holds. */
export const MAX_TOPICS = 200

/** Version of the protocol between server and client. */
export const VERSION = 1

/** Why the server closes or refuses a connection: WebSocket close codes, and the `code` of a bye. */
export const CLOSE = Object.freeze({
  DRAIN: 4000,
  SLOW: 4001,
  RESYNC: 4002,
  SILENT: 4003,
  RATE: 4008,
  MALFORMED: 4400,
  NO_TICKET: 4401,
  EXPIRED: 4402,
  FORBIDDEN: 4403,
  VERSION: 4409,
  LIMIT: 4429,
})

/** When to reconnect after a bye. */
export const AGAIN = Object.freeze({
  AT_ONCE: "at once",
  /** With back-off and jitter. */
  LATER: "later",
  /** Not until a person acts. */
  NEVER: "never",
})

/**
 * The server's message, or null if the text is not a JSON object: invalid input must not break the page.
 * @param {unknown} text
 * @returns {ServerMessage | null}
 */
export function decode(text) {
  try {
    const message = JSON.parse(String(text))
    return message && typeof message === "object" && !Array.isArray(message) ? message : null
  } catch {
    return null
  }
}
