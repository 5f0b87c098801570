/**
 * Fetching tickets: the server's signed word for which topics this page may follow, good for minutes.
 *
 * @typedef {{ticket: string, topics: string[], expires_at: number}} Ticket
 */
import { csrfToken } from "telltale/page.js"

/** The server answers, but not to this visitor any more: signed out, or never allowed. */
export class Refused extends Error {}

/**
 * A ticket for those of `topics` that this visitor may follow. Rejects with `Refused`, or with another error
 * while the server can't be reached.
 * @param {import("telltale/page.js").Page} page
 * @param {Iterable<string>} topics
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<Ticket>}
 */
export async function fetchTicket(page, topics, env = globalThis) {
  const answer = await env.fetch(page.urls.ticket, {
    method: "POST",
    headers: { Accept: "application/json", "Content-Type": "application/json", "X-CSRFToken": csrfToken(page) },
    body: JSON.stringify({ topics: [...topics] }),
    credentials: "same-origin",
    cache: "no-store",
  })
  if (answer.status >= 500 || answer.status === 429) throw new Error(`The ticket's answer was ${answer.status}.`)
  if (!answer.ok) throw new Refused(`No ticket: ${answer.status}.`)
  const ticket = await answer.json()
  if (!ticket.topics?.length) throw new Refused("A ticket without topics.")
  return ticket
}
