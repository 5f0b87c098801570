/**
 * The page's ticket: which topics it should cover, and its renewal, one request at a time.
 *
 * `live.js` is called back for each new ticket, and when the server refuses one for good.
 */
import { backoff } from "telltale/live/backoff.js"
import { TicketRefused, fetchTicket } from "telltale/requests.js"
/** @import { Clock } from "telltale/live/clock.js" */
/** @import { Environment } from "telltale/live/live.js" */
/** @import { Page } from "telltale/page.js" */
/** @import { Ticket } from "telltale/requests.js" */

/** Topics added within this time are requested together. */
const BATCH_MS = 30
/** A ticket is renewed this long before it expires, or after half its lifetime if that is shorter. */
const RENEW_BEFORE_S = 60
/** A ticket that expires sooner than this is not used for a new connection. */
const EXPIRES_SOON_S = 2

export class Tickets {
  #page
  #clock
  #env
  #callbacks
  /** @type {Set<string>} the topics that the next ticket is requested for */
  #topics
  /** @type {Ticket} */
  #ticket
  /** @type {number | undefined} */
  #renewalTimer
  /** @type {number | undefined} */
  #batchTimer
  /** @type {Promise<void> | null} the request under way */
  #request = null
  #failures = 0

  /**
   * @param {Page} page
   * @param {Clock} clock
   * @param {{onRenewed: (ticket: string) => void, onRefused: () => void}} callbacks
   * @param {Pick<Environment, "fetch" | "setTimeout" | "clearTimeout" | "random">} env
   */
  constructor(page, clock, callbacks, env) {
    this.#page = page
    this.#clock = clock
    this.#callbacks = callbacks
    this.#env = env
    const { ticket, topics, channels, expires_at } = page
    this.#ticket = { ticket, topics, channels, expires_at }
    this.#topics = new Set(page.topics)
  }

  /** The signed text. */
  get text() {
    return this.#ticket.ticket
  }

  /** The ticket's topics, each by its channel at a Pusher service; null if the ticket has no channels. */
  get channels() {
    return this.#ticket.channels ?? null
  }

  /** Whether a connection can be opened with the ticket now. */
  get isValid() {
    return this.#ticket.topics.length > 0 && this.#clock.now < this.#ticket.expires_at - EXPIRES_SOON_S
  }

  /** Whether there is anything to follow. */
  get hasTopics() {
    return this.#topics.size > 0
  }

  /**
   * Request a ticket that covers this topic as well, unless it was requested already.
   * @param {string} topic
   */
  addTopic(topic) {
    if (this.#topics.has(topic)) return
    this.#topics.add(topic)
    this.#renewInBatch()
  }

  /** Renew the ticket before it expires. */
  scheduleRenewal() {
    const leftS = this.#ticket.expires_at - this.#clock.now
    this.#renewAfter(Math.max(1000, (leftS - Math.min(RENEW_BEFORE_S, leftS / 2)) * 1000))
  }

  /** Stop renewing. */
  stop() {
    this.#env.clearTimeout(this.#renewalTimer)
    this.#env.clearTimeout(this.#batchTimer)
  }

  /**
   * Fetch a new ticket now. Resolves when the request has ended, also if it failed: then it is repeated later.
   * @returns {Promise<void>}
   */
  renew() {
    this.stop()
    this.#request ??= this.#fetch().finally(() => (this.#request = null))
    return this.#request
  }

  async #fetch() {
    const topics = [...this.#topics]
    try {
      this.#ticket = await fetchTicket(this.#page, topics, this.#env)
    } catch (error) {
      if (error instanceof TicketRefused) return this.#callbacks.onRefused()
      return this.#renewAfter(1000 + backoff(this.#failures++, this.#env.random()))
    }
    this.#failures = 0
    this.scheduleRenewal()
    this.#callbacks.onRenewed(this.text)
    const wereTopicsAdded = this.#topics.size > topics.length
    if (wereTopicsAdded) this.#renewInBatch()
  }

  #renewInBatch() {
    this.#env.clearTimeout(this.#batchTimer)
    this.#batchTimer = this.#env.setTimeout(() => this.renew(), BATCH_MS)
  }

  /** @param {number} ms */
  #renewAfter(ms) {
    this.#env.clearTimeout(this.#renewalTimer)
    this.#renewalTimer = this.#env.setTimeout(() => this.renew(), ms)
  }
}
