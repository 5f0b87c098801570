/**
 * The data that the server gives to this page: the block that `{% telltale %}` writes, or what `loadPage` has fetched,
 * and values derived from it.
 *
 * @typedef {object} Page
 * @property {string} ticket
 * @property {string[]} topics the topics that the ticket covers
 * @property {Object<string, string>} [channels] these topics, each by its channel at a Pusher service
 * @property {Service} [pusher] the Pusher service that the page listens to
 * @property {boolean} [share] whether the visitor's tabs share a stream or long poll
 * @property {boolean} [can_hold] whether the server that rendered the page can hold connections open
 * @property {number} expires_at when the ticket expires, by the server's clock
 * @property {number} now the server's clock when the page was rendered
 * @property {Limits} limits
 * @property {{live: string, ticket: string, tasks: string, task: string, cancel: string, retry: string, take: string,
 *   messages: string}} urls
 * @property {{token: string, cookie: string | null}} csrf the page's token, and the name of the cookie if readable
 * @property {string[]} [icons] addresses of the icon while the page is hidden and a task runs, one for each quarter
 * @property {{key: string, worker: string, subscribe: string, unsubscribe: string, known: "none" | "current" | "old"}} [push]
 *   web push: the site's public key, addresses, and what the site knows of this browser
 * @property {string} language
 * @property {Catalogue} texts
 */
/** @import { Limits } from "telltale/health.js" */
/** @import { Service } from "telltale/live/pusher.js" */
/** @import { Catalogue } from "telltale/task-text.js" */

/** Stands for an id in the addresses that the server gives. */
const PLACEHOLDER_ID = "00000000-0000-0000-0000-000000000000"

/** Where a page without the block keeps its data: a site's own bundle may contain this module a second time. */
const LOADED = Symbol.for("telltale.page")
const shared = /** @type {{[LOADED]?: Page}} */ (globalThis)

/**
 * Use these data in a page without the block.
 * @param {Page} page
 */
export function usePage(page) {
  shared[LOADED] = page
}

/**
 * The newest data: a soft navigation may add the block of each page to the <head>. Only the last one is kept.
 * @param {Pick<Document, "querySelectorAll">} [document]
 * @returns {Page}
 */
export function readPage(document = globalThis.document) {
  const blocks = [...document.querySelectorAll("#telltale-page")]
  const block = blocks.pop()
  for (const older of blocks) older.remove()
  if (block) return JSON.parse(block.textContent ?? "")
  if (shared[LOADED]) return shared[LOADED]
  throw new Error("telltale: this page has no data. Put {% telltale %} into its <head>, or wait for loadPage() before anything else.")
}

/**
 * The address of one task or notice.
 * @param {string} template an address with the placeholder
 * @param {string} id
 */
export const urlFor = (template, id) => template.replace(PLACEHOLDER_ID, encodeURIComponent(id))

/**
 * The CSRF token for a POST. The cookie's is newer after a sign-in in another tab; where scripts can't read the
 * cookie, the page's own is used.
 * @param {Pick<Page, "csrf">} page
 * @param {string} [cookies] as `document.cookie`
 * @returns {string}
 */
export function csrfToken(page, cookies = globalThis.document?.cookie ?? "") {
  const prefix = page.csrf.cookie && `${page.csrf.cookie}=`
  const cookie = prefix && cookies.split("; ").find(pair => pair.startsWith(prefix))
  return (cookie && cookie.slice(prefix.length)) || page.csrf.token
}

/**
 * The address if it is safe as a link, else null: an address that a task gives must not run as a script.
 * @param {string | null} url
 * @param {string} [base] the page's own address
 * @returns {string | null}
 */
export function safeUrl(url, base = globalThis.location?.href) {
  if (!url) return null
  try {
    return ["http:", "https:"].includes(new URL(url, base).protocol) ? url : null
  } catch {
    return null
  }
}
