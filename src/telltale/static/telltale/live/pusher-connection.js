/**
 * One connection by pusher-js: events come by channels, snapshots are read by polls.
 *
 * First the channels are subscribed, then the snapshots are read, so nothing is missed in between. The service replays
 * nothing, so every new connection reads again, and an open one does so at a slow pace. pusher-js would reconnect by
 * itself, but a lost connection ends here: `live.js` decides when to reconnect and when to use another transport.
 *
 * The time in an update is dropped: it is by the clock of the machine that published it, not by the server's.
 */
import { requestPoll } from "telltale/live/polling.js"
import { AGAIN, CLOSE } from "telltale/live/protocol.js"
/** @import { Environment } from "telltale/live/live.js" */
/** @import { ServerMessage } from "telltale/live/protocol.js" */
/** @import { Authorizer } from "telltale/live/pusher-auth.js" */
/** @import { TransportOptions } from "telltale/live/transports.js" */

/** The event that carries snapshots and notices. */
export const UPDATE = "telltale.update"

/** How often a message says that the connection is alive, and a read may be due. */
const TICK_MS = 10_000
/** Between two reads while a task is under way: a lost beat must not look like a stalled worker. */
const READ_S = 30
/** Between two reads of a page without such a task. */
const READ_IDLE_S = 300
/** Not the site's events: pusher-js and the service make the first two kinds, other subscribers the third. */
const FOREIGN_EVENT = /^(pusher:|pusher_internal:|client-)/
/** States in which pusher-js has no connection, and none soon. */
const FAILED = new Set(["unavailable", "failed", "disconnected"])

/**
 * @typedef {object} Channel a channel of pusher-js
 * @property {(event: string, callback: (data: any) => void) => void} bind
 * @property {(callback: (event: string, data: any) => void) => void} bind_global
 * @property {() => void} unbind_all
 *
 * @typedef {object} ClientConnection
 * @property {string} state
 * @property {(event: string, callback: (data: any) => void) => void} bind
 * @property {(event: string, callback: (data: any) => void) => void} unbind
 *
 * @typedef {object} Client the client of pusher-js
 * @property {ClientConnection} connection
 * @property {(name: string) => Channel} subscribe
 * @property {(name: string) => void} unsubscribe
 * @property {() => void} connect
 * @property {() => void} disconnect
 *
 */

export class PusherConnection {
  #options
  #env
  #authorizer
  /** Aborts when this is closed, or has ended. */
  #closing = new AbortController()
  /** @type {Client | null} */
  #client = null
  /** @type {Map<string, Channel>} */
  #channels = new Map()
  /** @type {Set<string>} names of the channels that are not subscribed yet */
  #pending = new Set()
  #isEstablished = false
  #isReading = false
  /** A read was asked for during another, which may have begun too early. */
  #isReadDue = false
  /** When the last read began, by the environment's `now`. */
  #readAt = 0
  /** @type {number | undefined} */
  #ticking
  /** Lengthens or shortens the time between reads, so that pages don't read all at once. */
  #pace

  /**
   * @param {TransportOptions} options
   * @param {Environment} env
   * @param {Pick<Authorizer, "hasRefused">} authorizer
   */
  constructor(options, env, authorizer) {
    this.#options = options
    this.#env = env
    this.#authorizer = authorizer
    this.#pace = 0.75 + env.random() / 2
  }

