/**
 * One task in the tray: its label, which leads to the task's page, its progress, and the actions that its page offers:
 * stop, try again, open the result.
 */
import { BarPosition } from "telltale/elements/bar-position.js"
import { createElement, setAttribute, setText } from "telltale/elements/dom.js"
import { announce } from "telltale/elements/live-regions.js"
import { pageText } from "telltale/elements/page-text.js"
import { partFinder } from "telltale/elements/parts.js"
import { PendingAction } from "telltale/elements/pending-action.js"
import { fillBar, setResultLink } from "telltale/elements/progress-parts.js"
import { canCancel, health, mayBeLost, offersCancel } from "telltale/health.js"
import { isOutdatedBy, supersedes } from "telltale/live/snapshots.js"
import { urlFor } from "telltale/page.js"
/** @import { Live } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */
/** @import { TaskText } from "telltale/task-text.js" */

export class TrayRow {
  #live
  #onChange
  #parts
  /** @type {Snapshot} */
  #snapshot
  /** @type {PendingAction | null} */
  #pending = null
  /** The reason why the last action failed; empty if none did. */
  #error = ""
  #position = new BarPosition()

  /**
   * @param {HTMLLIElement} element the row, which may have markup of the page's author
   * @param {Snapshot} snapshot
   * @param {Live} live
   * @param {() => void} onChange called when the row is to be shown again
   */
  constructor(element, snapshot, live, onChange) {
    this.element = element
    this.#snapshot = snapshot
    this.#live = live
    this.#onChange = onChange
    const { urls } = live.page
    this.#parts = findOrCreateParts(element)
    const { link, bar, cancel, retry } = this.#parts
    link.href = urlFor(urls.task, snapshot.id)
    cancel.action = urlFor(urls.cancel, snapshot.id)
    retry.action = urlFor(urls.retry, snapshot.id)
    bar.max = 1
    cancel.addEventListener("submit", event => this.#submit(event, "cancel"))
    retry.addEventListener("submit", event => this.#submit(event, "retry"))
  }

  /**
   * Show the newest snapshot.
   * @param {Snapshot} snapshot
   * @param {string[]} actions those that the visitor may take on the task at some time
   */
  show(snapshot, actions) {
    // An earlier snapshot is a correction: what was shown was never true.
    if (supersedes(this.#snapshot, snapshot)) this.#position = new BarPosition()
    if (isOutdatedBy(this.#snapshot, snapshot)) this.#error = ""
    this.#snapshot = snapshot
    if (this.#pending?.isDoneIn(snapshot)) this.#pending = null
    const shown = this.#pending?.applyTo(snapshot) ?? snapshot
    const now = this.#live.nowOf(shown.id)
    const taskHealth = health(shown, now, this.#live.limits)
    const text = pageText().describe(shown, taskHealth, now)
    const { link, figure, status, note } = this.#parts
    setAttribute(this.element, "state", shown.state)
    setAttribute(this.element, "health", taskHealth)
    setText(link, text.label)
    setText(figure, text.figure)
    setText(status, text.status)
    setText(note, this.#error)
    note.hidden = !this.#error
    this.#showBar(shown, text)
    this.#showActions(shown, text.label, actions, now)
  }

  /**
   * @param {Snapshot} snapshot
   * @param {TaskText} text
   */
  #showBar(snapshot, { label, filled, valueText }) {
    const { bar } = this.#parts
    bar.hidden = snapshot.ended
    setAttribute(bar, "aria-label", label)
    setAttribute(bar, "aria-valuetext", valueText)
    fillBar(bar, this.#position.next(snapshot, filled))
  }

  /**
   * @param {Snapshot} snapshot
   * @param {string} label
   * @param {string[]} actions
   * @param {number} now
   */
  #showActions(snapshot, label, actions, now) {
    const { cancel, retry, result, detail } = this.#parts
    const texts = pageText()
    const isStopOffered = actions.includes("cancel") && offersCancel(snapshot)
    const isEndedBadly = ["failed", "cancelled", "lost"].includes(snapshot.state)
    const reason = isStopOffered ? snapshot.no_cancel : null
    setText(detail, reason ? texts.message("no_cancel", { reason }) : "")
    detail.hidden = !reason
    const stop = nameAction(cancel, texts.message("cancel"), label)
    stop.disabled = isStopOffered && !canCancel(snapshot)
    nameAction(retry, texts.message(snapshot.state === "cancelled" ? "start_again" : "try_again"), label)
    setResultLink(result, snapshot.ended ? snapshot.result : null, texts.message("open_result"))
    setAttribute(result, "aria-label", `${result.textContent}: ${label}`)
    this.#setShown(cancel, isStopOffered)
    this.#setShown(retry, actions.includes("retry") && (isEndedBadly || mayBeLost(snapshot, now)))
  }

  /**
   * Show or hide a control. The focus inside one that is hidden moves to the row's link, so that it is not lost.
   * @param {HTMLElement} control
   * @param {boolean} isShown
   */
  #setShown(control, isShown) {
    const hadFocus = !isShown && control.contains(document.activeElement)
    control.hidden = !isShown
    if (hadFocus) this.#parts.link.focus({ preventScroll: true })
  }

  /**
   * @param {SubmitEvent} event
   * @param {"cancel" | "retry"} action
   */
  async #submit(event, action) {
    event.preventDefault()
    if (this.#pending) return
    const pending = (this.#pending = new PendingAction(action, this.#snapshot))
    this.#error = ""
    this.#onChange()
    const { isSettled, error } = await pending.carryOut(/** @type {HTMLFormElement} */ (event.target), this.#live)
    if (isSettled && this.#pending === pending) this.#pending = null
    this.#error = error
    if (error) announce(`${this.#snapshot.id} note`, error, { urgent: true })
    this.#onChange()
  }
}

const create = {
  top: () => createElement("div", { className: "telltale-top" }),
  label: () => createElement("a", { className: "telltale-label" }),
  figure: () => createElement("span", { className: "telltale-figure", "aria-hidden": "true" }),
  "row-actions": () => createElement("div", { className: "telltale-row-actions" }),
  result: () => createElement("a", { className: "telltale-result" }),
  cancel: () => createElement("form", { className: "telltale-cancel" }),
  retry: () => createElement("form", { className: "telltale-retry" }),
  bar: () => createElement("progress", { className: "telltale-bar" }),
  status: () => createElement("p", { className: "telltale-status" }),
  detail: () => createElement("p", { className: "telltale-detail" }),
  note: () => createElement("p", { className: "telltale-note" }),
}

/** @param {HTMLLIElement} element */
function findOrCreateParts(element) {
  const part = partFinder(element, create)
  const top = part("top")
  const label = part("label", top)
  const figure = part("figure", top)
  const actions = part("row-actions", top)
  const parts = {
    link: /** @type {HTMLAnchorElement} */ (label.matches("a") ? label : inside(label, "a")),
    figure,
    result: part("result", actions),
    cancel: part("cancel", actions),
    retry: part("retry", actions),
    bar: part("bar"),
    status: part("status"),
    detail: part("detail"),
    note: part("note"),
  }
  for (const form of [parts.cancel, parts.retry]) {
    form.method = "post"
    inside(form, "button")
  }
  for (const hidden of [parts.result, parts.cancel, parts.retry, parts.detail, parts.note]) hidden.hidden = true
  return parts
}

/**
 * The first element with the tag inside `parent`, which gets one if it has none.
 * @param {Element} parent
 * @param {"a" | "button"} tag
 */
const inside = (parent, tag) => parent.querySelector(tag) ?? parent.appendChild(createElement(tag))

/**
 * Write the button's text, and into its name the task, since every row has such a button.
 * @param {HTMLFormElement} form
 * @param {string} text
 * @param {string} label
 */
function nameAction(form, text, label) {
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"))
  setText(button, text)
  setAttribute(button, "aria-label", `${text}: ${label}`)
  return button
}
