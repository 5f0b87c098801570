/** `Live` in a simulated page: simulated time, transports that the test controls, and a server of tickets. */
import { Live } from "telltale/live/live.js"
import { AGAIN, CLOSE, VERSION } from "telltale/live/protocol.js"

export const START = 1_000

/** Let pending promises and microtasks run. */
export const settle = async () => {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

/** Timers that run when the simulated time passes. `now` is in the unit of `unitMs`, as are the times of `pass`. */
export class Timers {
  #pending = new Map()
  #nextId = 1

  constructor(now, unitMs) {
    this.now = now
    this.unitMs = unitMs
  }

  env = {
    setTimeout: (callback, ms) => {
      this.#pending.set(this.#nextId, { at: this.now + ms / this.unitMs, callback })
      return this.#nextId++
    },
    clearTimeout: timer => this.#pending.delete(timer),
    random: () => 0.5,
  }

  async pass(time) {
    const end = this.now + time
    for (;;) {
      await settle()
      const [next] = [...this.#pending].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at)
      if (!next) break
      const [id, { at, callback }] = next
      this.#pending.delete(id)
      this.now = Math.max(this.now, at)
      callback()
    }
    this.now = end
    await settle()
  }
}

export class SimulatedPage {
  isOnline = true
  /** How long the machine slept, by the visitor's clock: the page's own stood still. */
  sleptS = 0
  /** @type {any[]} every connection that was opened, over whatever transport */
  connections = []
  /** The topics of each request for a ticket. */
  ticketRequests = []
  /** How the server answers a request for a ticket; an `Error` means that it can't be reached, a promise that it hangs. */
  answerTicketRequest = topics => ({
    status: 200,
    body: { ticket: `ticket ${this.ticketRequests.length}`, topics, expires_at: this.now + 300 },
  })
  #timers = new Timers(START, 1_000)

  /**
   * `transports`: their names, best first. Only "best", and a connection with `takesTickets`, takes a new ticket while
   * it is open.
   * `forbidden`: those that throw when opened. `establishMs`: by transport, how long it may take to be established.
   * `channels`: of the ticket that the page is rendered with. `held`: transports that need a server which can hold
   * connections; `can_hold`: whether the page says that its server can.
   */
  constructor({ topics = ["user:1"], transports = ["best", "middle", "last"], ...more } = {}) {
    const { forbidden = [], establishMs = {}, channels, held = [], can_hold } = more
    this.forbidden = forbidden
    this.page = {
      ticket: "ticket 0",
      topics,
      channels,
      can_hold,
      expires_at: START + 300,
      now: START,
      limits: { quiet_s: 60, stalled_s: 45, lease_s: 105 },
      urls: { live: "/telltale/live/", ticket: "/telltale/ticket/" },
      csrf: { token: "c", cookie: null },
    }
    this.live = new Live(this.page, {
      transports: transports.map(name =>
        Object.assign(options => this.#open(name, options), {
          establishMs: establishMs[name],
          isHeld: held.includes(name),
        }),
      ),
      env: this.#env(),
    })
  }

  /** A page that follows the visitor's tasks, as soon as it has opened its connection. */
  static async following(options) {
    const page = new SimulatedPage(options)
    page.live.tasks(() => {})
    await settle()
    return page
  }

  #open(name, options) {
    if (this.forbidden.includes(name)) throw new Error(`A policy forbids the transport "${name}".`)
    const connection = {
      name,
      url: options.url,
      ticket: options.ticket(),
      have: options.have(),
      channels: options.channels,
      isOpen: true,
      newTickets: [],
      receive: message => options.onMessage(message),
      hello: (more = {}) =>
        options.onMessage({ type: "hello", v: VERSION, n: 1, now: this.now, limits: this.page.limits, ...more }),
      end: () => {
        connection.isOpen = false
        options.onEnd()
      },
      bye: (code, again, more = {}) => {
        options.onMessage({ type: "bye", code, reason: "…", again, ...more })
        connection.end()
      },
    }
    this.connections.push(connection)
    return {
      close: () => (connection.isOpen = false),
      pollNow: () => (connection.hasPolledNow = true),
      updateTicket: ticket => (name === "best" || connection.takesTickets) && connection.newTickets.push(ticket) > 0,
    }
  }

  #env() {
    return {
      ...this.#timers.env,
      now: () => this.now,
      wallNow: () => this.now + this.sleptS,
      isOnline: () => this.isOnline,
      absoluteUrl: address => `https://site.example${address}`,
      fetch: async (_url, { body }) => {
        const { topics } = JSON.parse(body)
        this.ticketRequests.push(topics)
        const answer = await this.answerTicketRequest(topics)
        if (answer instanceof Error) throw answer
        return { ok: answer.status < 400, status: answer.status, json: async () => answer.body }
      },
    }
  }

  /** The newest connection. */
  get connection() {
    return this.connections.at(-1)
  }

  get openConnections() {
    return this.connections.filter(connection => connection.isOpen)
  }

  /** Seconds, by the clocks of page and server alike. */
  get now() {
    return this.#timers.now
  }

  /** Let this many seconds pass, in which all due timers run. */
  pass(seconds) {
    return this.#timers.pass(seconds)
  }

  /** Let this many seconds pass in which no timer runs, as on a machine that sleeps. */
  sleep(seconds) {
    this.#timers.now += seconds
  }

  /** End the connection so often that the page falls back to the next transport. */
  async fallBack() {
    for (let i = 0; i < 2; i++) {
      this.connection.end()
      await this.pass(0.4)
    }
  }

  /** Let the server reject the ticket for having expired. */
  expireTicket() {
    this.connection.bye(CLOSE.EXPIRED, AGAIN.AT_ONCE)
  }
}
