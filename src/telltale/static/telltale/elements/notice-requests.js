/**
 * The requests about a notice: a page takes it, and confirms that it has shown it.
 *
 * @typedef {{page: Pick<Page, "urls" | "csrf">, ticket: string}} Bearer
 *
 * @typedef {object} Taking the server's answer to a page that wants to show a notice
 * @property {boolean} granted
 * @property {number} [confirmWithinMs] granted: this long after the request another page may show it
 * @property {number | null} [retryAfterMs] not granted: when to ask again; null if the notice was shown
 */
import { ANSWER_MS, limitedFetch } from "telltale/limited-fetch.js"
import { csrfToken, urlFor } from "telltale/page.js"
import { isJson, isRefusal } from "telltale/refusal.js"
import { jsonRequest } from "telltale/requests.js"
/** @import { Page } from "telltale/page.js" */

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
