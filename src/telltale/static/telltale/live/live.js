/**
 * The page's one live line to the server: folds what it hears and tells those who listen.
 *
 * Transports carry, `Ladder` chooses among them, `Tickets` keeps the right to hear, `Newest` decides what is news.
 * Here is only when a line is opened, believed, given up. All effects come in by `env`; `index.js` makes the one
 * for a page. Times in ms where they are waited for, in seconds where the server says them.
 */
import { backoff, spread } from "telltale/live/backoff.js"
import { Clock } from "telltale/live/clock.js"
import { Ladder } from "telltale/live/fallback.js"
import { Listeners } from "telltale/live/listeners.js"
import { Newest } from "telltale/live/snapshots.js"
import { rungsOver } from "telltale/live/transports.js"
import { Tickets } from "telltale/live/tickets.js"

/** A rung that has said nothing for this long does not work. */
const PROOF_MS = 5_000
/** Something arrives at least every 20 s, or every 25 s by polling; after this the line is dead. */
const SILENCE_MS = 40_000
/** A line that was up for this long has worked; one turned away sooner has only been answered. */
const SOUND_S = 5
/** On coming back to a page, a line heard later than this is believed. */
const FRESH_S = 22
/** A hidden page gives up a stream or poll after this: browsers allow few of them to one site. */
const HIDDEN_MS = 60_000
/** The one reason for closing that a client must know: fetch a new ticket. */
const EXPIRED = 4402
/** How many notices are kept for listeners that come later. */
const UNDECIDED = 1_000

/** @typedef {"idle" | "connecting" | "live" | "polling" | "reconnecting" | "offline" | "signed out"} LiveState */

export class Live {
  /** @type {import("telltale/page.js").Page} */
  page
  #env
  #rungs
  #clock
  #newest = new Newest()
  /** Notices that may still be taken, by id, oldest first. */
  #undecided = new Map()
  #listeners = new Listeners()
  #ladder
  #tickets
  /** @type {LiveState} */
  #state = "idle"
  #line = null
  #climber = null
  #timers = new Map()
  #isAway = false
  #isRefused = false
  /** How often in a row the server has turned this page away; a line that had worked begins a new row. */
  #refusals = 0
  #heardAt

