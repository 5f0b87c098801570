/**
 * The page's ticket: requests one for what `Follows` says, one request at a time, and renews it.
 *
 * `live.js` is called back for each new ticket, when the server refuses one for good, and when nothing is left to follow.
 */
import { backoff } from "telltale/live/backoff.js"
import { TicketRefused, fetchTicket } from "telltale/requests.js"
/** @import { Clock } from "telltale/live/clock.js" */
/** @import { Follows } from "telltale/live/follows.js" */
/** @import { Environment } from "telltale/live/live.js" */
/** @import { Page } from "telltale/page.js" */
/** @import { Ticket } from "telltale/requests.js" */

/** Topics added within this time are requested together. */
const BATCH_MS = 30
/** A topic is given up after this time: an element that a script moves leaves the page and comes back. */
const GIVE_UP_MS = 3_000
/** A ticket is renewed this long before it expires, or after half its lifetime if that is shorter. */
const RENEW_BEFORE_S = 60
/** A ticket that expires sooner than this is not used for a new connection. */
const EXPIRES_SOON_S = 2

/**
 * @typedef {object} Callbacks
 * @property {(ticket: Ticket, requested: string[]) => void} onRenewed
 * @property {(requested: string[]) => void} onRefused
 * @property {() => void} onNothingToFollow
 */

export class Tickets {
  #page
  #follows
  #clock
  #env
  #callbacks
  /** @type {Ticket} */
  #ticket
  /** @type {number | undefined} */
  #renewalTimer
  /** @type {number | undefined} */
  #batchTimer
  /** @type {number | undefined} */
  #giveUpTimer
  /** @type {Promise<void> | null} the request under way */
  #request = null
  #failures = 0

  /**
   * @param {Page} page
   * @param {Follows} follows
   * @param {Clock} clock
   * @param {Callbacks} callbacks
   * @param {Pick<Environment, "fetch" | "setTimeout" | "clearTimeout" | "random">} env
   */
  constructor(page, follows, clock, callbacks, env) {
    this.#page = page
    this.#follows = follows
    this.#clock = clock
    this.#env = env
    this.#callbacks = callbacks
    const { ticket, topics, channels, expires_at } = page
    this.#ticket = { ticket, topics, channels, expires_at }
  }

  /** The signed text. */
  get text() {
    return this.#ticket.ticket
  }

  get topics() {
    return this.#ticket.topics
  }

  /** The ticket's topics, each by its channel at a Pusher service; null if the ticket has no channels. */
  get channels() {
    return this.#ticket.channels ?? null
  }

  /** Whether a connection can be opened with the ticket now. */
  get isValid() {
    return this.#ticket.topics.length > 0 && this.#clock.now < this.#ticket.expires_at - EXPIRES_SOON_S
  }

  /** Something more is followed: request it soon, with what else is added, unless the ticket has it. */
  onAdded() {
    this.#env.clearTimeout(this.#batchTimer)
    this.#batchTimer = this.#env.setTimeout(() => {
      this.#follows.tell()
      if (this.#follows.hasUndecided) this.renew()
    }, BATCH_MS)
  }

  /** Something is not followed any more: after a while, replace a ticket that still has it. */
  onGivenUp() {
    this.#giveUpTimer ??= this.#env.setTimeout(() => {
      this.#giveUpTimer = undefined
      if (this.#follows.hasGivenUp) this.renew()
    }, GIVE_UP_MS)
  }

  /** Renew the ticket before it expires. */
  scheduleRenewal() {
    const leftS = this.#ticket.expires_at - this.#clock.now
    this.#renewAfter(Math.max(1000, (leftS - Math.min(RENEW_BEFORE_S, leftS / 2)) * 1000))
  }

  /** Open no connection with this ticket any more. */
  discard() {
    this.#ticket = { ...this.#ticket, topics: [] }
  }

  /** Stop renewing. */
  stop() {
    for (const timer of [this.#renewalTimer, this.#batchTimer, this.#giveUpTimer]) this.#env.clearTimeout(timer)
    this.#giveUpTimer = undefined
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
    const { requested } = this.#follows
    if (!requested.length) {
      this.discard()
      return this.#callbacks.onNothingToFollow()
    }
    try {
      this.#ticket = await fetchTicket(this.#page, requested, this.#env)
    } catch (error) {
      if (!(error instanceof TicketRefused)) return this.#renewAfter(1000 + backoff(this.#failures++, this.#env.random()))
      this.discard()
      this.#callbacks.onRefused(requested)
      if (this.#follows.hasUndecided) this.onAdded()
      return
    }
    this.#failures = 0
    this.scheduleRenewal()
    this.#callbacks.onRenewed(this.#ticket, requested)
    if (this.#follows.hasUndecided) this.onAdded()
    if (this.#follows.hasGivenUp) this.onGivenUp()
  }

  /** @param {number} ms */
  #renewAfter(ms) {
    this.#env.clearTimeout(this.#renewalTimer)
    this.#renewalTimer = this.#env.setTimeout(() => this.renew(), ms)
  }
}
