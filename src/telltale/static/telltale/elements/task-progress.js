/**
 * `<task-progress task="<id>">`: brings the server-rendered bar of a task to life.
 *
 * What the server rendered stays if nothing is heard. Attributes `state`, `health` and `connected` are there
 * for style sheets; `telltale:change` and `telltale:end` bubble, with the snapshot in `detail`. The bar never goes
 * backwards within an attempt, and is never full before the end. Attribute `mine`: the visitor's own task.
 */
import { Refusal, send } from "telltale/requests.js"
import { announce, prepare } from "telltale/elements/announce.js"
import { setAttribute, setText } from "telltale/elements/dom.js"
import { health } from "telltale/health.js"
import { connect } from "telltale/index.js"
import { csrfToken } from "telltale/page.js"
import { partsOf, pointTo, showOnly } from "telltale/elements/progress-parts.js"
import { Spoken } from "telltale/elements/announcements.js"
import { inTitle } from "telltale/elements/title.js"
import { wordsHere } from "telltale/elements/page-text.js"

const TICK_MS = 1_000
const LINES = {
  reconnecting: "line_reconnecting",
  polling: "line_polling",
  offline: "line_offline",
  "signed out": "line_ended",
}
/** A line that comes back sooner than this was never said to be gone. */
const LINE_PATIENCE_MS = 1_500

export class TaskProgress extends HTMLElement {
  #life = null
  #parts = null
  #live = null
  #snapshot = null
  /** What was asked for here and not yet confirmed: "cancel" or "retry", and of which attempt. */
  #asked = null
  #high = { attempt: 0, share: 0 }
  #spoken = new Spoken()
  #lineTimer = null

  get task() {
    return this.getAttribute("task")
  }

  /** The newest snapshot shown; null before the first. */
  get snapshot() {
    return this.#snapshot
  }

