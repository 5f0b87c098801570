/**
 * The page's requests to the server's views: fetch a ticket, take a notice, cancel or retry a task.
 *
 * @typedef {{ticket: string, topics: string[], channels?: Object<string, string>, expires_at: number}} Ticket
 */
import { csrfToken, urlFor } from "telltale/page.js"
import { REDIRECT, isJson, isRefusal } from "telltale/refusal.js"
/** @import { Snapshot } from "telltale/live/snapshots.js" */
/** @import { Page } from "telltale/page.js" */

/** The server answers, but gives this visitor no ticket: signed out, or never allowed. */
export class TicketRefused extends Error {}

/** The server did not cancel or retry the task. The message is the server's reason; empty if it gave none. */
export class ActionFailed extends Error {}

/** A login wall answered instead of the server: only a new page can help. */
export class ActionRefused extends Error {}

/**
 * Fetch a ticket for those of `topics` that this visitor may follow. Rejects with `TicketRefused`, or with another
 * error while the server can't be reached.
 * @param {Page} page
 * @param {Iterable<string>} topics
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<Ticket>}
 */
export async function fetchTicket(page, topics, env = globalThis) {
  const response = await env.fetch(page.urls.ticket, {
    method: "POST",
    headers: { Accept: "application/json", "Content-Type": "application/json", "X-CSRFToken": csrfToken(page) },
    body: JSON.stringify({ topics: [...topics] }),
    credentials: "same-origin",
    cache: "no-store",
    redirect: REDIRECT,
  })
  if (isRefusal(response)) throw new TicketRefused(`The request for a ticket was refused with ${response.status}.`)
  if (!response.ok) throw new Error(`The request for a ticket was answered with ${response.status}.`)
  const ticket = await response.json()
  if (!ticket.topics?.length) throw new TicketRefused("The ticket covers no topic.")
  return ticket
}

/**
 * Take a notice. Resolves to whether this page may show it. Rejects while the server can't be reached or answers
 * with an error: then nothing is decided, and the request may be repeated.
 * @param {{page: Pick<Page, "urls" | "csrf">, ticket: string}} live
 * @param {string} id
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<boolean>}
 */
export async function takeNotice(live, id, env = globalThis) {
  const response = await env.fetch(urlFor(live.page.urls.take, id), {
    method: "POST",
    headers: {
      Accept: "application/json",
      Authorization: `Bearer ${live.ticket}`,
      "X-CSRFToken": csrfToken(live.page),
    },
    credentials: "same-origin",
    cache: "no-store",
    redirect: REDIRECT,
  })
  // 401: the ticket has expired; the next one is on its way. What is not JSON is not the server's own answer.
  const isDecided = isJson(response) && (response.ok || isRefusal(response)) && response.status !== 401
  if (!isDecided) throw new Error(`Undecided: ${response.status}.`)
  return response.ok && (await response.json()).granted === true
}

/**
 * Submit the form of an action. Resolves to the task's snapshot after it; rejects with `ActionFailed`,
 * `ActionRefused`, or another error if the server can't be reached.
 * @param {HTMLFormElement} form
 * @param {string} token the CSRF token; the form's own may be outdated
 * @returns {Promise<Snapshot>}
 */
export async function submitAction(form, token) {
  const response = await fetch(form.action, {
    method: "POST",
    headers: { Accept: "application/json", "X-CSRFToken": token },
    credentials: "same-origin",
    redirect: REDIRECT,
  })
  if (!isJson(response)) {
    if (isRefusal(response)) throw new ActionRefused(`The action was refused with ${response.status}.`)
    throw new ActionFailed("")
  }
  const content = await response.json()
  if (!response.ok) throw new ActionFailed(content.error ?? "")
  return content
}
