/**
 * Opens, times out, replaces and closes the page's connection. Of the messages, it reads only whether the server
 * answers (hello, poll) or closes (bye).
 *
 * `Fallback` chooses the transport, `Upgrade` tries better ones, `Byes` reads the server's reasons, `Tickets` keeps a
 * valid ticket. Names say the unit: `_MS` or `_S`.
 */
import { Byes } from "telltale/live/byes.js"
import { closeConnection, openConnection } from "telltale/live/connection.js"
import { Fallback } from "telltale/live/fallback.js"
import { NamedTimers } from "telltale/live/timers.js"
import { Upgrade } from "telltale/live/upgrade.js"
/** @import { Connection } from "telltale/live/connection.js" */
/** @import { Environment, LiveState } from "telltale/live/live.js" */
/** @import { ServerMessage } from "telltale/live/protocol.js" */
/** @import { Tickets } from "telltale/live/tickets.js" */
/** @import { Transport, TransportOptions } from "telltale/live/transports.js" */

/** A connection without an answer for this long counts as failed. */
const ESTABLISH_MS = 5_000
/** Something arrives at least every 20 s, or every 25 s by polling; after this silence the connection is dead. */
const SILENCE_MS = 40_000
/** A hidden page closes a stream or poll after this: browsers allow few of them per site. */
const HIDDEN_MS = 60_000

/**
 * @typedef {object} Callbacks
 * @property {(state: LiveState) => void} onState
 * @property {(message: ServerMessage) => void} onHeard called for every message first
 * @property {(message: ServerMessage) => void} onMessage called for every message, after the state has changed
 * @property {() => void} onEstablished a connection has its first answer, or another takes its place
 * @property {() => void} onClosed
 */

export class Connector {
  #transports
  #options
  #env
  #callbacks
  #fallback
  #timers
  #byes = new Byes()
  /** @type {Tickets} */
  #tickets
  /** @type {LiveState} */
  #state = "idle"
  /** @type {Connection | null} */
  #connection = null
  #upgrade
  /** The page was left; it may come back. */
  #isSuspended = false
  /** Whether something waits for messages also while the page is hidden. */
  isNeededWhileHidden = () => false

