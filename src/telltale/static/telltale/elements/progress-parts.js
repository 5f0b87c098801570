/**
 * The parts of a `<task-progress>`: those that the server rendered, and the others, which are created here.
 * This module knows the markup, not the tasks.
 */
import { createElement, setAttribute, setText } from "telltale/elements/dom.js"
import { fillText, partFinder } from "telltale/elements/parts.js"
import { safeUrl } from "telltale/page.js"
/** @import { Snapshot } from "telltale/live/snapshots.js" */

const create = {
  top: () => createElement("div", { className: "telltale-top" }),
  label: () => createElement("p", { className: "telltale-label" }),
  figure: () => createElement("span", { className: "telltale-figure", "aria-hidden": "true" }),
  line: () => createElement("span", { className: "telltale-line", hidden: true }),
  bar: () => createElement("progress", { className: "telltale-bar", max: 1 }),
  status: () => createElement("p", { className: "telltale-status" }),
  detail: () => createElement("p", { className: "telltale-detail" }),
  note: () => createElement("p", { className: "telltale-note", hidden: true }),
  actions: () => createElement("div", { className: "telltale-actions" }),
  tell: () => createElement("button", { type: "button", className: "telltale-tell", hidden: true }),
  result: () => createElement("a", { className: "telltale-result", hidden: true }),
}

/**
 * The elements by the last word of their class. Only the server knows who may cancel and retry, so the forms are
 * there only if it rendered them.
 * @typedef {object} Parts
 * @property {HTMLElement} label
 * @property {HTMLElement} figure
 * @property {HTMLElement} line the state of the connection
 * @property {HTMLProgressElement} bar
 * @property {HTMLElement} status
 * @property {HTMLElement} detail
 * @property {HTMLElement} note
 * @property {HTMLElement | null} origin who started the task, if the server rendered that
 * @property {HTMLElement} tell "Tell me when it's done"
 * @property {HTMLAnchorElement} result
 * @property {HTMLFormElement | null} cancel
 * @property {HTMLFormElement | null} retry
 */

/**
 * @param {HTMLElement} element
 * @returns {Parts}
 */
export function findOrCreateParts(element) {
  const part = partFinder(element, create)
  const top = part("top")
  const parts = {
    label: part("label", top),
    figure: part("figure", top),
    line: part("line", top),
    bar: part("bar"),
    status: part("status"),
    detail: part("detail"),
    note: part("note"),
  }
  const actions = part("actions")
  return {
    ...parts,
    tell: part("tell", actions, "prepend"), // It comes later, and must not move the other buttons.
    result: part("result", actions),
    origin: element.querySelector(".telltale-origin"),
    cancel: element.querySelector("form.telltale-cancel"),
    retry: element.querySelector("form.telltale-retry"),
  }
}

/**
 * Empty the parts, because they show another task than the element should.
 * @param {Parts} parts
 * @param {string | null} url of the task's page, for a label that links to it
 */
export function clearParts({ label, figure, line, bar, status, detail, note, origin, tell, result, cancel, retry }, url) {
  const link = label.querySelector("a")
  if (link) setAttribute(link, "href", url)
  for (const part of [link ?? label, figure, status, detail]) setText(part, "")
  for (const name of ["value", "aria-label", "aria-valuetext"]) bar.removeAttribute(name)
  setTicks({ bar }, [])
  for (const part of [line, note, origin, tell, result, cancel, retry]) if (part) part.hidden = true
}

/**
 * What the content shows: the attribute `rendered`, "<task> <attempt> <0, or 1 if ended> <seq>". The server writes it
 * with the content, so that older content than the newest snapshot is known from newer.
 * @param {HTMLElement} element
 * @returns {{task: string, attempt: number, ended: boolean, seq: number} | null} null for other markup
 */
export function readRendered(element) {
  const [task, attempt, ended, seq] = (element.getAttribute("rendered") ?? "").split(" ")
  return seq ? { task, attempt: Number(attempt), ended: ended === "1", seq: Number(seq) } : null
}

/**
 * Copies of the content, such as of a page that a soft navigation brings back, know what they show.
 * @param {HTMLElement} element
 * @param {Pick<Snapshot, "id" | "attempt" | "ended" | "seq">} snapshot
 */
export function writeRendered(element, { id, attempt, ended, seq }) {
  setAttribute(element, "rendered", `${id} ${attempt} ${Number(ended)} ${seq}`)
}

/**
 * Point the link to the task's result; hide it if there is none or its address is not safe.
 * @param {HTMLAnchorElement} link
 * @param {string | null} url
 * @param {string} text for a link that has none
 */
export function setResultLink(link, url, text) {
  const href = safeUrl(url)
  if (href && link.getAttribute("href") !== href) link.href = href
  fillText(link, text)
  link.hidden = !href
}

/** A smaller step of a bar, as a share of the whole, is hardly seen. */
const SMALL_STEP = 0.005

/**
 * Move a bar. A small step is taken at once: with a transition, a bar that moves all the time would have the browser
 * paint every frame.
 * @param {HTMLProgressElement} bar
 * @param {number | null} position 0 to 1; null if unknown
 */
export function fillBar(bar, position) {
  const previous = bar.hasAttribute("value") ? bar.value : null
  if (position === previous) return
  if (position === null) return bar.removeAttribute("value")
  bar.toggleAttribute("data-small-step", previous !== null && Math.abs(position - previous) < SMALL_STEP)
  bar.value = position
}

const SVG = "http://www.w3.org/2000/svg"

/**
 * Draw the borders of stages over the bar. As attributes of an SVG, which no policy for styles forbids.
 * @param {Pick<Parts, "bar">} parts
 * @param {number[]} borders shares of the whole, 0 to 1
 */
export function setTicks({ bar }, borders) {
  const path = borders.map(border => `M${Number(border)} 0v1`).join("")
  let ticks = bar.parentElement?.querySelector(".telltale-ticks")
  if (!ticks && path) {
    ticks = document.createElementNS(SVG, "svg")
    for (const [name, value] of Object.entries(TICKS)) ticks.setAttribute(name, value)
    ticks.append(document.createElementNS(SVG, "path"))
    bar.after(ticks)
  }
  const drawn = ticks?.querySelector("path")
  if (drawn) setAttribute(drawn, "d", path)
}

const TICKS = { class: "telltale-ticks", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" }

/**
 * Show or hide each control. Focus inside a control that is hidden moves to `element`, so that it is not lost. The
 * element is then a group with a name, so that a screen reader has something to say about it.
 * @param {HTMLElement} element
 * @param {string} name
 * @param {[HTMLElement | null, boolean][]} controls each with whether to show it
 */
export function setShown(element, name, controls) {
  for (const [control, isShown] of controls) {
    if (!control || control.hidden === !isShown) continue
    const hadFocus = !isShown && control.contains(document.activeElement)
    control.hidden = !isShown
    if (!hadFocus) continue
    element.tabIndex = -1
    if (!element.hasAttribute("role")) setAttribute(element, "role", "group")
    setAttribute(element, "aria-label", name)
    element.focus({ preventScroll: true })
  }
}