  /** @param {Client} client */
  open(client) {
    if (this.#isClosed) return
    this.#client = client
    for (const [event, callback] of this.#callbacks) client.connection.bind(event, callback)
    this.#follow()
    if (!this.#isClosed) client.connect()
  }

  /** Follow the topics of the new ticket; false if a topic has no channel. */
  updateTicket() {
    if (!this.#options.channels()) return false
    if (this.#client) this.#follow()
    return true
  }

  pollNow() {
    if (this.#isEstablished) this.#read()
  }

  /** Close, and report it as an end. */
  end() {
    if (this.#isClosed) return
    this.close()
    this.#options.onEnd()
  }

  close() {
    if (this.#isClosed) return
    this.#closing.abort()
    this.#env.clearTimeout(this.#ticking)
    // Later, because pusher-js may be in the middle of the change that it has just reported.
    queueMicrotask(() => this.#release())
  }

  get #isClosed() {
    return this.#closing.signal.aborted
  }

  #release() {
    const client = this.#client
    if (!client) return
    for (const [event, callback] of this.#callbacks) client.connection.unbind(event, callback)
    for (const channel of this.#channels.values()) channel.unbind_all()
    // In this order, the channels are forgotten without a message for each.
    client.disconnect()
    for (const name of this.#channels.keys()) client.unsubscribe(name)
  }

  /** @type {[string, (data: any) => void][]} callbacks by the event of pusher-js's connection */
  #callbacks = [
    ["state_change", ({ previous, current }) => (previous === "connected" || FAILED.has(current)) && this.end()],
    // The connection is lost, or could not be opened.
    ["connecting_in", () => this.end()],
    // Some services refuse a signature by an error alone.
    ["error", () => this.#isEstablished || this.end()],
  ]

  // Channels ------------------------------------------------------------------------------------

  /** Subscribe the channels of the ticket's topics, and no others. */
  #follow() {
    const wanted = this.#options.channels()
    if (!wanted) return this.end()
    const wasPending = this.#pending.size > 0
    for (const name of [...this.#channels.keys()]) if (!Object.hasOwn(wanted, name)) this.#leave(name)
    const added = Object.keys(wanted).filter(name => !this.#channels.has(name))
    try {
      for (const name of added) this.#join(name)
    } catch {
      return this.end() // only pusher-js with encryption takes encrypted channels
    }
    // The read may have waited only for a channel that was given up.
    if (!this.#isEstablished || wasPending) this.#readOnceSubscribed()
  }

  /** @param {string} name */
  #join(name) {
    const channel = /** @type {Client} */ (this.#client).subscribe(name)
    this.#channels.set(name, channel)
    this.#pending.add(name)
    channel.bind("pusher:subscription_succeeded", () => {
      if (this.#pending.delete(name)) this.#readOnceSubscribed()
    })
    channel.bind("pusher:subscription_error", () => this.#onRefused(name))
    channel.bind_global((event, data) => this.#onEvent(name, event, data))
  }

  /** @param {string} name */
  #leave(name) {
    this.#channels.get(name)?.unbind_all()
    this.#channels.delete(name)
    this.#pending.delete(name)
    this.#client?.unsubscribe(name)
  }

  /**
   * A channel can't be subscribed. If the site decided so, the ticket is outdated: a new one has only what the visitor
   * may still follow.
   * @param {string} name
   */
  #onRefused(name) {
    if (this.#isClosed) return
    if (this.#authorizer.hasRefused(name)) {
      this.#options.onMessage({ type: "bye", code: CLOSE.EXPIRED, again: AGAIN.AT_ONCE })
    }
    this.end()
  }

  /**
   * @param {string} name of the channel
   * @param {string} event
   * @param {any} data
   */
  #onEvent(name, event, data) {
    if (this.#isClosed || FOREIGN_EVENT.test(event)) return
    const topic = this.#options.channels()?.[name]
    if (event !== UPDATE) {
      if (topic) this.#options.onMessage({ type: "update", events: [{ topic, name: event, data }] })
    } else if (data && typeof data === "object") {
      this.#options.onMessage({ type: "update", tasks: data.tasks ?? [], notices: data.notices ?? [] })
    }
  }

  // Reads ---------------------------------------------------------------------------------------

  #readOnceSubscribed() {
    if (this.#channels.size && !this.#pending.size) this.#read()
  }

  async #read() {
    this.#isReadDue = true
    if (this.#isReading) return
    this.#isReading = true
    while (this.#isReadDue && !this.#isClosed) {
      this.#isReadDue = false
      const isAnswered = await this.#poll().catch(() => false)
      // While the site can't be reached, an established connection goes on: events still arrive.
      if (!isAnswered && !this.#isEstablished) this.end()
    }
    this.#isReading = false
  }

  /** Read snapshots and notices once. Resolves to whether the server answered. */
  async #poll() {
    const { signal } = this.#closing
    this.#readAt = this.#env.now()
    const message = await requestPoll({ ...this.#options, onMessage: bye => this.#onBye(bye) }, this.#env, signal, 0)
    if (!message || signal.aborted) return false
    const isFirst = !this.#isEstablished
    const type = isFirst ? "hello" : "update"
    this.#isEstablished = true
    // Without its events, because they come by the channels too; and the next poll is not the server's to decide.
    this.#options.onMessage({ ...message, type, events: [], poll_after_s: 0 })
    if (isFirst && !this.#isClosed) this.#scheduleTick()
    return true
  }

  /** @param {ServerMessage} bye */
  #onBye(bye) {
    if (this.#isClosed) return
    this.#options.onMessage(bye)
    this.end()
  }

  #scheduleTick() {
    this.#ticking = this.#env.setTimeout(() => this.#tick(), TICK_MS)
  }

  #tick() {
    this.#scheduleTick()
    if (this.#client?.connection.state !== "connected") return
    this.#options.onMessage({ type: "ping" })
    const isUnderWay = Object.values(this.#options.have()).some(([, ended]) => !ended)
    const everyS = (isUnderWay ? READ_S : READ_IDLE_S) * this.#pace
    if (this.#env.now() - this.#readAt >= everyS) this.#read()
  }
}
