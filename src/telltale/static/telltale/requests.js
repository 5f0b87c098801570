/**
 * The page's requests to the server's views: fetch the page's data and tickets, take and confirm a notice, cancel or
 * retry a task, learn which of these the visitor may do.
 *
 * @typedef {{ticket: string, topics: string[], channels?: Object<string, string>, expires_at: number}} Ticket
 * @typedef {{page: Pick<Page, "urls" | "csrf">, ticket: string}} Bearer
 *
 * @typedef {object} Taking the server's answer to a page that wants to show a notice
 * @property {boolean} granted
 * @property {number} [confirmWithinMs] granted: this long after the request another page may show it
 * @property {number | null} [retryAfterMs] not granted: when to ask again; null if the notice was shown
 */
import { ACTION_MS, ANSWER_MS, limitedFetch } from "telltale/limited-fetch.js"
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
 * Take a notice in order to show it. Rejects while the server can't be reached or answers with an error: then nothing
 * is known, and the request may be repeated, by the same `holder`.
 * @param {Bearer} live
 * @param {string} id
 * @param {string} holder names the page, and no other can guess it
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<Taking>}
 */
export async function takeNotice(live, id, holder, env = globalThis) {
  const { granted, confirm_within_s, retry_after_s } = await postNotice(live, id, { holder }, env)
  if (granted === true) return { granted, confirmWithinMs: confirm_within_s && confirm_within_s * 1000 }
  return { granted: false, retryAfterMs: retry_after_s === undefined ? null : retry_after_s * 1000 }
}

/**
 * Tell the server that a page has shown a notice. Rejects as `takeNotice` does.
 * @param {Bearer} live
 * @param {string} id
 * @param {string} holder as it was taken by
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<void>}
 */
export async function confirmNotice(live, id, holder, env = globalThis) {
  // The page may be closed at any moment: the browser sends the request nevertheless.
  await postNotice(live, id, { holder, shown: true }, env, { keepalive: true })
}

/**
 * @param {Bearer} live
 * @param {string} id
 * @param {{holder: string, shown?: boolean}} body
 * @param {{fetch: typeof fetch}} env
 * @param {RequestInit} [more]
 * @returns {Promise<{granted?: boolean, confirm_within_s?: number, retry_after_s?: number}>} empty after a refusal
 */
async function postNotice(live, id, body, env, more = {}) {
  const init = jsonRequest({ Authorization: `Bearer ${live.ticket}`, "X-CSRFToken": csrfToken(live.page) }, body)
  return limitedFetch(urlFor(live.page.urls.take, id), { ...init, ...more }, {
    limitMs: ANSWER_MS,
    env,
    read: async response => {
      // 401: the ticket has expired; the next one is on its way. What is not JSON is not the server's own answer.
      const isDecided = isJson(response) && (response.ok || isRefusal(response)) && response.status !== 401
      if (!isDecided) throw new Error(`Undecided: ${response.status}.`)
      return response.ok ? response.json() : {}
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
 * Fetch which actions the visitor may take on these tasks at some time. Those of other visitors are left out. Rejects if
 * the server can't be reached or refuses.
 * @param {Pick<Page, "urls">} page
 * @param {string[]} ids 50 at most
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<Map<string, string[]>>} by task id
 */
export async function fetchActions(page, ids, env = globalThis) {
  const query = new URLSearchParams(ids.map(id => ["id", id]))
  return limitedFetch(`${page.urls.tasks}?${query}`, GET_JSON, {
    limitMs: ANSWER_MS,
    env,
    read: async response => {
      if (!response.ok || !isJson(response)) throw new Error(`The request for tasks was answered with ${response.status}.`)
      const { tasks } = await response.json()
      return new Map(tasks.map((/** @type {{id: string, actions: string[]}} */ task) => [task.id, task.actions]))
    },
  })
}

/**
 * @typedef {object} Moment a line of a task's timeline
 * @property {string} title
 * @property {string} detail
 * @property {string} error
 * @property {string} kind
 * @property {number | null} from_at in seconds since 1970
 * @property {number | null} until_at
 */

/**
 * Fetch the timeline of a task; null if the visitor may not see it. Rejects if the server can't be reached.
 * @param {string} url
 * @param {{fetch: typeof fetch}} [env]
 * @returns {Promise<{phase: string, moments: Moment[]} | null>}
 */
export async function fetchTimeline(url, env = globalThis) {
  return limitedFetch(url, GET_JSON, {
    limitMs: ANSWER_MS,
    env,
    read: async response => {
      if (isRefusal(response)) return null
      if (!response.ok || !isJson(response)) throw new Error(`The timeline was answered with ${response.status}.`)
      return response.json()
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
const GET_JSON = { ...SENT_BY_PAGE, headers: { Accept: "application/json" } }

/**
 * @param {Object<string, string>} headers
 * @param {object} [body]
 * @returns {RequestInit}
 */
function jsonRequest(headers, body) {
  const type = body && { "Content-Type": "application/json" }
  return {
    method: "POST",
    headers: { Accept: "application/json", ...type, ...headers },
    body: body && JSON.stringify(body),
    ...SENT_BY_PAGE,
  }
}