  /**
   * @param {import("telltale/page.js").Page} page
   * @param {{rungs?: Function[], env: any}} options
   */
  constructor(page, { rungs = rungsOver(""), env }) {
    this.page = page
    this.limits = page.limits
    this.#env = env
    this.#rungs = rungs
    this.#clock = new Clock(env.now)
    this.#clock.hear(page.now)
    this.#heardAt = page.now
    this.#ladder = new Ladder(rungs.length, env.random)
    const on = { renewed: ticket => this.#renewed(ticket), refused: () => this.#refuse() }
    this.#tickets = new Tickets(page, this.#clock, on, env)
  }

  // What pages ask ------------------------------------------------------------------------------

  /** How the line is: "live", "polling", "reconnecting", "offline", "signed out", … @returns {LiveState} */
  get state() {
    return this.#state
  }

  /** The instant that what is shown is true for: now while the line works, else when it was last heard. */
  get now() {
    return this.#state === "live" || this.#state === "polling" ? this.#clock.now : this.#heardAt
  }

  /** The ticket's text, for what else asks for it. */
  get ticket() {
    return this.#tickets.text
  }

  /** The newest snapshots that this page knows, by id. */
  get snapshots() {
    return this.#newest.tasks
  }

  /**
   * Follow one task. `mine`: it is the visitor's own, so their own topic tells of it.
   * @param {string} id
   * @param {(snapshot: import("telltale/live/snapshots.js").Snapshot) => void} listener
   * @param {{signal?: AbortSignal, mine?: boolean}} [options]
   */
  task(id, listener, { signal, mine = false } = {}) {
    this.#listeners.add(`task ${id}`, listener, signal)
    if (!mine) this.#tickets.want(`task:${id}`)
    const known = this.#newest.tasks.get(id)
    if (known) listener(known)
    this.#start()
  }

  /** Follow the events of a topic of the site's own. */
  topic(topic, listener, { signal } = {}) {
    this.#listeners.add(`topic ${topic}`, listener, signal)
    this.#tickets.want(topic)
    this.#start()
  }

  /** Every task that this page hears of. */
  tasks(listener, { signal } = {}) {
    this.#listeners.add("tasks", listener, signal)
    this.#newest.tasks.forEach(listener)
    this.#start()
  }

  /** Every notice for the visitor, also those that came before and wait. Take it before showing it. */
  notices(listener, { signal } = {}) {
    this.#listeners.add("notices", listener, signal)
    ;[...this.#undecided.values()].forEach(notice => listener(notice))
    this.#start()
  }

  /** The server has decided who shows this notice: later listeners do not hear of it. */
  decided(id) {
    this.#undecided.delete(id)
  }

  /** Every change of `state`. */
  states(listener, { signal } = {}) {
    this.#listeners.add("states", listener, signal)
  }

  /** What came another way, such as the answer to a cancellation, is folded in like any message. */
  receive(message) {
    const { tasks, notices, events } = this.#newest.fold(message)
    for (const snapshot of tasks) {
      this.#listeners.tell(`task ${snapshot.id}`, snapshot)
      this.#listeners.tell("tasks", snapshot)
    }
    for (const notice of notices) {
      this.#keep(notice)
      this.#listeners.tell("notices", notice)
    }
    for (const event of events) this.#listeners.tell(`topic ${event.topic}`, event)
  }

  // What the page's life does -------------------------------------------------------------------

  /** Somebody looks at the page again, or the network is back: be up to date at once. */
  wake() {
    this.#clear("hidden")
    this.#isAway = false
    this.#ladder.hope()
    if (this.#isRefused || this.#state === "idle") return
    const isFresh = this.#line?.isProven && this.#clock.now - this.#heardAt < FRESH_S
    if (isFresh) return this.#line.open?.nudge?.()
    this.#drop()
    this.#open()
  }

  /** The page is hidden: a line that takes one of the browser's few is let go after a while. */
  hide() {
    this.#after("hidden", HIDDEN_MS, () => this.#ladder.rung > 0 && this.leave())
  }

  /** The page goes away, perhaps into the browser's memory of pages: end everything until `wake`. */
  leave() {
    this.#isAway = true
    this.#drop()
    this.#tickets.rest()
    this.#clear("retry")
  }

  /** The network is gone. */
  lose() {
    if (this.#state === "idle" || this.#isRefused) return
    this.#drop()
    this.#say("offline")
    this.#retry(this.#ladder.ended())
  }

  // One line after another ----------------------------------------------------------------------

  #start() {
    if (this.#state !== "idle" || !this.#tickets.hasWishes) return
    this.#say("connecting")
    // Elements are upgraded one after another: let them all say what they follow.
    queueMicrotask(() => this.#open())
  }

  async #open() {
    if (this.#line || this.#isAway || this.#isRefused) return
    this.#clear("retry")
    if (!this.#tickets.isGood) {
      // Without a ticket there is nothing to open; `#renewed` or the tickets' own retry goes on from there.
      await this.#tickets.renew()
      return
    }
    this.#tickets.watch()
    this.#line = this.#begin(this.#ladder.rung, { proven: () => this.#proved(), ended: line => this.#ended(line) })
    this.#after("proof", this.#patience, () => this.#giveUp())
  }

  /** A line on a rung. It may end before this returns. */
  #begin(rung, on) {
    const line = { isProven: false, bye: null, open: null, isOver: false, begunAt: this.#env.now(), on }
    const end = () => {
      if (line.isOver) return
      line.isOver = true
      // Never within the call that opens it: the one who opens must know the line before it hears of its end.
      queueMicrotask(() => on.ended(line))
    }
    try {
      line.open = this.#rungs[rung](
        {
          url: this.#env.absolute(this.page.urls.live),
          ticket: () => this.#tickets.text,
          have: () => this.#newest.have,
          seen: () => this.#newest.seen,
          hear: message => line.isOver || this.#hear(line, message),
          end,
        },
        this.#env,
      )
    } catch {
      end() // a browser's policy may forbid a transport by an exception
    }
    return line
  }

  #hear(line, message) {
    if (Number.isFinite(message.now)) {
      this.#clock.hear(message.now)
      this.#heardAt = message.now
    }
    if (message.type === "bye") line.bye = message
    if (message.limits?.stalled_s) this.limits = message.limits
    if (message.type === "hello" || message.type === "poll") {
      if (!line.isProven) {
        line.isProven = true
        line.on.proven(line)
      }
      if (line === this.#line) this.#say(message.poll_after_s > 0 ? "polling" : "live")
    }
    if (line === this.#line) this.#after("silence", SILENCE_MS, () => this.#giveUp())
    this.receive(message)
  }

  #proved() {
    this.#ladder.proved()
    this.#clear("proof")
    this.#plan()
  }

  /** Nothing is heard: to us it has ended, whatever the browser thinks. */
  #giveUp() {
    const line = this.#line
    if (!line || line.isOver) return
    line.isOver = true
    line.open?.close()
    this.#ended(line)
  }

  #ended(line) {
    if (line !== this.#line) return
    this.#line = null
    this.#quieten()
    if (this.#isAway) return
    this.#say(this.#env.isOnline() ? "reconnecting" : "offline")
    const wait = line.isProven ? this.#ladder.ended() : this.#ladder.failed()
    if (!line.bye) return this.#retry(wait)
    this.#obey(line, wait)
  }

  /** The server said why, and when to come back. To be told so again and again slows one down. */
  #obey({ bye, isProven, begunAt }, wait) {
    const wasSound = isProven && this.#env.now() - begunAt >= SOUND_S
    this.#refusals = wasSound ? 1 : this.#refusals + 1
    const isRepeated = this.#refusals > 1
    const patient = wasSound ? wait : Math.max(wait, backoff(this.#refusals, 0.5 + this.#env.random() / 2))
    if (bye.again === "never") {
      // Perhaps the ticket only: a fresh one may do. If not, only a person can.
      if (isRepeated) return this.#refuse()
      return void this.#tickets.renew()
    }
    const soon = bye.again === "at once" && !isRepeated ? 0 : Math.max(patient, spread(bye, this.#env.random()))
    if (bye.code === EXPIRED) return this.#after("retry", soon, () => this.#tickets.renew())
    this.#retry(soon)
  }

  #retry(ms) {
    this.#after("retry", ms, () => this.#open())
  }

  #renewed(ticket) {
    if (!this.#line) return void this.#open()
    if (this.#line.open?.renew(ticket)) return
    this.#drop()
    this.#open()
  }

  /** This visitor may not follow anything here any more; only a new page can change that. */
  #refuse() {
    this.#isRefused = true
    this.#drop()
    this.#tickets.rest()
    this.#say("signed out")
  }

  #drop() {
    const line = this.#line
    this.#line = null
    if (line) {
      line.isOver = true
      line.open?.close()
    }
    this.#quieten()
  }

  #quieten() {
    this.#climber?.open?.close()
    if (this.#climber) this.#climber.isOver = true
    this.#climber = null
    for (const name of ["proof", "silence", "climb"]) this.#clear(name)
  }

  get #patience() {
    return this.#ladder.rung === this.#rungs.length - 1 ? 2 * PROOF_MS : PROOF_MS
  }

  // Climbing back -------------------------------------------------------------------------------

  #plan() {
    const ms = this.#ladder.climbAfter
    if (ms !== null) this.#after("climb", ms, () => this.#climb())
  }

  /** Try the rung above while this one goes on; whoever hears a word from it changes over. */
  #climb() {
    const slip = () => {
      if (!this.#climber) return
      this.#climber.isOver = true
      this.#climber.open?.close()
      this.#climber = null
      this.#ladder.slipped()
      this.#plan()
    }
    this.#climber = this.#begin(this.#ladder.rung - 1, {
      proven: line => this.#changeOver(line),
      ended: line => (line === this.#line ? this.#ended(line) : line === this.#climber && slip()),
    })
    this.#after("climb", PROOF_MS, slip)
  }

  #changeOver(line) {
    this.#climber = null
    this.#drop()
    this.#line = line
    this.#ladder.climbed()
    this.#plan()
  }

  // Small things --------------------------------------------------------------------------------

  #keep(notice) {
    this.#undecided.set(notice.id, notice)
    if (this.#undecided.size > UNDECIDED) this.#undecided.delete(this.#undecided.keys().next().value)
  }

  #say(state) {
    if (state === this.#state) return
    this.#state = state
    this.#listeners.tell("states", state)
  }

  #after(name, ms, then) {
    this.#clear(name)
    this.#timers.set(name, this.#env.setTimeout(then, ms))
  }

  #clear(name) {
    this.#env.clearTimeout(this.#timers.get(name))
    this.#timers.delete(name)
  }
}
