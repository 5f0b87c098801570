/**
 * Tells a refusal from an outage. Pure.
 *
 * A page that is refused says that it is not live any more, because repeating a request would not help: the visitor is
 * signed out, or a login wall stands before Telltale. Everything else is an outage, and requests are repeated.
 *
 * Requests don't follow redirects (`REDIRECT`): a wall redirects to its login page, often on another origin, where a
 * browser shows the script nothing but a network error.
 */

/** The option `redirect` of all requests: the server's own answers are never redirects. */
export const REDIRECT = "manual"

/** The client errors that say something of the visitor. The others say something of the request or of the moment. */
const REFUSALS = new Set([401, 403, 404, 407, 410, 451])

/** @param {Pick<Response, "headers">} response */
export const isJson = response => hasType(response, "json")

/**
 * Whether the answer is a redirect, a page, or an error that only the visitor can change.
 * @param {Pick<Response, "headers" | "ok" | "status" | "type">} response
 */
export function isRefusal(response) {
  if (response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400)) return true
  if (response.ok) return hasType(response, "html")
  return REFUSALS.has(response.status)
}

/**
 * @param {Pick<Response, "headers">} response
 * @param {string} name
 */
const hasType = (response, name) => response.headers?.get("Content-Type")?.includes(name) ?? false
