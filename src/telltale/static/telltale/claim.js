/**
 * Asking the server whether this page may show a notice: among all pages of a person, one is granted it.
 */
import { csrfToken, urlFor } from "telltale/page.js"

/**
 * Resolves to whether it is this page's to show. Rejects while the server can't be reached or is not well:
 * then nothing is decided, and asking again is right.
 * @param {import("telltale/live.js").Live} live
 * @param {string} id
 * @param {{fetch: typeof fetch}} [env]
 */
export async function claim(live, id, env = globalThis) {
  const answer = await env.fetch(urlFor(live.page.urls.claim, id), {
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
