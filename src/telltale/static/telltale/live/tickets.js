/**
 * The page's ticket over time: which topics are wanted, when it must be renewed, one request at a time.
 *
 * Knows no transport: `live.js` is told of each new ticket, and of the refusal that ends it.
 */
import { backoff } from "telltale/live/backoff.js"
import { Refused, fetchTicket } from "telltale/requests.js"

/** Topics asked for within this time are asked for together. */
const GATHER_MS = 30
/** Renewed this long before it runs out, or after half its life if that is shorter. */
const MARGIN_S = 60

export class Tickets {
  #page
  #clock
  #env
  #on
  #wanted
  #ticket
  #due = null
  #gathering = null
  #running = null
  #tries = 0

  /**
   * @param {import("telltale/page.js").Page} page
   * @param {import("telltale/live/clock.js").Clock} clock
   * @param {{renewed: (ticket: string) => void, refused: () => void}} on
   * @param {any} env
   */
  constructor(page, clock, on, env) {
    this.#page = page
    this.#clock = clock
    this.#on = on
    this.#env = env
    this.#ticket = { ticket: page.ticket, topics: page.topics, expires_at: page.expires_at }
    this.#wanted = new Set(page.topics)
  }

  /** The signed text. */
  get text() {
    return this.#ticket.ticket
  }

  /** Whether it can be shown to a server now. */
  get isGood() {
    return this.#ticket.topics.length > 0 && this.#clock.now < this.#ticket.expires_at - 2
  }

  /** Whether there is anything to follow. */
  get hasWishes() {
    return this.#wanted.size > 0
  }

  /** Ask for another topic; nothing if the ticket covers it. */
  want(topic) {
    if (this.#wanted.has(topic)) return
    this.#wanted.add(topic)
    this.#gather()
  }

  /** Renew it in time, from now on. */
  watch() {
    const left = this.#ticket.expires_at - this.#clock.now
    this.#renewAfter(Math.max(1000, (left - Math.min(MARGIN_S, left / 2)) * 1000))
  }

  /** Stop renewing. */
  rest() {
    this.#env.clearTimeout(this.#due)
    this.#env.clearTimeout(this.#gathering)
  }

  /** Fetch a new one now; resolves when there is one or none is to be had for the moment. */
  renew() {
    this.rest()
    this.#running ??= this.#fetch().finally(() => (this.#running = null))
    return this.#running
  }

  async #fetch() {
    const asked = [...this.#wanted]
    try {
      this.#ticket = await fetchTicket(this.#page, asked, this.#env)
    } catch (error) {
      if (error instanceof Refused) return this.#on.refused()
      return this.#renewAfter(1000 + backoff(this.#tries++, this.#env.random()))
    }
    this.#tries = 0
    this.watch()
    this.#on.renewed(this.text)
    if (this.#wanted.size > asked.length) this.#gather()
  }

  #gather() {
    this.#env.clearTimeout(this.#gathering)
    this.#gathering = this.#env.setTimeout(() => this.renew(), GATHER_MS)
  }

  #renewAfter(ms) {
    this.#env.clearTimeout(this.#due)
    this.#due = this.#env.setTimeout(() => this.renew(), ms)
  }
}
