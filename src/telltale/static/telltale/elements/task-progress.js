/**
 * `<task-progress task="<id>">`: keeps the server-rendered bar, text and buttons of a task up to date.
 *
 * While no snapshot is as new as what the server rendered, everything stays as it was rendered. A morph, a framework
 * or another script may change the attributes `task` and `mine` and the content at any time: what is missing is
 * created again, and the newest snapshot is shown again before the page paints. The attributes `state`, `health`,
 * `keeps-running` and `connected` are for style sheets; the events `telltale:change` and `telltale:end` bubble, with
 * the snapshot as `detail`. The bar never moves backwards within an attempt, and is never full before the end.
 * Attribute `notify`: "always" or "never" offers "Tell me when it's done"; without it, for a task that takes some seconds.
 * Attribute `mine`: the task is the visitor's own; `owner`: the topic of its owner, by which the page follows it. A
 * task that the page may not follow stays as it is, and the element says so.
 */
import { Announcements } from "telltale/elements/announcements.js"
import { BarPosition } from "telltale/elements/bar-position.js"
import { ConnectionText } from "telltale/elements/connection-text.js"
import { setAttribute, setText } from "telltale/elements/dom.js"
import { ForeignChanges } from "telltale/elements/foreign-changes.js"
import { announce, createLiveRegions } from "telltale/elements/live-regions.js"
import { pageText } from "telltale/elements/page-text.js"
import { PendingAction } from "telltale/elements/pending-action.js"
import { clearParts, fillBar, findOrCreateParts, readRendered, setResultLink, setShown, setTicks, writeRendered } from "telltale/elements/progress-parts.js"
import { Rendering } from "telltale/elements/render-queue.js"
import { SteadyText } from "telltale/elements/steady-text.js"
import { TaskElement } from "telltale/elements/task-element.js"
import { updateTellButton, watchTellButton } from "telltale/elements/tell-button.js"
import { clearTitleProgress, setTitleProgress } from "telltale/elements/title.js"
import { canCancel, health, mayBeLost, offersCancel } from "telltale/health.js"
import { connect } from "telltale/index.js"
import { isOutdatedBy, supersedes } from "telltale/live/snapshots.js"
import { urlFor } from "telltale/page.js"
import { withReturnValue } from "telltale/return-value.js"
/** @import { Parts } from "telltale/elements/progress-parts.js" */
/** @import { Live } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */
/** @import { Moving } from "telltale/task-text.js" */

const TICK_MS = 1_000
/** The count changes at most twice a second, the words of the time left every 5 s: what flickers is not read. */
const COUNT_STAYS_S = 0.5
const TIME_LEFT_STAYS_S = 5

/** @type {MutationObserverInit} what others may change in the element */
const WATCHED = { attributes: true, characterData: true, childList: true, subtree: true }

export class TaskProgress extends TaskElement {
  /** @type {AbortController | null} aborts when the element leaves the page, or gets another task */
  #controller = null
  /** @type {{task: string | null, mine: boolean | string} | null} what is followed, or was last */
  #followed = null
  /** @type {Parts} */
  #parts
  /** @type {string[]} addresses of the forms in the content that belong to an earlier task */
  #staleActions = []
  /** @type {Live} */
  #live
  /** @type {Snapshot | null} */
  #snapshot = null
  /** @type {PendingAction | null} */
  #pending = null
  /** The reason why the last action failed; empty if none did. */
  #error = ""
  #connection = new ConnectionText(() => this.#showConnection())
  #position = new BarPosition()
  /** The percentage that is shown; empty where the bar is filled by time alone. */
  #figure = ""
  #announcements = new Announcements()
  #count = new SteadyText(COUNT_STAYS_S)
  #timeLeft = new SteadyText(TIME_LEFT_STAYS_S)
  #changes = new ForeignChanges(this, WATCHED, () => this.#onForeignChange())
  #rendering = new Rendering(() => this.#show())

  /** The newest snapshot; null before the first. */
  get snapshot() {
    return this.#snapshot
  }

  connectedCallback() {
    super.connectedCallback()
    this.#follow()
  }

  disconnectedCallback() {
    clearTitleProgress(this)
    this.#controller?.abort()
    this.#controller = null
  }

