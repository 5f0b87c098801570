/**
 * A tab that does not lead: the leader passes messages on to it.
 *
 * With its own ticket it also reads what it follows: when it joins a leader, when its ticket has changed, and every
 * `READ_S`. So it shows nothing that its ticket does not cover, and a message that is lost on the way only comes later.
 */
import { requestPoll } from "telltale/live/polling.js"
import { visiblePart } from "telltale/sharing/tab-messages.js"
/** @import { Environment } from "telltale/live/live.js" */
/** @import { TransportOptions } from "telltale/live/transports.js" */
/** @import { Lead, Relayed, TabMessage } from "telltale/sharing/tab-messages.js" */

/** How often this tab joins, which the leader answers as a sign of life. */
const JOIN_MS = 1_000
/** A leader that is silent for this long counts as dead, so that another tab leads within 5 s. */
const SILENT_S = 3
/** If the leader's ticket does not cover what this tab follows after this time, it never will. */
const UNCOVERED_S = 3
/** The time between two reads. */
const READ_S = 25

export class Follower {
  #options
  #env
  #id
  #post
  #onLeaderSilent
  #onUncovered
  #closing = new AbortController()
  /** @type {number | undefined} */
  #timer
  /** @type {Lead | null} the leader's last answer */
  #lead = null
  #heardAt
  /** @type {number | null} since when the leader does not cover what this tab follows */
  #uncoveredAt
  /** @type {string | null} `#source` at the last read */
  #readFrom = null
  #readAt = -Infinity

  /**
   * @param {TransportOptions} options
   * @param {Environment} env
   * @param {object} tab
   * @param {string} tab.id
   * @param {(message: TabMessage) => void} tab.post
   * @param {() => void} tab.onLeaderSilent
   * @param {() => void} tab.onUncovered the leader's ticket does not cover what this tab follows
   */
  constructor(options, env, { id, post, onLeaderSilent, onUncovered }) {
    this.#options = options
    this.#env = env
    this.#id = id
    this.#post = post
    this.#onLeaderSilent = onLeaderSilent
    this.#onUncovered = onUncovered
    this.#heardAt = env.now()
    this.#uncoveredAt = env.now()
  }

  start() {
    this.#join()
    this.#timer = this.#env.setTimeout(() => this.#tick(), JOIN_MS)
  }

  /** @param {TabMessage} message of another tab */
  receive(message) {
    if (message.type === "lead") this.#onLead(message)
    else if (message.type === "message") this.#onMessage(message)
    else if (message.type === "end" && message.from === this.#lead?.from) this.#options.onEnd()
  }

  /**
   * @param {string} _ticket
   * @param {boolean} isChanged
   */
  updateTicket(_ticket, isChanged) {
    if (isChanged) this.#join()
    return true
  }

  pollNow() {
    this.#read()
  }

  close() {
    this.#closing.abort()
    this.#env.clearTimeout(this.#timer)
    this.#post({ type: "leave", from: this.#id })
  }

  #join() {
    this.#post({ type: "join", from: this.#id, topics: this.#options.topics() })
  }

  #tick() {
    this.#timer = this.#env.setTimeout(() => this.#tick(), JOIN_MS)
    const now = this.#env.now()
    this.#join()
    if (now - this.#heardAt > SILENT_S) {
      this.#heardAt = now
      this.#onLeaderSilent()
    } else if (this.#uncoveredAt !== null && now - this.#uncoveredAt > UNCOVERED_S) this.#onUncovered()
    else if (this.#isCovered && now - this.#readAt > READ_S) this.#read()
  }

  /** @param {Lead} lead */
  #onLead(lead) {
    this.#heardAt = this.#env.now()
    this.#lead = lead
    if (!this.#isCovered) {
      // While the leader connects, it is not known what it will cover.
      this.#uncoveredAt = lead.isLive ? (this.#uncoveredAt ?? this.#env.now()) : this.#env.now()
      return
    }
    this.#uncoveredAt = null
    if (this.#readFrom !== this.#source) this.#read()
  }

  /** Whether the leader is connected, with a ticket that covers what this tab follows. */
  get #isCovered() {
    const covered = new Set(this.#lead?.topics)
    return this.#lead?.isLive === true && this.#options.topics().every(topic => covered.has(topic))
  }

  /** The leader and this tab's topics, as text: after a change, this tab reads. */
  get #source() {
    return `${this.#lead?.from} ${[...this.#options.topics()].sort()}`
  }

  /** @param {Relayed} relayed */
  #onMessage({ from, topics, message }) {
    if (from !== this.#lead?.from || !this.#isCovered) return
    this.#heardAt = this.#env.now()
    const own = new Set(this.#options.topics())
    const part = visiblePart(message, topics, topic => own.has(topic))
    // This tab's own read establishes its connection.
    this.#options.onMessage(message.type === "bye" ? part : { ...part, type: "update", poll_after_s: undefined })
  }

  async #read() {
    const { signal } = this.#closing
    this.#readFrom = this.#source
    this.#readAt = this.#env.now()
    const message = await requestPoll(this.#options, this.#env, signal, 0).catch(() => null)
    if (signal.aborted) return
    if (message) this.#options.onMessage(message)
    else this.#options.onEnd()
  }
}
