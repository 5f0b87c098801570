/**
 * The parts of a `<task-progress>`: those that the server rendered, and those it did not, made here.
 * Knows markup and nothing of tasks.
 */
import { make } from "telltale/elements/dom.js"
import { safeUrl } from "telltale/page.js"

const MISSING = {
  top: () => make("div", { className: "telltale-top" }),
  label: () => make("p", { className: "telltale-label" }),
  figure: () => make("span", { className: "telltale-figure", "aria-hidden": "true" }),
  line: () => make("span", { className: "telltale-line", hidden: true }),
  bar: () => make("progress", { className: "telltale-bar", max: 1 }),
  status: () => make("p", { className: "telltale-status" }),
  quiet: () => make("p", { className: "telltale-quiet" }),
  note: () => make("p", { className: "telltale-note", hidden: true }),
  actions: () => make("div", { className: "telltale-actions" }),
  result: () => make("a", { className: "telltale-result", hidden: true }),
}

const INSIDE = { label: "top", figure: "top", line: "top", result: "actions" }

/**
 * @param {HTMLElement} element
 * @returns {{[name: string]: any, cancel: ?HTMLFormElement, retry: ?HTMLFormElement}} by name; the forms
 *   only where the server gave them, for only it knows who may act
 */
export function partsOf(element) {
  const parts = { cancel: element.querySelector(".telltale-cancel"), retry: element.querySelector(".telltale-retry") }
  for (const [name, create] of Object.entries(MISSING)) {
    parts[name] = element.querySelector(`.telltale-${name}`)
    if (parts[name]) continue
    parts[name] = create()
    const outer = parts[INSIDE[name]] ?? element
    outer.append(parts[name])
  }
  return parts
}

/** Lead a link to where a task's result is; hidden if it leads nowhere good. */
export function pointTo(link, url, text) {
  const href = safeUrl(url)
  if (href && link.getAttribute("href") !== href) link.href = href
  if (link.textContent === "") link.textContent = text
  link.hidden = !href
}

/** Hide what is not to be done now; who had it in hand keeps a place to be: the element itself. */
export function showOnly(element, controls) {
  for (const [control, isShown] of controls) {
    if (!control || control.hidden === !isShown) continue
    const hadFocus = !isShown && control.contains(document.activeElement)
    control.hidden = !isShown
    if (!hadFocus) continue
    element.tabIndex = -1
    element.focus({ preventScroll: true })
  }
}