  #follow() {
    const task = this.task
    const mine = this.coveredBy
    this.#controller?.abort()
    this.#controller = new AbortController()
    const { signal } = this.#controller
    if (this.#followed?.task && this.#followed.task !== task) this.#forgetTask()
    this.#followed = { task, mine }
    this.#changes.observe(signal)
    if (!task) return
    this.#rendering.observe(this, signal)
    createLiveRegions()
    this.#live = connect()
    this.#changes.ignore(() => this.#readContent())
    this.#connection.grant(true)
    this.#live.states(state => this.#connection.update(state), { signal })
    const rendered = this.#rendered
    const hasEnded = rendered?.ended
    // Of what the page knows already, the news are not new.
    if (!this.#snapshot && !this.#live.snapshots.has(task)) this.#announcements = new Announcements(rendered)
    const onGranted = (/** @type {boolean} */ isGranted) => this.#onGranted(isGranted)
    const onCorrected = () => this.#forgetShown()
    this.#live.task(task, snapshot => this.#receive(snapshot), { signal, mine, hasEnded, onGranted, onCorrected })
    this.#connection.update(this.#live.state)
    this.addEventListener("submit", event => this.#submit(event), { signal })
    watchTellButton(this, this.#live, { signal, onChange: () => this.#show(), onError: text => this.#showError(text) })
    document.addEventListener("visibilitychange", () => this.#showInTitle(), { signal })
    const ticking = setInterval(() => this.#tick(), TICK_MS)
    signal.addEventListener("abort", () => clearInterval(ticking))
    signal.addEventListener("abort", () => this.#connection.stop())
  }

  /** The element gets another task. Its content is the old one's, unless the server has rendered the new one's. */
  #forgetTask() {
    clearTitleProgress(this)
    this.#snapshot = null
    this.#pending = null
    this.#error = ""
    this.#position = new BarPosition()
    this.#announcements = new Announcements()
    this.#count = new SteadyText(COUNT_STAYS_S)
    this.#timeLeft = new SteadyText(TIME_LEFT_STAYS_S)
    this.#changes.ignore(() => {
      const parts = findOrCreateParts(this)
      const isRendered = this.#rendered !== null
      const forms = isRendered ? [] : [parts.cancel, parts.retry]
      this.#staleActions = forms.map(form => form?.action ?? "")
      if (isRendered) return
      clearParts(parts, this.task && urlFor(this.#live.page.urls.task, this.task))
      for (const name of ["rendered", "state", "health", "keeps-running", "connected"]) this.removeAttribute(name)
    })
  }

  /** What is shown was never true: the next snapshot replaces it, also with less progress or an earlier attempt. */
  #forgetShown() {
    this.#snapshot = null
    this.#position = new BarPosition()
    this.#announcements = new Announcements()
    this.#changes.ignore(() => this.removeAttribute("rendered"))
  }

  /** Find the parts, and create those that are missing. The bar must not fall behind what the server rendered. */
  #readContent() {
    const parts = findOrCreateParts(this)
    const rendered = this.#rendered
    if (this.#staleActions.includes(parts.cancel?.action ?? "none")) parts.cancel = null
    if (this.#staleActions.includes(parts.retry?.action ?? "none")) parts.retry = null
    this.#parts = parts
    if (rendered ? this.#isRenderedNewer : !this.#snapshot) {
      this.#position.rendered(parts.bar.position, rendered?.attempt)
    }
  }

  /** What the content shows of the task, if it tells. */
  get #rendered() {
    const rendered = readRendered(this)
    return rendered?.task === this.task ? rendered : null
  }

  /** Whether the content is newer than the newest snapshot, because the server has rendered it since. */
  get #isRenderedNewer() {
    const rendered = this.#rendered
    // An element that a soft navigation brings may show less than the page knows already.
    const known = this.#snapshot ?? this.#live.snapshots.get(this.task ?? "")
    return rendered !== null && supersedes(rendered, known)
  }

  #onForeignChange() {
    const { task } = this
    if (this.#followed?.task !== task || this.#followed.mine !== this.coveredBy) return this.#follow()
    if (!task) return
    this.#changes.ignore(() => this.#readContent())
    this.#show()
    this.#showConnection()
    this.#showNote()
  }

  /** @param {Snapshot} snapshot */
  #receive(snapshot) {
    const previous = this.#snapshot ?? this.#rendered
    this.#snapshot = snapshot
    if (this.#pending?.isDoneIn(snapshot)) this.#pending = null
    const isNewPhase = previous && isOutdatedBy(previous, snapshot)
    if (isNewPhase && this.#error) this.#showError("") // A text such as "Try again" would be wrong now.
    const hasOnlyMoved = previous && "progress" in previous && isSamePhase(previous, snapshot)
    if (!hasOnlyMoved || (document.hidden && isFirst(this))) this.#show()
    else this.#rendering.request()
    this.#dispatch("telltale:change")
    if (snapshot.ended && isNewPhase) this.#dispatchEnd(snapshot)
  }

  /**
   * @param {string} name
   * @param {Snapshot | null} detail
   */
  #dispatch(name, detail = this.#snapshot) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }))
  }

  /** @param {Snapshot} snapshot */
  async #dispatchEnd(snapshot) {
    if (!snapshot.has_return_value || !this.mine) return this.#dispatch("telltale:end")
    const detail = await withReturnValue(this.#live.page, snapshot)
    if (this.isConnected && this.task === snapshot.id) this.#dispatch("telltale:end", detail)
  }

  /** Times and health change without a new snapshot. */
  #tick() {
    if (this.#snapshot && !this.#snapshot.ended) this.#show()
  }

  #show() {
    this.#rendering.done()
    if (!this.#snapshot || (this.#isRenderedNewer && !this.#pending)) return
    const snapshot = this.#snapshot
    this.#changes.ignore(() => {
      this.#showSnapshot(this.#pending?.applyTo(snapshot) ?? snapshot)
      writeRendered(this, snapshot)
    })
    this.#showInTitle()
  }

  /** @param {Snapshot} snapshot */
  #showSnapshot(snapshot) {
    const { label, figure, bar, status, detail } = this.#parts
    const now = this.#live.nowOf(snapshot.id)
    const taskHealth = health(snapshot, now, this.#live.limits)
    const text = pageText().describe(snapshot, taskHealth, now, this.#steadied(pageText().moving(snapshot, now)))

    setAttribute(this, "state", snapshot.state)
    setAttribute(this, "health", taskHealth)
    this.toggleAttribute("keeps-running", text.keepsRunning)
    setText(label.querySelector("a") ?? label, text.label)
    setText(figure, text.figure)
    this.#figure = text.figure
    fillBar(bar, this.#position.next(snapshot, text.filled))
    setAttribute(bar, "aria-label", text.label)
    setAttribute(bar, "aria-valuetext", text.valueText)
    setTicks(this.#parts, text.borders)
    setText(status, text.status)
    setText(detail, text.detail)
    this.#showControls(snapshot, now)

    const announcement = this.#announcements.next(snapshot, taskHealth, snapshot.progress.fraction, now)
    if (!announcement) return
    const news = announcement.says === "percentage" ? text.figure : text.status
    announce(snapshot.id, `${text.label}: ${news}`, announcement)
  }

  /** @param {Moving} moving */
  #steadied({ count, timeLeft }) {
    const now = performance.now() / 1_000
    return { count: this.#count.next(count, now), timeLeft: this.#timeLeft.next(timeLeft, now) }
  }

  /**
   * @param {Snapshot} snapshot
   * @param {number} now
   */
  #showControls(snapshot, now) {
    const { tell, result, cancel, retry } = this.#parts
    const texts = pageText()
    const cancelButton = cancel?.querySelector("button")
    // A hidden button stays enabled, so that the focus can move away from it.
    const isOffered = offersCancel(snapshot)
    if (cancelButton) cancelButton.disabled = isOffered && !canCancel(snapshot)
    const retryButton = retry?.querySelector("button")
    const retryText = snapshot.state === "cancelled" ? "start_again" : "try_again"
    if (retryButton) setText(retryButton, texts.message(retryText))
    setResultLink(result, snapshot.ended ? snapshot.result : null, texts.message("open_result"))
    setShown(this, pageText().label(snapshot), [
      [tell, updateTellButton(tell, this, snapshot, now)],
      [cancel, isOffered],
      [retry, ["failed", "cancelled", "lost"].includes(snapshot.state) || mayBeLost(snapshot, now)],
    ])
  }

  /** @param {SubmitEvent} event */
  async #submit(event) {
    const form = /** @type {HTMLFormElement} */ (event.target)
    const action = form === this.#parts.cancel ? "cancel" : form === this.#parts.retry ? "retry" : null
    // Before the first snapshot, and for the site's own forms, the browser submits as usual.
    if (!action || !this.#snapshot) return
    event.preventDefault()
    if (this.#pending) return
    const { id } = this.#snapshot
    const pending = (this.#pending = new PendingAction(action, this.#snapshot))
    this.#showError("")
    this.#show()
    const { isSettled, error } = await pending.carryOut(form, this.#live)
    // The element may have another task by now.
    if (this.task !== id) return
    if (isSettled) this.#pending = null
    if (error) this.#showError(error)
    if (this.isConnected) this.#show()
  }

  /** @param {string} text empty to hide the last error */
  #showError(text) {
    this.#error = text
    this.#showNote()
    if (text) announce(`${this.task} note`, text, { urgent: true })
  }

  #showNote() {
    const { note } = this.#parts
    this.#changes.ignore(() => {
      setText(note, this.#error)
      note.hidden = !this.#error
    })
  }

  /** @param {boolean} isGranted */
  #onGranted(isGranted) {
    this.#connection.grant(isGranted)
    this.#show()
  }

  #showConnection() {
    const { line } = this.#parts
    const { text, connected } = this.#connection
    const isShown = text !== "" && !this.#snapshot?.ended
    this.#changes.ignore(() => {
      setAttribute(this, "connected", connected)
      if (isShown) setText(line, text)
      line.hidden = !isShown
    })
  }

  #showInTitle() {
    if (!this.#snapshot || !isFirst(this)) return
    const isShown = !this.#snapshot.ended && this.#figure !== ""
    setTitleProgress(this, isShown ? this.#figure : null, this.#parts.bar.position)
  }
}

/**
 * Whether nothing changed but counts and times. All else is shown, and announced, at once.
 * @param {Snapshot} a
 * @param {Snapshot} b
 */
const isSamePhase = (a, b) =>
  a.attempt === b.attempt &&
  a.state === b.state &&
  a.cancel_requested === b.cancel_requested &&
  a.progress.step === b.progress.step

/** @param {TaskProgress} element */
const isFirst = element => document.querySelector("task-progress") === element
