/**
 * The page's one connection to the server: takes in its messages and calls the listeners.
 *
 * Transports carry messages, `Fallback` chooses the transport, `Follows` knows what is followed and granted, `Grants`
 * draws the conclusions, `Tickets` keeps a valid ticket for it, `Snapshots` finds what is new. This module decides when
 * to open, trust, replace and close a connection. All effects come in by `env`; `index.js` makes the one for a page.
 * Names say the unit: `_MS` or `_S`.
 */
import { backoff, spread } from "telltale/live/backoff.js"
import { Clock } from "telltale/live/clock.js"
import { Fallback } from "telltale/live/fallback.js"
import { Follows, idOf } from "telltale/live/follows.js"
import { Grants } from "telltale/live/grants.js"
import { Listeners } from "telltale/live/listeners.js"
import { AGAIN, CLOSE } from "telltale/live/protocol.js"
import { Snapshots } from "telltale/live/snapshots.js"
import { Tickets } from "telltale/live/tickets.js"
import { transportsFor } from "telltale/live/transports.js"
/** @import { Limits } from "telltale/health.js" */
/** @import { ServerMessage } from "telltale/live/protocol.js" */
/** @import { Content, Notice, Snapshot, TopicEvent } from "telltale/live/snapshots.js" */
/** @import { OpenTransport, Transport } from "telltale/live/transports.js" */
/** @import { Page } from "telltale/page.js" */
/** @import { Ticket } from "telltale/requests.js" */

/** A connection without an answer for this long counts as failed. */
const ESTABLISH_MS = 5_000
/** Something arrives at least every 20 s, or every 25 s by polling; after this silence the connection is dead. */
const SILENCE_MS = 40_000
/** A connection that ends sooner than this was only turned away: it does not count as having worked. */
const STABLE_S = 5
/** When the visitor returns to the page, a connection with a message within this time is kept. */
const FRESH_S = 22
/** A hidden page closes a stream or poll after this: browsers allow few of them per site. */
const HIDDEN_MS = 60_000
/** The snapshot of a task that one of the visitor's own topics covers comes within this time after connecting. */
const MISSING_MS = 5_000
/** How many notices are kept for listeners that are added later. */
const MAX_NOTICES = 1_000

/**
 * @typedef {"idle" | "connecting" | "live" | "polling" | "reconnecting" | "offline" | "signed out"} LiveState
 *
 * @typedef {object} Environment what this needs of the browser
 * @property {typeof WebSocket} WebSocket
 * @property {typeof fetch} fetch
 * @property {(callback: () => void, ms: number) => number} setTimeout
 * @property {(timer: number | undefined) => void} clearTimeout
 * @property {() => number} random in [0, 1)
 * @property {() => number} now seconds by a clock that is never set; it may stand still while the machine sleeps
 * @property {() => number} wallNow seconds since 1970 by this machine, for a visitor who may set its clock
 * @property {() => boolean} isOnline
 * @property {(address: string) => string} absoluteUrl
 *
 * @typedef {object} Connection
 * @property {OpenTransport | null} transport null until it is open
 * @property {boolean} isEstablished whether the server has answered
 * @property {boolean} isClosed its later messages are ignored
 * @property {ServerMessage | null} bye the server's reason for closing it
 * @property {number} openedAt by the environment's `now`
 * @property {ConnectionCallbacks} callbacks
 *
 * @typedef {object} ConnectionCallbacks
 * @property {(connection: Connection) => void} onEstablished
 * @property {(connection: Connection) => void} onEnd
 */

