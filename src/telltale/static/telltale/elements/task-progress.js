/**
 * `<task-progress task="<id>">`: keeps the server-rendered bar, text and buttons of a task up to date.
 *
 * Until the first snapshot arrives, everything stays as the server rendered it. The attributes `state`, `health` and
 * `connected` are for style sheets; the events `telltale:change` and `telltale:end` bubble, with the snapshot as
 * `detail`. The bar never moves backwards within an attempt, and is never full before the end. Attribute `mine`: the
 * task is the visitor's own.
 */
import { Announcements } from "telltale/elements/announcements.js"
import { setAttribute, setText } from "telltale/elements/dom.js"
import { announce, createLiveRegions } from "telltale/elements/live-regions.js"
import { pageText } from "telltale/elements/page-text.js"
import { findOrCreateParts, setResultLink, setShown } from "telltale/elements/progress-parts.js"
import { SteadyText } from "telltale/elements/steady-text.js"
import { setTitleProgress } from "telltale/elements/title.js"
import { canCancel, health, offersCancel } from "telltale/health.js"
import { connect } from "telltale/index.js"
import { csrfToken } from "telltale/page.js"
import { ActionFailed, ActionRefused, submitAction } from "telltale/requests.js"
/** @import { Parts } from "telltale/elements/progress-parts.js" */
/** @import { Live, LiveState } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */
/** @import { Moving } from "telltale/task-text.js" */

const TICK_MS = 1_000
/** The count changes at most twice a second, the words of the time left every 5 s: what flickers is not read. */
const COUNT_STAYS_S = 0.5
const TIME_LEFT_STAYS_S = 5
/** A connection that is back sooner than this is not shown as lost. */
const SHOW_CONNECTION_AFTER_MS = 1_500

/** @type {Object<string, string>} the message for each state of the connection that needs one */
const CONNECTION_MESSAGES = {
  reconnecting: "connection_reconnecting",
  polling: "connection_polling",
  offline: "connection_offline",
  "signed out": "connection_ended",
}


export class TaskProgress extends HTMLElement {
  /** @type {AbortController | null} aborts when the element leaves the page */
  #controller = null
  /** @type {Parts} */
  #parts
  /** @type {Live} */
  #live
  /** @type {Snapshot | null} */
  #snapshot = null
  /** @type {{action: "cancel" | "retry", attempt: number, ended: boolean} | null} submitted here, not yet confirmed */
  #pending = null
  /** The fullest that the bar has been in the current attempt, 0 to 1. */
  #filled = 0
  /** The attempt that `#filled` belongs to; 0 before the first snapshot. */
  #filledAttempt = 0
  #announcements = new Announcements()
  #count = new SteadyText(COUNT_STAYS_S)
  #timeLeft = new SteadyText(TIME_LEFT_STAYS_S)
  /** @type {number | undefined} */
  #connectionTimer

  /** The id of the task. */
  get task() {
    return this.getAttribute("task")
  }

  /** The newest snapshot; null before the first. */
  get snapshot() {
    return this.#snapshot
  }

