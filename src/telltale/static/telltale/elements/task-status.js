/**
 * `<task-status task="<id>">`: a task in one line: an icon, its label, which leads to its page, and how far it is.
 *
 * The same attributes as of `<task-progress>`: `task`, `mine`, `owner`; for style sheets `state` and `health`. What the
 * server rendered stays until a snapshot is newer.
 */
import { createElement, setAttribute, setText } from "telltale/elements/dom.js"
import { ForeignChanges } from "telltale/elements/foreign-changes.js"
import { pageText } from "telltale/elements/page-text.js"
import { readRendered, writeRendered } from "telltale/elements/progress-parts.js"
import { Rendering } from "telltale/elements/render-queue.js"
import { TaskElement } from "telltale/elements/task-element.js"
import { health } from "telltale/health.js"
import { connect } from "telltale/index.js"
import { supersedes } from "telltale/live/snapshots.js"
import { urlFor } from "telltale/page.js"
/** @import { Live } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */

const TICK_MS = 1_000
/** @type {MutationObserverInit} what others may change in the element */
const WATCHED = { attributes: true, characterData: true, childList: true, subtree: true }

export class TaskStatus extends TaskElement {
  /** @type {AbortController | null} aborts when the element leaves the page, or gets another task */
  #controller = null
  /** What is followed, as a text. */
  #followed = ""
  /** @type {Live} */
  #live
  /** @type {Snapshot | null} */
  #snapshot = null
  #changes = new ForeignChanges(this, WATCHED, () => this.#onForeignChange())
  #rendering = new Rendering(() => this.#show())

  connectedCallback() {
    super.connectedCallback()
    this.#follow()
  }

  disconnectedCallback() {
    this.#controller?.abort()
    this.#controller = null
  }

  #follow() {
    const { task } = this
    const mine = this.coveredBy
    this.#controller?.abort()
    this.#controller = new AbortController()
    const { signal } = this.#controller
    this.#followed = `${task} ${mine}`
    this.#changes.observe(signal)
    if (this.#snapshot && this.#snapshot.id !== task) this.#forget()
    if (!task) return
    this.#rendering.observe(this, signal)
    this.#live = connect()
    const receive = (/** @type {Snapshot} */ snapshot) => {
      this.#snapshot = snapshot
      // After the end no timer shows what waits, and a screen reader may read a line out of sight.
      if (snapshot.ended) this.#show()
      else this.#rendering.request()
    }
    const onCorrected = () => this.#forget()
    this.#live.task(task, receive, { signal, mine, hasEnded: this.#rendered?.ended, onCorrected })
    const ticking = setInterval(() => !this.#snapshot?.ended && this.#show(), TICK_MS)
    signal.addEventListener("abort", () => clearInterval(ticking))
  }

  /** What is shown is another task's, or was never true. */
  #forget() {
    this.#snapshot = null
    if (this.#rendered?.task !== this.task) this.#changes.ignore(() => this.#showText("", ""))
    this.#changes.ignore(() => this.removeAttribute("rendered"))
  }

  #onForeignChange() {
    if (this.#followed !== `${this.task} ${this.coveredBy}`) this.#follow()
    this.#show()
  }

  /** What the content shows of the task, if it tells. */
  get #rendered() {
    const rendered = readRendered(this)
    return rendered?.task === this.task ? rendered : null
  }

  #show() {
    this.#rendering.done()
    const snapshot = this.#snapshot
    const rendered = this.#rendered
    if (!snapshot || (rendered && supersedes(rendered, snapshot))) return
    const now = this.#live.nowOf(snapshot.id)
    const taskHealth = health(snapshot, now, this.#live.limits)
    const { label, figure, status } = pageText().describe(snapshot, taskHealth, now)
    this.#changes.ignore(() => {
      setAttribute(this, "state", snapshot.state)
      setAttribute(this, "health", taskHealth)
      this.#showText(label, figure || status)
      writeRendered(this, snapshot)
    })
  }

  /**
   * @param {string} label
   * @param {string} status
   */
  #showText(label, status) {
    const link = this.querySelector(".telltale-label") ?? createElement("a", { className: "telltale-label" })
    const line = this.querySelector(".telltale-status") ?? createElement("span", { className: "telltale-status" })
    if (link.parentNode === null || line.parentNode === null) this.append(link, " ", line)
    if (link instanceof HTMLAnchorElement && this.task) setAttribute(link, "href", urlFor(this.#live.page.urls.task, this.task))
    setText(link, label)
    setText(line, status)
  }
}
