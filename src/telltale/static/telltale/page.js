/**
 * What the server told this page: the data block that `{% telltale %}` wrote, and what is derived from it.
 *
 * @typedef {{ticket: string, topics: string[], expires_at: number, now: number,
 *   limits: import("telltale/health.js").Limits, urls: Object<string, string>,
 *   csrf: {token: string, cookie: ?string}, language: string,
 *   words: import("telltale/task-text.js").Catalogue}} Page
 */

const PLACE_OF_ID = "00000000-0000-0000-0000-000000000000"

/**
 * @param {Document} [document]
 * @returns {Page}
 */
export function readPage(document = globalThis.document) {
  const block = document.getElementById("telltale-page")
  if (!block) throw new Error("telltale: this page has no data for it; put {% telltale %} into its <head>.")
  return JSON.parse(block.textContent)
}

/** The address for one task or notice. */
export const urlFor = (template, id) => template.replace(PLACE_OF_ID, encodeURIComponent(id))

/**
 * The token that a POST needs. The cookie is the newer one after a sign-in in another tab; where scripts may
 * not read it, the page's own must do.
 * @param {Page} page
 */
export function csrfToken(page, cookies = globalThis.document?.cookie ?? "") {
  const name = page.csrf.cookie && `${page.csrf.cookie}=`
  const found = name && cookies.split("; ").find(cookie => cookie.startsWith(name))
  return (found && found.slice(name.length)) || page.csrf.token
}

/**
 * An address that a person may be sent to, or null: a task's own text must not become a script.
 * @param {?string} url
 */
export function safeUrl(url, base = globalThis.location?.href) {
  if (!url) return null
  try {
    return ["http:", "https:"].includes(new URL(url, base).protocol) ? url : null
  } catch {
    return null
  }
}
