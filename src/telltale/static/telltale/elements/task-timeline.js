/**
 * `<task-timeline task="<id>" src="…">`: what happened to a task, on its page.
 *
 * The server renders the list. When a snapshot says that the task's phase has changed, such as by a new attempt, the
 * list is fetched from `src`. Attribute `phase`: the attempt, the state and whether a cancellation was requested, as
 * the list shows them. Times are shown in the visitor's time zone.
 */
import { createElement } from "telltale/elements/dom.js"
import { createInstant, showInstant } from "telltale/elements/instant.js"
import { connect } from "telltale/index.js"
import { backoff } from "telltale/live/backoff.js"
import { fetchTimeline } from "telltale/requests.js"
/** @import { Snapshot } from "telltale/live/snapshots.js" */
/** @import { Moment } from "telltale/requests.js" */

/** @type {Intl.DateTimeFormatOptions} */
const TIME = { timeStyle: "medium" }
/** @type {Intl.DateTimeFormatOptions} */
const DATE_AND_TIME = { dateStyle: "medium", timeStyle: "medium" }

export class TaskTimeline extends HTMLElement {
  /** @type {AbortController | null} aborts when the element leaves the page */
  #controller = null
  /** The phase that was last asked for. */
  #asked = ""
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry

  connectedCallback() {
    this.#controller = new AbortController()
    this.#asked = this.getAttribute("phase") ?? ""
    const receive = (/** @type {Snapshot | null | undefined} */ snapshot) => snapshot && this.#receive(snapshot)
    const onChange = (/** @type {Event} */ event) => receive(/** @type {CustomEvent} */ (event).detail)
    document.addEventListener("telltale:change", onChange, { signal: this.#controller.signal })
    for (const time of this.querySelectorAll("time")) showInstant(time, styleOf)
    receive(connect().snapshots.get(this.getAttribute("task") ?? ""))
  }

  disconnectedCallback() {
    this.#controller?.abort()
    clearTimeout(this.#retry)
  }

  /** @param {Snapshot} snapshot */
  #receive(snapshot) {
    if (snapshot.id !== this.getAttribute("task")) return
    const phase = `${snapshot.attempt} ${snapshot.state} ${snapshot.cancel_requested ? 1 : 0}`
    if (phase === this.#asked) return
    this.#asked = phase
    this.#refresh(phase, 0)
  }

  /**
   * @param {string} phase
   * @param {number} failures before this request
   */
  async #refresh(phase, failures) {
    clearTimeout(this.#retry)
    const isWanted = () => this.isConnected && this.#asked === phase
    try {
      const timeline = await fetchTimeline(this.getAttribute("src") ?? "")
      if (timeline && isWanted()) this.#show(timeline)
    } catch {
      if (!isWanted()) return
      this.#retry = setTimeout(() => this.#refresh(phase, failures + 1), backoff(failures, Math.random()))
    }
  }

  /** @param {{phase: string, moments: Moment[]}} timeline */
  #show({ phase, moments }) {
    this.querySelector(".telltale-moments")?.replaceChildren(...moments.map(createMoment))
    this.setAttribute("phase", phase)
  }
}

/**
 * As `templates/telltale/task_timeline.html` renders it.
 * @param {Moment} moment
 */
function createMoment({ title, detail, error, kind, from_at, until_at }) {
  const item = createElement("li", { className: "telltale-moment" }, createElement("p", {}, title))
  item.setAttribute("kind", kind)
  if (error) item.append(createElement("p", { className: "telltale-cause" }, error))
  const line = createElement("p", { className: "telltale-detail" })
  if (from_at !== null) line.append(createShownInstant(from_at))
  if (until_at !== null) line.append(" – ", createShownInstant(until_at))
  if (detail) line.append(" · ", detail)
  item.append(line)
  return item
}

/** @param {number} seconds since 1970 */
function createShownInstant(seconds) {
  const time = createInstant(seconds)
  showInstant(time, styleOf)
  return time
}

/**
 * Without the date if it is today's.
 * @param {Date} instant
 */
const styleOf = instant => (instant.toDateString() === new Date().toDateString() ? TIME : DATE_AND_TIME)
