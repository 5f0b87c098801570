/**
 * The page's requests to the server's views: fetch the page's data and tickets, cancel or retry a task. Requests that
 * only some elements send are in modules of their own, which are loaded with these elements.
 *
 * @typedef {{ticket: string, topics: string[], channels?: Object<string, string>, expires_at: number}} Ticket
 */
import { ACTION_MS, ANSWER_MS, limitedFetch } from "telltale/limited-fetch.js"
import { csrfToken } from "telltale/page.js"
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
 * Fetch the data of a page that the server does not render. Rejects if the server can't be reached or refuses.
 * @param {string} url
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<Page>}
 */
export async function fetchPage(url, env = globalThis) {
  return limitedFetch(url, GET_JSON, {
    limitMs: ANSWER_MS,
    env,
    read: async response => {
      if (!response.ok || !isJson(response)) throw new Error(`telltale: ${url} answers with ${response.status}, and not with the data of the page.`)
      return response.json()
    },
  })
}

/**
 * Fetch a ticket for those of `topics` that this visitor may follow. Rejects with `TicketRefused`, or with another
 * error while the server can't be reached.
 * @param {Page} page
 * @param {Iterable<string>} topics
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<Ticket>}
 */
export async function fetchTicket(page, topics, env = globalThis) {
  const init = jsonRequest({ "X-CSRFToken": csrfToken(page) }, { topics: [...topics] })
  return limitedFetch(page.urls.ticket, init, {
    limitMs: ANSWER_MS,
    env,
    read: async response => {
      if (isRefusal(response)) throw new TicketRefused(`The request for a ticket was refused with ${response.status}.`)
      if (!response.ok) throw new Error(`The request for a ticket was answered with ${response.status}.`)
      const ticket = await response.json()
      if (!ticket.topics?.length) throw new TicketRefused("The ticket covers no topic.")
      return ticket
    },
  })
}

/**
 * Submit the form of an action. Resolves to the task's snapshot after it; rejects with `ActionFailed`,
 * `ActionRefused`, or another error if the server can't be reached.
 * @param {HTMLFormElement} form
 * @param {string} token the CSRF token; the form's own may be outdated
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<Snapshot>}
 */
export async function submitAction(form, token, env = globalThis) {
  const init = jsonRequest({ "X-CSRFToken": token })
  return limitedFetch(form.action, init, {
    limitMs: ACTION_MS,
    env,
    read: async response => {
      if (!isJson(response)) {
        if (isRefusal(response)) throw new ActionRefused(`The action was refused with ${response.status}.`)
        throw new ActionFailed("")
      }
      const content = await response.json()
      if (!response.ok) throw new ActionFailed(content.error ?? "")
      return content
    },
  })
}

/**
 * Send this browser's push subscription to the site, which adds or removes it. Rejects unless the site accepts it.
 * @param {Pick<Page, "csrf">} page
 * @param {string} url
 * @param {PushSubscriptionJSON} subscription
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<void>}
 */
export async function postSubscription(page, url, { endpoint, keys }, env = globalThis) {
  await limitedFetch(url, jsonRequest({ "X-CSRFToken": csrfToken(page) }, { endpoint, keys }), {
    limitMs: ANSWER_MS,
    env,
    read: async response => {
      if (!response.ok || !isJson(response)) throw new Error(`The push subscription was answered with ${response.status}.`)
      await response.json()
    },
  })
}

/** @type {RequestInit} */
const SENT_BY_PAGE = { credentials: "same-origin", cache: "no-store", redirect: REDIRECT }
/** @type {RequestInit} */
export const GET_JSON = { ...SENT_BY_PAGE, headers: { Accept: "application/json" } }

/**
 * @param {Object<string, string>} headers
 * @param {object} [body]
 * @returns {RequestInit}
 */
export function jsonRequest(headers, body) {
  const type = body && { "Content-Type": "application/json" }
  return {
    method: "POST",
    headers: { Accept: "application/json", ...type, ...headers },
    body: body && JSON.stringify(body),
    ...SENT_BY_PAGE,
  }
}