  connectedCallback() {
    const { task } = this
    if (!task) return
    this.#controller = new AbortController()
    const { signal } = this.#controller
    createLiveRegions()
    this.#parts = findOrCreateParts(this)
    this.#readRenderedBar()
    this.#live = connect()
    this.#live.states(state => this.#showConnection(state), { signal })
    this.#live.task(task, snapshot => this.#receive(snapshot), { signal, mine: this.hasAttribute("mine") })
    this.#showConnection(this.#live.state)
    this.addEventListener("submit", event => this.#submit(event), { signal })
    document.addEventListener("visibilitychange", () => this.#showInTitle(), { signal })
    const ticking = setInterval(() => this.#tick(), TICK_MS)
    signal.addEventListener("abort", () => clearInterval(ticking))
    signal.addEventListener("abort", () => clearTimeout(this.#connectionTimer))
  }

  disconnectedCallback() {
    if (this.#controller && isFirst(this)) setTitleProgress(null)
    this.#controller?.abort()
    this.#controller = null
  }

  /** The bar must not fall behind what the server rendered. */
  #readRenderedBar() {
    const { bar } = this.#parts
    if (this.#filledAttempt === 0 && bar.position > 0) this.#filled = bar.position
  }

  /** @param {Snapshot} snapshot */
  #receive(snapshot) {
    const previous = this.#snapshot
    this.#snapshot = snapshot
    const pending = this.#pending
    if (pending && (snapshot.attempt > pending.attempt || snapshot.ended !== pending.ended)) this.#pending = null
    this.#show()
    this.#dispatch("telltale:change")
    const hasJustEnded = snapshot.ended && previous && !(previous.ended && previous.attempt === snapshot.attempt)
    if (hasJustEnded) this.#dispatch("telltale:end")
  }

  /** @param {string} name */
  #dispatch(name) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, detail: this.#snapshot }))
  }

  /** Times and health change without a new snapshot. */
  #tick() {
    if (this.#snapshot && !this.#snapshot.ended) this.#show()
  }

  #show() {
    if (!this.#snapshot) return
    const snapshot = this.#withPendingAction(this.#snapshot)
    const { label, figure, bar, status, detail } = this.#parts
    const now = this.#live.now
    const taskHealth = health(snapshot, now, this.#live.limits)
    const text = pageText().describe(snapshot, taskHealth, now, this.#steadied(pageText().moving(snapshot, now)))

    setAttribute(this, "state", snapshot.state)
    setAttribute(this, "health", taskHealth)
    setText(label.querySelector("a") ?? label, snapshot.label)
    setText(figure, text.figure)
    this.#fill(snapshot, text.filled)
    setAttribute(bar, "aria-label", snapshot.label)
    setAttribute(bar, "aria-valuetext", text.valueText)
    setText(status, text.status)
    setText(detail, text.detail)
    this.#showControls(snapshot)

    const announcement = this.#announcements.next(snapshot, taskHealth, text.filled, now)
    if (announcement) announce(snapshot.id, `${snapshot.label}: ${text.status}`, announcement)
    this.#showInTitle()
  }

  /** @param {Moving} moving */
  #steadied({ count, timeLeft }) {
    const now = performance.now() / 1_000
    return { count: this.#count.next(count, now), timeLeft: this.#timeLeft.next(timeLeft, now) }
  }

  /** @param {Snapshot} snapshot */
  #showControls(snapshot) {
    const { result, cancel, retry } = this.#parts
    const texts = pageText()
    const cancelButton = cancel?.querySelector("button")
    // A hidden button stays enabled, so that the focus can move away from it.
    const isOffered = offersCancel(snapshot)
    if (cancelButton) cancelButton.disabled = isOffered && !canCancel(snapshot)
    const retryButton = retry?.querySelector("button")
    const retryText = snapshot.state === "cancelled" ? "start_again" : "try_again"
    if (retryButton) setText(retryButton, texts.message(retryText))
    setResultLink(result, snapshot.ended ? snapshot.result : null, texts.message("open_result"))
    setShown(this, [
      [cancel, isOffered],
      [retry, ["failed", "cancelled", "lost"].includes(snapshot.state)],
    ])
  }

  /**
   * @param {Snapshot} snapshot
   * @param {number | null} filled how full the bar should be, 0 to 1; null if unknown
   */
  #fill({ attempt, state }, filled) {
    const { bar } = this.#parts
    if (attempt > this.#filledAttempt) {
      // The first snapshot continues from what the server rendered; a later attempt starts at 0.
      const isContinued = this.#filledAttempt === 0 && state !== "queued"
      if (!isContinued) this.#filled = 0
      this.#filledAttempt = attempt
    }
    this.#filled = Math.max(this.#filled, filled ?? 0)
    const isUnknown = filled === null && this.#filled === 0
    if (isUnknown) bar.removeAttribute("value")
    else if (bar.value !== this.#filled || !bar.hasAttribute("value")) bar.value = this.#filled
  }

  /**
   * The snapshot as it will be once the server has done the submitted action, so that a click is visible at once.
   * @param {Snapshot} snapshot
   * @returns {Snapshot}
   */
  #withPendingAction(snapshot) {
    if (!this.#pending) return snapshot
    if (this.#pending.action === "cancel") return { ...snapshot, cancel_requested: true }
    const progress = { fraction: null, current: null, total: null, unit: "", message: "", stage: "", step: 0, steps: null }
    return { ...snapshot, attempt: snapshot.attempt + 1, state: "queued", ended: false, cancel_requested: false, progress }
  }

  /** @param {SubmitEvent} event */
  async #submit(event) {
    const form = /** @type {HTMLFormElement} */ (event.target)
    const action = form === this.#parts.cancel ? "cancel" : form === this.#parts.retry ? "retry" : null
    // Before the first snapshot, and for the site's own forms, the browser submits as usual.
    if (!action || !this.#snapshot) return
    event.preventDefault()
    if (this.#pending) return
    const { attempt, ended } = this.#snapshot
    this.#pending = { action, attempt, ended }
    this.#showError("")
    this.#show()
    try {
      const snapshot = await submitAction(form, csrfToken(this.#live.page))
      this.#live.receive({ tasks: [snapshot] })
      // The task itself confirms a cancellation; a retry is a new attempt already.
      if (snapshot.attempt > attempt || snapshot.ended || snapshot.cancel_requested) this.#pending = null
    } catch (error) {
      this.#pending = null
      this.#showError(reasonOf(error))
    }
    if (this.isConnected) this.#show()
  }

  /** @param {string} text empty to hide the last error */
  #showError(text) {
    const { note } = this.#parts
    setText(note, text)
    note.hidden = !text
    if (text) announce(`${this.task} note`, text, { urgent: true })
  }

  /** @param {LiveState} state */
  #showConnection(state) {
    setAttribute(this, "connected", state === "live" || state === "polling" ? state : null)
    const { line } = this.#parts
    const message = CONNECTION_MESSAGES[state]
    clearTimeout(this.#connectionTimer)
    if (!message) {
      line.hidden = true
      return
    }
    this.#connectionTimer = setTimeout(() => {
      setText(line, pageText().message(message))
      line.hidden = this.#snapshot?.ended ?? false
    }, SHOW_CONNECTION_AFTER_MS)
  }

  #showInTitle() {
    if (!this.#snapshot || !isFirst(this)) return
    const percent = Math.floor(this.#filled * 100)
    const isShown = !this.#snapshot.ended && percent > 0
    setTitleProgress(isShown ? pageText().message("percent", { n: String(percent) }) : null)
  }
}

/** @param {unknown} error of an action */
function reasonOf(error) {
  if (error instanceof ActionRefused) return pageText().message("connection_ended")
  return (error instanceof ActionFailed && error.message) || pageText().message("unreachable")
}

/** @param {TaskProgress} element */
const isFirst = element => document.querySelector("task-progress") === element