  connectedCallback() {
    if (!this.task) return
    this.#life = new AbortController()
    const { signal } = this.#life
    prepare()
    this.#parts = partsOf(this)
    this.#remember()
    this.#live = connect()
    this.#live.states(state => this.#connection(state), { signal })
    this.#live.task(this.task, snapshot => this.#receive(snapshot), { signal, mine: this.hasAttribute("mine") })
    this.#connection(this.#live.state)
    this.addEventListener("submit", event => this.#act(event), { signal })
    document.addEventListener("visibilitychange", () => this.#titled(), { signal })
    const ticking = setInterval(() => this.#tick(), TICK_MS)
    signal.addEventListener("abort", () => clearInterval(ticking))
    signal.addEventListener("abort", () => clearTimeout(this.#lineTimer))
  }

  disconnectedCallback() {
    if (this.#life && isFirst(this)) inTitle(null)
    this.#life?.abort()
    this.#life = null
  }

  /** What the server rendered counts: the bar must not fall behind it. */
  #remember() {
    const { bar } = this.#parts
    if (this.#high.attempt === 0 && bar.position > 0) this.#high.share = bar.position
  }

  #receive(snapshot) {
    const before = this.#snapshot
    this.#snapshot = snapshot
    if (this.#asked && (snapshot.attempt > this.#asked.attempt || snapshot.ended !== this.#asked.ended)) this.#asked = null
    this.#show()
    this.#tell("telltale:change")
    const hasJustEnded = snapshot.ended && before && !(before.ended && before.attempt === snapshot.attempt)
    if (hasJustEnded) this.#tell("telltale:end")
  }

  #tell(name) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, detail: this.#snapshot }))
  }

  #tick() {
    if (this.#snapshot && !this.#snapshot.ended) this.#show()
  }

  #show() {
    const snapshot = this.#expected()
    const { label, figure, bar, status, quiet, result, cancel, retry } = this.#parts
    const words = wordsHere()
    const now = this.#live.now
    const doing = health(snapshot, now, this.#live.limits)
    const telling = words.tell(snapshot, doing, now)

    setAttribute(this, "state", snapshot.state)
    setAttribute(this, "health", doing)
    setText(label.querySelector("a") ?? label, snapshot.label)
    setText(figure, telling.figure)
    this.#fill(bar, snapshot, telling)
    setText(status, telling.status)
    setText(quiet, telling.quiet)

    if (cancel) {
      const button = cancel.querySelector("button")
      button.disabled = Boolean(snapshot.no_cancel)
    }
    if (retry) setText(retry.querySelector("button"), words.say(snapshot.state === "cancelled" ? "start_again" : "try_again"))
    pointTo(result, snapshot.ended ? snapshot.result : null, words.say("open_result"))
    showOnly(this, [
      [cancel, isCancellable(snapshot, doing)],
      [retry, ["failed", "cancelled", "lost"].includes(snapshot.state)],
    ])

    const said = this.#spoken.next(snapshot, doing, telling.filled, now)
    if (said) announce(snapshot.id, `${snapshot.label}: ${telling.status}`, said)
    this.#titled()
  }

  #fill(bar, snapshot, telling) {
    if (snapshot.attempt > this.#high.attempt) {
      // The first snapshot goes on from what the server rendered; a later attempt starts afresh.
      const share = this.#high.attempt === 0 && snapshot.state !== "queued" ? this.#high.share : 0
      this.#high = { attempt: snapshot.attempt, share }
    }
    this.#high.share = Math.max(this.#high.share, telling.filled ?? 0)
    setAttribute(bar, "aria-label", snapshot.label)
    setAttribute(bar, "aria-valuetext", telling.valueText)
    const isUnknown = telling.filled === null && this.#high.share === 0
    if (isUnknown) bar.removeAttribute("value")
    else if (bar.value !== this.#high.share || !bar.hasAttribute("value")) bar.value = this.#high.share
  }

  /** The snapshot as it will be once the server has done what was asked: a click is seen at once. */
  #expected() {
    const snapshot = this.#snapshot
    if (this.#asked?.what === "cancel") return { ...snapshot, cancel_requested: true }
    if (this.#asked?.what !== "retry") return snapshot
    const progress = { fraction: null, current: null, total: null, unit: "", message: "", stage: "", step: 0, steps: null }
    return { ...snapshot, attempt: snapshot.attempt + 1, state: "queued", ended: false, cancel_requested: false, progress }
  }

  async #act(event) {
    const form = event.target
    const what = form === this.#parts.cancel ? "cancel" : form === this.#parts.retry ? "retry" : null
    // Before the first snapshot, and for forms of the site's own, the browser does what it always does.
    if (!what || !this.#snapshot) return
    event.preventDefault()
    if (this.#asked) return
    const { attempt, ended } = this.#snapshot
    this.#asked = { what, attempt, ended }
    this.#note("")
    this.#show()
    try {
      const told = await send(form, csrfToken(this.#live.page))
      this.#live.receive({ tasks: [told] })
      // Cancelling is confirmed by the task itself; a retry is a new attempt already.
      if (told.attempt > attempt || told.ended || told.cancel_requested) this.#asked = null
    } catch (error) {
      this.#asked = null
      this.#note((error instanceof Refusal && error.message) || wordsHere().say("not_done"))
    }
    if (this.isConnected) this.#show()
  }

  #note(text) {
    const { note } = this.#parts
    setText(note, text)
    note.hidden = !text
    if (text) announce(`${this.task} note`, text, { urgent: true })
  }

  #connection(state) {
    setAttribute(this, "connected", state === "live" || state === "polling" ? state : null)
    const { line } = this.#parts
    const key = LINES[state]
    clearTimeout(this.#lineTimer)
    if (!key) {
      line.hidden = true
      return
    }
    this.#lineTimer = setTimeout(() => {
      setText(line, wordsHere().say(key))
      line.hidden = this.#snapshot?.ended ?? false
    }, LINE_PATIENCE_MS)
  }

  #titled() {
    if (!this.#snapshot || !isFirst(this)) return
    const { ended } = this.#snapshot
    const percent = Math.floor(this.#high.share * 100)
    inTitle(ended || percent === 0 ? null : wordsHere().say("percent", { n: String(percent) }))
  }
}

const isFirst = element => document.querySelector("task-progress") === element

const isCancellable = (snapshot, doing) =>
  ["queued", "running", "retrying"].includes(snapshot.state) && doing !== "stalled" && !snapshot.cancel_requested
