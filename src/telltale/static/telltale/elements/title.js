/**
 * The progress of the page's first task in the page's title and icon, while the page is hidden: "(42%) Import contacts".
 *
 * Another script may set the title meanwhile, and a soft navigation may bring back a title with progress in it. So
 * the page's own title is the current one without the prefixes that this module has written.
 */
import { showIcon } from "telltale/elements/icon.js"
import { readPage } from "telltale/page.js"

/** @type {Set<string>} such as "(42%)" */
const prefixes = new Set()
/** @type {Element | null} the element whose progress is shown */
let owner = null
let percent = ""
let share = 0

/**
 * @param {Element} element
 * @param {string | null} text such as "42%"; null removes the progress
 * @param {number} [done] the same as a number, 0 to 1
 */
export function setTitleProgress(element, text, done = 0) {
  if (text !== null && prefixes.size === 0) watchTitle()
  owner = element
  percent = text ?? ""
  share = done
  show()
}

/**
 * Remove the progress of an element that leaves the page.
 * @param {Element} element
 */
export function clearTitleProgress(element) {
  if (owner === element) setTitleProgress(element, null)
}

function show() {
  const prefix = document.hidden && percent ? `(${percent})` : ""
  if (prefix) prefixes.add(prefix)
  const ownTitle = withoutProgress(document.title)
  const title = prefix ? `${prefix} ${ownTitle}`.trim() : ownTitle
  if (document.title !== title) document.title = title
  showIcon(prefix ? share : null, prefix ? readPage().icons : [])
}

/** @param {string} title */
function withoutProgress(title) {
  const prefix = [...prefixes].find(prefix => title.startsWith(prefix))
  return prefix ? title.slice(prefix.length).trimStart() : title
}

function watchTitle() {
  document.addEventListener("visibilitychange", show)
  // Only removes progress, so that this never competes with another script about the title.
  const observer = new MutationObserver(() => (document.hidden && percent) || show())
  observer.observe(document.head, { childList: true, characterData: true, subtree: true })
}