export class Live {
  /** @type {Page} */
  page
  /** @type {Limits} */
  limits
  #env
  #transports
  #clock
  #snapshots = new Snapshots()
  /** @type {Map<string, Notice>} notices that a page may still take, by id, oldest first */
  #notices = new Map()
  #listeners = new Listeners()
  #follows
  #grants
  #fallback
  #tickets
  /** @type {LiveState} */
  #state = "idle"
  /** @type {Connection | null} */
  #connection = null
  /** @type {Connection | null} a second connection, which tries a better transport */
  #upgrade = null
  /** @type {Map<string, number>} running timers, by name */
  #timers = new Map()
  /** The page was left; it may come back. */
  #isSuspended = false
  /** The server refused the visitor; it is asked again when something more is followed. */
  #isStopped = false
  /** How often in a row the server has closed a connection; one that had worked begins a new row. */
  #byesInARow = 0
  #lastMessageAt
  /** When the last message arrived, by the environment's `wallNow`. */
  #heardAt = 0

  /**
   * @param {Page} page
   * @param {{transports?: Transport[], env: Environment}} options
   */
  constructor(page, { transports = transportsFor(""), env }) {
    this.page = page
    this.limits = page.limits
    this.#env = env
    this.#transports = transports
    this.#clock = new Clock(env.now)
    this.#clock.update(page.now)
    this.#lastMessageAt = page.now
    const held = [...transports.keys()].filter(index => transports[index].isHeld)
    this.#fallback = new Fallback(transports.length, env.random, { held, canHold: page.can_hold })
    this.#follows = new Follows(page.topics)
    this.#grants = new Grants(this.#follows, this.#snapshots, () => this.now)
    this.#tickets = new Tickets(
      page,
      this.#follows,
      this.#clock,
      {
        onRenewed: (ticket, requested) => this.#onTicketRenewed(ticket, requested),
        onRefused: requested => this.#onTicketRefused(requested),
        onNothingToFollow: () => this.#becomeIdle(),
      },
      env,
    )
  }

  // For elements and scripts --------------------------------------------------------------------

  /** The state of the connection. */
  get state() {
    return this.#state
  }

  /** The server's time for which the shown data is correct: now while connected, else that of the last message. */
  get now() {
    return this.#state === "live" || this.#state === "polling" ? this.#clock.now : this.#lastMessageAt
  }

  /**
   * The server's time for which the shown data of a task is correct: `now`, or when the server stopped granting it.
   * @param {string} id
   */
  nowOf(id) {
    return this.#grants.nowOf(id)
  }

  /** The ticket's text, for other requests that need it. */
  get ticket() {
    return this.#tickets.text
  }

  /** The newest snapshots that this page knows, by task id. */
  get snapshots() {
    return this.#snapshots.tasks
  }

  /**
   * Follow one task, until the signal aborts. `mine`: it is the visitor's own; as a text the topic of its owner, which
   * covers it. `hasEnded`: the page shows its end already. `onGranted` is called when the server has decided whether
   * the page may follow it, and at each change. `onCorrected` is called before a snapshot that replaces a newer one,
   * which was never true.
   * @param {string} id
   * @param {(snapshot: Snapshot) => void} listener also called at once with a known snapshot
   * @param {{signal?: AbortSignal, mine?: boolean | string, hasEnded?: boolean,
   *   onGranted?: (isGranted: boolean) => void, onCorrected?: () => void}} [options]
   */
  task(id, listener, { signal, mine = false, hasEnded, onGranted, onCorrected } = {}) {
    if (onCorrected) this.#listeners.add(`corrected ${id}`, onCorrected, signal)
    this.#listeners.add(`task ${id}`, listener, signal)
    this.#follow(`task:${id}`, {
      mine,
      hasEnded,
      signal,
      onGranted: isGranted => {
        this.#grants.onGranted(id, isGranted)
        onGranted?.(isGranted)
      },
    })
    const snapshot = this.#snapshots.tasks.get(id)
    if (snapshot) {
      this.#grants.onSnapshot(snapshot)
      listener(snapshot)
    } else if (mine) this.#lookForMissingSoon()
  }

  /**
   * Follow the events of a topic of the site's own, until the signal aborts. `onGranted` as for a task.
   * @param {string} topic
   * @param {(event: TopicEvent) => void} listener
   * @param {{signal?: AbortSignal, onGranted?: (isGranted: boolean) => void}} [options]
   */
  topic(topic, listener, { signal, onGranted } = {}) {
    this.#listeners.add(`topic ${topic}`, listener, signal)
    this.#follow(topic, { signal, onGranted })
  }

  /**
   * Follow every task whose snapshots reach this page. `onGranted`: whether the visitor's own topics are granted.
   * @param {(snapshot: Snapshot) => void} listener also called at once for each known snapshot
   * @param {{signal?: AbortSignal, onGranted?: (isGranted: boolean) => void}} [options]
   */
  tasks(listener, { signal, onGranted } = {}) {
    this.#listeners.add("tasks", listener, signal)
    if (onGranted) this.#listeners.add("own", onGranted, signal)
    if (this.#follows.isOwnRefused) onGranted?.(false)
    for (const snapshot of this.#snapshots.tasks.values()) listener(snapshot)
    this.#start()
  }

  /**
   * Follow the visitor's notices, also those that arrived earlier and wait. Take a notice before showing it.
   * @param {(notice: Notice) => void} listener
   * @param {{signal?: AbortSignal}} [options]
   */
  notices(listener, { signal } = {}) {
    this.#listeners.add("notices", listener, signal)
    for (const notice of [...this.#notices.values()]) listener(notice)
    this.#start()
  }

  /**
   * The server has decided which page shows this notice: later listeners don't get it.
   * @param {string} id
   */
  forgetNotice(id) {
    this.#notices.delete(id)
  }

  /**
   * Follow the changes of `state`.
   * @param {(state: LiveState) => void} listener
   * @param {{signal?: AbortSignal}} [options]
   */
  states(listener, { signal } = {}) {
    this.#listeners.add("states", listener, signal)
  }

  /**
   * Take in data that arrived another way, such as the answer to a cancellation, like any message.
   * @param {Content} message
   */
  receive(message) {
    const { tasks, notices, events } = this.#snapshots.merge(message)
    for (const id of message.corrected ?? []) this.#listeners.emit(`corrected ${id}`, undefined)
    for (const snapshot of tasks) {
      this.#grants.onSnapshot(snapshot)
      if (snapshot.ended) this.#tickets.onGivenUp()
      this.#listeners.emit(`task ${snapshot.id}`, snapshot)
      this.#listeners.emit("tasks", snapshot)
    }
    for (const notice of notices) {
      this.#keepNotice(notice)
      this.#listeners.emit("notices", notice)
    }
    for (const event of events) this.#listeners.emit(`topic ${event.topic}`, event)
  }

  // For the page's lifecycle --------------------------------------------------------------------

  /** The page is visible again, or the network is back: be up to date at once. */
  resume() {
    this.#clearTimer("hidden")
    this.#isSuspended = false
    this.#fallback.resetBackoff()
    if (this.#isStopped || this.#state === "idle") return
    // What was added just before the page was left was not requested.
    this.#tickets.onAdded()
    this.#tickets.onGivenUp()
    // The visitor may have signed in on another page.
    if (this.#follows.hasRefused) this.#tickets.renew()
    // By two clocks: one may have stood still while the machine slept.
    const silentS = Math.max(this.#clock.now - this.#lastMessageAt, Math.abs(this.#env.wallNow() - this.#heardAt))
    const isFresh = silentS < FRESH_S
    if (this.#connection?.isEstablished && isFresh) return this.#connection.transport?.pollNow?.()
    this.#closeConnection()
    this.#connect()
  }

  /** The page is hidden: after a while, close a connection that counts against the browser's limit. */
  hide() {
    this.#setTimer("hidden", HIDDEN_MS, () => this.#fallback.current > 0 && this.suspend())
  }

  /** The page is left, perhaps for the back/forward cache: close everything until `resume`. */
  suspend() {
    this.#isSuspended = true
    this.#closeConnection()
    this.#tickets.stop()
    this.#clearTimer("retry")
  }

  /** The network is gone. */
  goOffline() {
    if (this.#state === "idle" || this.#isStopped) return
    this.#closeConnection()
    this.#setState("offline")
    this.#connectAfter(this.#fallback.connectionLost())
  }

  // What is followed and granted ----------------------------------------------------------------

  /**
   * @param {string} topic
   * @param {{mine?: boolean | string, hasEnded?: boolean, onGranted?: (isGranted: boolean) => void,
   *   signal?: AbortSignal}} options
   */
  #follow(topic, options) {
    const isOnlyByTopic = !options.mine && !this.#snapshots.tasks.has(idOf(topic))
    const onReleased = () => {
      if (isOnlyByTopic) this.#grants.onReleased(topic)
      this.#tickets.onGivenUp()
    }
    this.#follows.add(topic, { ...options, onReleased })
    this.#tickets.onAdded()
    this.#start()
  }

  /** Request the tasks that one of the visitor's own topics should cover, and of which no snapshot comes. */
  #lookForMissingSoon() {
    if (this.#timers.has("missing") || !this.#connection?.isEstablished) return
    this.#setTimer("missing", MISSING_MS, () => {
      this.#clearTimer("missing")
      this.#follows.reportMissing(topic => this.#snapshots.tasks.has(idOf(topic)))
      this.#tickets.onAdded()
    })
  }

  /**
   * Take in what the server grants. Returns whether the ticket is of the same person as before.
   * @param {string[]} requested
   * @param {string[]} granted
   */
  #settle(requested, granted) {
    const person = this.#grants.settle(requested, granted)
    if (person === "another") this.#notices.clear()
    if (person !== "same") this.#listeners.emit("own", this.#follows.ownGranted.length > 0)
    return person === "same"
  }

  /** Nothing is left to follow. */
  #becomeIdle() {
    this.#settle([], [])
    this.#closeConnection()
    this.#clearTimer("retry")
    this.#setState("idle")
  }

  /** Something more is followed on a page that was refused: the visitor may have signed in without a new page. */
  #allowToStart() {
    this.#isStopped = false
    this.#byesInARow = 0
    this.#tickets.discard()
    this.#follows.askAgain()
    this.#setState("idle")
  }

  // Connecting and reconnecting -----------------------------------------------------------------

  #start() {
    if (this.#isStopped) this.#allowToStart()
    if (this.#state !== "idle" || !this.#follows.requested.length) return
    this.#setState("connecting")
    // Elements are upgraded one after another: wait until all have said what they follow.
    queueMicrotask(() => this.#connect())
  }

  async #connect() {
    if (this.#connection || this.#isSuspended || this.#isStopped) return
    this.#clearTimer("retry")
    if (!this.#tickets.isValid) {
      // `#onTicketRenewed` connects; if the request fails, the tickets repeat it.
      await this.#tickets.renew()
      return
    }
    this.#tickets.scheduleRenewal()
    this.#connection = this.#open(this.#fallback.current, {
      onEstablished: () => this.#onEstablished(),
      onEnd: connection => this.#onEnd(connection),
    })
    // After the last transport there is none to fall back to, so it gets more time.
    const establishMs = this.#establishMs(this.#fallback.current) * (this.#fallback.isLast ? 2 : 1)
    this.#setTimer("establish", establishMs, () => this.#timeOut())
  }

  /** @param {number} index of a transport */
  #establishMs(index) {
    return this.#transports[index].establishMs ?? ESTABLISH_MS
  }

  /**
   * Open a connection over transport number `index`.
   * @param {number} index
   * @param {ConnectionCallbacks} callbacks
   * @returns {Connection}
   */
  #open(index, callbacks) {
    /** @type {Connection} */
    const connection = {
      transport: null,
      isEstablished: false,
      isClosed: false,
      bye: null,
      openedAt: this.#env.now(),
      callbacks,
    }
    const onEnd = () => {
      if (connection.isClosed) return
      connection.isClosed = true
      // Later, because the caller must have the connection before it learns of its end.
      queueMicrotask(() => callbacks.onEnd(connection))
    }
    try {
      connection.transport = this.#transports[index](
        {
          url: this.#env.absoluteUrl(this.page.urls.live),
          ticket: () => this.#tickets.text,
          channels: () => this.#tickets.channels,
          have: () => this.#snapshots.have,
          seen: () => this.#snapshots.seen,
          onMessage: message => connection.isClosed || this.#onMessage(connection, message),
          onEnd,
        },
        this.#env,
      )
    } catch {
      onEnd() // a browser's policy may forbid a transport by an exception
    }
    return connection
  }

  /**
   * @param {Connection} connection
   * @param {ServerMessage} message
   */
  #onMessage(connection, message) {
    this.#heardAt = this.#env.wallNow()
    if (message.now !== undefined && Number.isFinite(message.now)) {
      this.#clock.update(message.now)
      this.#lastMessageAt = message.now
    } else if (message.type !== "bye") this.#lastMessageAt = this.#clock.now
    if (message.type === "bye") connection.bye = message
    if (message.limits?.stalled_s) this.limits = message.limits
    if (message.type === "poll" && connection === this.#connection) this.#learn(message)
    if (message.type === "hello" || message.type === "poll") {
      if (!connection.isEstablished) {
        connection.isEstablished = true
        connection.callbacks.onEstablished(connection)
      }
      if (connection === this.#connection) this.#setState((message.poll_after_s ?? 0) > 0 ? "polling" : "live")
    }
    if (connection === this.#connection) this.#setTimer("silence", SILENCE_MS, () => this.#timeOut())
    this.receive(message)
  }

  #onEstablished() {
    this.#fallback.established()
    this.#clearTimer("establish")
    this.#scheduleUpgrade()
    this.#lookForMissingSoon()
  }

  /** Nothing arrived in time: the connection has ended, whatever the browser reports. */
  #timeOut() {
    const connection = this.#connection
    if (!connection || connection.isClosed) return
    close(connection)
    this.#onEnd(connection)
  }

  /** @param {Connection} connection */
  #onEnd(connection) {
    if (connection !== this.#connection) return
    this.#connection = null
    this.#cancelUpgradeAndTimeouts()
    if (this.#isSuspended) return
    this.#setState(this.#env.isOnline() ? "reconnecting" : "offline")
    const waitMs = connection.isEstablished ? this.#fallback.connectionLost() : this.#fallback.attemptFailed()
    if (connection.bye) this.#reconnectAsTold(connection, connection.bye, waitMs)
    else this.#connectAfter(waitMs)
  }

  /**
   * Reconnect when the server's bye says so. Repeated byes lengthen the wait.
   * @param {Connection} connection
   * @param {ServerMessage} bye
   * @param {number} waitMs the wait without a bye
   */
  #reconnectAsTold({ isEstablished, openedAt }, bye, waitMs) {
    const wasStable = isEstablished && this.#env.now() - openedAt >= STABLE_S
    this.#byesInARow = wasStable ? 1 : this.#byesInARow + 1
    const isRepeated = this.#byesInARow > 1
    if (bye.again === AGAIN.NEVER) {
      // A new ticket may help. If not, only a person can.
      if (isRepeated) this.#stop()
      else this.#tickets.renew()
      return
    }
    const backoffMs = wasStable ? waitMs : Math.max(waitMs, backoff(this.#byesInARow, 0.5 + this.#env.random() / 2))
    const isAtOnce = bye.again === AGAIN.AT_ONCE && !isRepeated
    const afterMs = isAtOnce ? 0 : Math.max(backoffMs, spread(bye, this.#env.random()))
    if (bye.code === CLOSE.EXPIRED) this.#setTimer("retry", afterMs, () => this.#tickets.renew())
    else this.#connectAfter(afterMs)
  }

  /** @param {number} ms */
  #connectAfter(ms) {
    this.#setTimer("retry", ms, () => this.#connect())
  }

  /**
   * @param {Ticket} ticket
   * @param {string[]} requested
   */
  #onTicketRenewed({ ticket, topics }, requested) {
    const isChanged = topics.length !== this.#follows.grantedCount || !topics.every(it => this.#follows.isGranted(it))
    // A connection belongs to one person.
    const isSamePerson = this.#settle(requested, topics)
    if (isSamePerson && this.#connection?.transport?.updateTicket(ticket, isChanged)) {
      if (this.#upgrade && !this.#upgrade.transport?.updateTicket(ticket, isChanged)) this.#cancelUpgrade()
      return
    }
    this.#closeConnection()
    this.#connect()
  }

  /** @param {string[]} requested */
  #onTicketRefused(requested) {
    this.#settle(requested, [])
    if (!this.#follows.hasUndecided) return this.#stop()
    // What was added during the request is requested next.
    this.#closeConnection()
    this.#setState("connecting")
  }

  /** The visitor may not follow anything here any more. */
  #stop() {
    this.#isStopped = true
    this.#closeConnection()
    this.#tickets.stop()
    this.#setState("signed out")
  }

  #closeConnection() {
    if (this.#connection) close(this.#connection)
    this.#connection = null
    this.#cancelUpgradeAndTimeouts()
  }

  #cancelUpgradeAndTimeouts() {
    if (this.#upgrade) close(this.#upgrade)
    this.#upgrade = null
    for (const name of ["establish", "silence", "upgrade", "missing"]) this.#clearTimer(name)
  }

  // Back to a better transport ------------------------------------------------------------------

  /**
   * A server that asks for the next poll after a pause can't hold connections open; one that can holds its answers.
   * @param {ServerMessage} message
   */
  #learn({ poll_after_s = 0 }) {
    if (this.#fallback.learn(poll_after_s === 0) && !this.#upgrade) this.#scheduleUpgrade()
  }

  #scheduleUpgrade() {
    const ms = this.#fallback.upgradeAfterMs
    if (ms === null) this.#clearTimer("upgrade")
    else this.#setTimer("upgrade", ms, () => this.#tryUpgrade())
  }

  /** Try a better transport while the connection goes on; switch to it at its first answer. */
  #tryUpgrade() {
    const onFailure = () => {
      if (!this.#upgrade) return
      close(this.#upgrade)
      this.#upgrade = null
      this.#fallback.upgradeFailed(target)
      this.#scheduleUpgrade()
    }
    const target = this.#fallback.upgradeTarget
    this.#upgrade = this.#open(target, {
      onEstablished: connection => this.#switchTo(connection, target),
      onEnd: connection => {
        if (connection === this.#connection) this.#onEnd(connection)
        else if (connection === this.#upgrade) onFailure()
      },
    })
    this.#setTimer("upgrade", this.#establishMs(target), onFailure)
  }

  /** The second connection has an outdated ticket: try again later. */
  #cancelUpgrade() {
    if (this.#upgrade) close(this.#upgrade)
    this.#upgrade = null
    this.#scheduleUpgrade()
  }

  /**
   * @param {Connection} connection
   * @param {number} index of its transport
   */
  #switchTo(connection, index) {
    this.#upgrade = null
    this.#closeConnection()
    this.#connection = connection
    this.#fallback.upgraded(index)
    this.#scheduleUpgrade()
    this.#lookForMissingSoon()
  }

  // Small helpers -------------------------------------------------------------------------------

  /** @param {Notice} notice */
  #keepNotice(notice) {
    this.#notices.set(notice.id, notice)
    if (this.#notices.size <= MAX_NOTICES) return
    const [oldest] = this.#notices.keys()
    this.#notices.delete(oldest)
  }

  /** @param {LiveState} state */
  #setState(state) {
    if (state === this.#state) return
    this.#state = state
    this.#listeners.emit("states", state)
  }

  /**
   * Start a timer, in place of a running one of this name.
   * @param {string} name
   * @param {number} ms
   * @param {() => void} callback
   */
  #setTimer(name, ms, callback) {
    this.#clearTimer(name)
    this.#timers.set(name, this.#env.setTimeout(callback, ms))
  }

  /** @param {string} name */
  #clearTimer(name) {
    this.#env.clearTimeout(this.#timers.get(name))
    this.#timers.delete(name)
  }
}

/** @param {Connection} connection */
function close(connection) {
  connection.isClosed = true
  connection.transport?.close()
}
