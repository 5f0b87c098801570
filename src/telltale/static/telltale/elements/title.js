/**
 * The progress of the page's first task in the page's title, while the page is hidden: "(42%) Import contacts".
 *
 * Another script may set the title meanwhile, and a soft navigation may bring back a title with progress in it. So
 * the page's own title is the current one without the prefixes that this module has written.
 */

/** @type {Set<string>} such as "(42%)" */
const prefixes = new Set()
/** @type {Element | null} the element whose progress is shown */
let owner = null
let percent = ""

/**
 * @param {Element} element
 * @param {string | null} text such as "42%"; null removes the progress
 */
export function setTitleProgress(element, text) {
  if (text !== null && prefixes.size === 0) watchTitle()
  owner = element
  percent = text ?? ""
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
