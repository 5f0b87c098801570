/**
 * The page's requests to the server's views: fetching a ticket, taking a notice, cancelling and retrying a task.
 *
 * @typedef {{ticket: string, topics: string[], expires_at: number}} Ticket
 */
import { csrfToken, urlFor } from "telltale/page.js"

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

/**
 * Resolves to whether it is this page's to show. Rejects while the server can't be reached or is not well:
 * then nothing is decided, and asking again is right.
 * @param {import("telltale/live/live.js").Live} live
 * @param {string} id
 * @param {{fetch: typeof fetch}} [env]
 */
export async function takeNotice(live, id, env = globalThis) {
  const answer = await env.fetch(urlFor(live.page.urls.take, id), {
    method: "POST",
    headers: {
      Accept: "application/json",
      Authorization: `Bearer ${live.ticket}`,
      "X-CSRFToken": csrfToken(live.page),
    },
    credentials: "same-origin",
    cache: "no-store",
  })
  if (answer.status >= 500 || answer.status === 401 || answer.status === 429) throw new Error(`Undecided: ${answer.status}.`)
  return answer.ok && (await answer.json()).granted === true
}

/**
 * Send the form. Resolves to the task as the server has it now; rejects with its words, if it gave any.
 * @param {HTMLFormElement} form
 * @param {string} token for CSRF: newer than the form's own, perhaps
 * @returns {Promise<import("telltale/live/snapshots.js").Snapshot>}
 */
export async function send(form, token) {
  const answer = await fetch(form.action, {
    method: "POST",
    headers: { Accept: "application/json", "X-CSRFToken": token },
    credentials: "same-origin",
  })
  const isJson = answer.headers.get("Content-Type")?.includes("json")
  const told = isJson ? await answer.json() : {}
  if (!answer.ok) throw new Refusal(told.error ?? "")
  return told
}

/** The server's words for why not; empty if it gave none. */
export class Refusal extends Error {}
