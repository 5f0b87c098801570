/**
 * The answer to the request that the page sent before the modules had arrived (`pages/first_request.js`).
 *
 * It brings the present snapshots two or three round trips before a connection can. Later changes come by the
 * connection that opens meanwhile, which reads what is newer.
 */
import { decode } from "telltale/live/protocol.js"
/** @import { ServerMessage } from "telltale/live/protocol.js" */

/**
 * @typedef {object} FirstRequest
 * @property {string} ticket by which the server was asked
 * @property {Promise<string>} answer the text; empty if there is none
 */

/**
 * Resolves to the server's message, at the first call; to null if the page has sent no request, has sent it with
 * another ticket, or got no answer.
 * @param {string} ticket of the page
 * @param {{telltaleFirst?: FirstRequest}} [scope] where the page's script leaves its request
 * @returns {Promise<ServerMessage | null>}
 */
export async function firstAnswer(ticket, scope = /** @type {any} */ (globalThis)) {
  const request = scope.telltaleFirst
  // The answer is used once, and a soft navigation may leave a request of its own here.
  delete scope.telltaleFirst
  if (request?.ticket !== ticket) return null
  const message = decode(await request.answer)
  return message?.type === "poll" ? message : null
}
