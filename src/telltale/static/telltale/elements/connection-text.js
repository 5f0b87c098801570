/** The text of a bar about the state of the connection, if there is something to say. */
import { pageText } from "telltale/elements/page-text.js"
/** @import { LiveState } from "telltale/live/live.js" */

/** A connection that is back sooner than this is not shown as lost. */
const SHOW_AFTER_MS = 1_500

/** @type {Object<string, string>} the message for each state of the connection that needs one */
const MESSAGES = {
  reconnecting: "connection_reconnecting",
  polling: "connection_polling",
  offline: "connection_offline",
  "signed out": "connection_ended",
}

export class ConnectionText {
  #text = ""
  /** Whether the page may follow the task. */
  #isGranted = true
  /** @type {LiveState} */
  #state = "idle"
  /** @type {number | undefined} */
  #timer
  #onChange

  /** @param {() => void} onChange the text, or what is granted, may have changed */
  constructor(onChange) {
    this.#onChange = onChange
  }

  /** Empty while the connection is fine. */
  get text() {
    if (this.#isGranted) return this.#text
    return pageText().message(this.#state === "signed out" ? "connection_ended" : "not_followed")
  }

  /** The state in which the task is up to date; null in others. */
  get connected() {
    return this.#isGranted && (this.#state === "live" || this.#state === "polling") ? this.#state : null
  }

  /** @param {LiveState} state */
  update(state) {
    this.#state = state
    this.stop()
    const message = MESSAGES[state]
    if (!message) this.#text = ""
    else {
      this.#timer = setTimeout(() => {
        this.#text = pageText().message(message)
        this.#onChange()
      }, SHOW_AFTER_MS)
    }
    this.#onChange()
  }

  /** @param {boolean} isGranted */
  grant(isGranted) {
    this.#isGranted = isGranted
    this.#onChange()
  }

  /** The element leaves the page. */
  stop() {
    clearTimeout(this.#timer)
  }
}