  /**
   * @param {Transport[]} transports best first
   * @param {Omit<TransportOptions, "onMessage" | "onEnd">} options of the transports
   * @param {Environment} env
   * @param {{tickets: Tickets, canHold?: boolean, callbacks: Callbacks}} more
   */
  constructor(transports, options, env, { tickets, canHold, callbacks }) {
    const held = [...transports.keys()].filter(index => transports[index].isHeld)
    this.#transports = transports
    this.#options = options
    this.#env = env
    this.#callbacks = callbacks
    this.#tickets = tickets
    this.#fallback = new Fallback(transports.length, env.random, { held, canHold })
    this.#timers = new NamedTimers(env)
    this.#upgrade = new Upgrade(this.#fallback, this.#timers, {
      open: (index, callbacks) => this.#open(index, callbacks),
      establishMs: index => this.#establishMs(index),
      onSwitch: connection => this.#switchTo(connection),
      onEnd: connection => this.#onEnd(connection),
    })
  }

  /** The state of the connection. */
  get state() {
    return this.#state
  }

  get isEstablished() {
    return this.#connection?.isEstablished ?? false
  }

  /**
   * Whether what the page knows is right at this moment. Not after the connection was closed because the page is hidden
   * or left, nor after a silence that no timer has ended yet, because the machine slept.
   * @param {number} silentS seconds since the last message
   */
  isCurrent(silentS) {
    return this.#isUpToDate && !this.#isSuspended && silentS * 1000 < SILENCE_MS
  }

  get #isUpToDate() {
    return this.#state === "live" || this.#state === "polling"
  }

  /** Whether the server refused the visitor. It is asked again when something more is followed. */
  get isStopped() {
    return this.#state === "signed out"
  }

  // The page's wishes ---------------------------------------------------------------------------

  /** Connect, after what runs now. */
  start() {
    this.setState("connecting")
    // Elements are upgraded one after another: wait until all have said what they follow.
    queueMicrotask(() => this.connect())
  }

  async connect() {
    if (this.#connection || this.#isSuspended || this.isStopped) return
    this.#timers.clear("retry")
    if (!this.#tickets.isValid) {
      // The new ticket connects; if the request fails, the tickets repeat it.
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
    this.#timers.set("establish", establishMs, () => this.#timeOut())
  }

  /**
   * Go on with a new ticket of the same person; returns whether the connection does.
   * @param {string} ticket
   * @param {boolean} isChanged whether it has other topics
   */
  updateTicket(ticket, isChanged) {
    if (!this.#connection?.transport?.updateTicket(ticket, isChanged)) return false
    this.#upgrade.updateTicket(ticket, isChanged)
    return true
  }

  /** Close the connection. Nothing opens the next one by itself. */
  close() {
    if (this.#connection) closeConnection(this.#connection)
    this.#connection = null
    this.#cancelUpgradeAndTimeouts()
  }

  /** Nothing is left to follow. */
  becomeIdle() {
    this.close()
    this.#timers.clear("retry")
    this.setState("idle")
  }

  /** The visitor may not follow anything here any more. */
  stop() {
    this.close()
    this.#tickets.stop()
    this.setState("signed out")
  }

  /** The visitor may have signed in without a new page. */
  allow() {
    this.#byes.reset()
    this.setState("idle")
  }

  /** The page is visible again, or the network is back: earlier failures no longer delay the next attempt. */
  comeBack() {
    this.#timers.clear("hidden")
    this.#isSuspended = false
    this.#fallback.resetBackoff()
  }

  /**
   * Be up to date at once.
   * @param {boolean} isFresh whether a message has arrived lately
   */
  refresh(isFresh) {
    if (this.#connection?.isEstablished && isFresh) return this.#connection.transport?.pollNow?.()
    this.close()
    if (this.#isUpToDate) this.setState("reconnecting")
    this.connect()
  }

  /**
   * The page is hidden: after a while, close a connection that counts against the browser's limit, unless it is needed. A
   * page that has none may fall back to one later.
   */
  hide() {
    const canClose = () => this.#fallback.current > 0 && !this.isNeededWhileHidden()
    this.#timers.set("hidden", HIDDEN_MS, () => (canClose() ? this.suspend() : this.hide()))
  }

  /** The page is left, perhaps for the back/forward cache: close everything until it comes back. */
  suspend() {
    this.#isSuspended = true
    this.close()
    this.#tickets.stop()
    this.#timers.clear("retry")
  }

  /** The network is gone. */
  goOffline() {
    if (this.#state === "idle" || this.isStopped) return
    this.close()
    this.setState("offline")
    this.#connectAfter(this.#fallback.connectionLost())
  }

  /** @param {LiveState} state */
  setState(state) {
    if (state === this.#state) return
    this.#state = state
    this.#callbacks.onState(state)
  }

  // Connecting and reconnecting -----------------------------------------------------------------

  /**
   * Open a connection over transport number `index`.
   * @param {number} index
   * @param {{onEstablished: (connection: Connection) => void, onEnd: (connection: Connection) => void}} callbacks
   */
  #open(index, { onEstablished, onEnd }) {
    return openConnection(this.#transports[index], this.#options, this.#env, {
      onMessage: (connection, message) => this.#onMessage(connection, message, onEstablished),
      onEnd,
    })
  }

  /** @param {number} index of a transport */
  #establishMs(index) {
    return this.#transports[index].establishMs ?? ESTABLISH_MS
  }

  /**
   * @param {Connection} connection
   * @param {ServerMessage} message
   * @param {(connection: Connection) => void} onEstablished
   */
  #onMessage(connection, message, onEstablished) {
    this.#callbacks.onHeard(message)
    if (message.type === "bye") connection.bye = message
    if (message.type === "poll" && connection === this.#connection) this.#learn(message)
    if (message.type === "hello" || message.type === "poll") {
      if (!connection.isEstablished) {
        connection.isEstablished = true
        onEstablished(connection)
      }
      if (connection === this.#connection) this.setState((message.poll_after_s ?? 0) > 0 ? "polling" : "live")
    }
    if (connection === this.#connection) this.#timers.set("silence", SILENCE_MS, () => this.#timeOut())
    this.#callbacks.onMessage(message)
  }

  #onEstablished() {
    this.#fallback.established()
    this.#timers.clear("establish")
    this.#upgrade.schedule()
    this.#callbacks.onEstablished()
  }

  /** Nothing arrived in time: the connection has ended, whatever the browser reports. */
  #timeOut() {
    const connection = this.#connection
    if (!connection || connection.isClosed) return
    closeConnection(connection)
    this.#onEnd(connection)
  }

  /** @param {Connection} connection */
  #onEnd(connection) {
    if (connection !== this.#connection) return
    this.#connection = null
    this.#cancelUpgradeAndTimeouts()
    if (this.#isSuspended) return
    this.setState(this.#env.isOnline() ? "reconnecting" : "offline")
    const waitMs = connection.isEstablished ? this.#fallback.connectionLost() : this.#fallback.attemptFailed()
    if (connection.bye) this.#reconnectAsTold(connection, connection.bye, waitMs)
    else this.#connectAfter(waitMs)
  }

  /**
   * @param {Connection} connection
   * @param {ServerMessage} bye
   * @param {number} waitMs the wait without a bye
   */
  #reconnectAsTold({ isEstablished, openedAt }, bye, waitMs) {
    const workedS = isEstablished ? this.#env.now() - openedAt : 0
    const { then, afterMs } = this.#byes.next(bye, { workedS, waitMs, random: this.#env.random() })
    if (then === "stop") this.stop()
    else if (then === "connect") this.#connectAfter(afterMs)
    else if (afterMs > 0) this.#timers.set("retry", afterMs, () => this.#tickets.renew())
    else this.#tickets.renew()
  }

  /** @param {number} ms */
  #connectAfter(ms) {
    this.#timers.set("retry", ms, () => this.connect())
  }

  #cancelUpgradeAndTimeouts() {
    this.#upgrade.stop()
    this.#timers.clear("establish", "silence")
    this.#callbacks.onClosed()
  }

  /**
   * A server that asks for the next poll after a pause can't hold connections open; one that can holds its answers.
   * @param {ServerMessage} message
   */
  #learn({ poll_after_s = 0 }) {
    if (this.#fallback.learn(poll_after_s === 0)) this.#upgrade.reschedule()
  }

  /** @param {Connection} connection over a better transport */
  #switchTo(connection) {
    this.close()
    this.#connection = connection
    this.#callbacks.onEstablished()
  }
}
