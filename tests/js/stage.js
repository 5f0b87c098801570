/** A stage for `Live`: time that passes when told, rungs that do as told, a server of tickets. */
import { Live } from "telltale/live/live.js"

export const BEGIN = 1_000

/** Lets promises and microtasks run. */
export const settle = async () => {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

export class Stage {
  now = BEGIN
  isOnline = true
  #timers = new Map()
  #next = 1
  /** @type {any[]} every line that was opened, on whatever rung */
  lines = []
  /** Topics of each request for a ticket. */
  requests = []
  answer = topics => ({ status: 200, body: { ticket: `ticket ${this.requests.length}`, topics, expires_at: this.now + 300 } })

  /** @param {{topics?: string[], rungs?: string[], forbidden?: string[]}} [page] */
  constructor({ topics = ["user:1"], rungs = ["best", "middle", "last"], forbidden = [] } = {}) {
    this.forbidden = forbidden
    this.page = {
      ticket: "ticket 0",
      topics,
      expires_at: BEGIN + 300,
      now: BEGIN,
      limits: { quiet_s: 60, stalled_s: 45, lease_s: 105 },
      urls: { live: "/telltale/live/", ticket: "/telltale/ticket/" },
      csrf: { token: "c", cookie: null },
    }
    this.live = new Live(this.page, { rungs: rungs.map(name => line => this.#opened(name, line)), env: this.#env() })
  }

  #opened(name, line) {
    if (this.forbidden.includes(name)) throw new Error(`A policy forbids "${name}".`)
    const opened = {
      name,
      ...line,
      ticket: line.ticket(),
      have: line.have(),
      isOpen: true,
      renewed: [],
      hello: (more = {}) => line.hear({ type: "hello", v: 1, n: 1, now: this.now, limits: this.page.limits, ...more }),
      end: () => ((opened.isOpen = false), line.end()),
      bye: (code, again, more = {}) => (line.hear({ type: "bye", code, reason: "…", again, ...more }), opened.end()),
    }
    this.lines.push(opened)
    return {
      close: () => (opened.isOpen = false),
      nudge: () => (opened.nudged = true),
      renew: ticket => name === "best" && opened.renewed.push(ticket) > 0,
    }
  }

  /** The newest line. */
  get line() {
    return this.lines.at(-1)
  }

  get open() {
    return this.lines.filter(line => line.isOpen)
  }

  #env() {
    return {
      setTimeout: (then, ms) => {
        this.#timers.set(this.#next, { at: this.now + ms / 1000, then })
        return this.#next++
      },
      clearTimeout: timer => this.#timers.delete(timer),
      random: () => 0.5,
      now: () => this.now,
      isOnline: () => this.isOnline,
      absolute: address => `https://site.example${address}`,
      fetch: async (_url, { body }) => {
        const { topics } = JSON.parse(body)
        this.requests.push(topics)
        const answer = this.answer(topics)
        if (answer instanceof Error) throw answer
        return { ok: answer.status < 400, status: answer.status, json: async () => answer.body }
      },
    }
  }

  /** Time goes by, timer by timer. */
  async passes(seconds) {
    const until = this.now + seconds
    for (;;) {
      await settle()
      const due = [...this.#timers].filter(([, { at }]) => at <= until).sort((a, b) => a[1].at - b[1].at)[0]
      if (!due) break
      this.#timers.delete(due[0])
      this.now = Math.max(this.now, due[1].at)
      due[1].then()
    }
    this.now = until
    await settle()
  }
}
