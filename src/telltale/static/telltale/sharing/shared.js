/**
 * One connection for all tabs of a person. It wraps a transport that holds an HTTP request open: over HTTP/1.1 a
 * browser allows a site six requests at a time, in all tabs together.
 *
 * One tab leads, and has the connection; the others follow it. Only tabs of the same person at the same live address
 * share: both are in the name of lock and channel. A tab whose topics the leader's ticket does not cover opens a
 * connection of its own. Why WebSockets are not shared: docs/decisions/0011-one-stream-for-all-tabs.md.
 */
import { VERSION } from "telltale/live/protocol.js"
import { Follower } from "telltale/sharing/follower.js"
import { Leader } from "telltale/sharing/leader.js"
import { Leadership } from "telltale/sharing/leadership.js"
/** @import { Environment } from "telltale/live/live.js" */
/** @import { Open, OpenTransport, TransportOptions } from "telltale/live/transports.js" */
/** @import { Locks } from "telltale/sharing/leadership.js" */
/** @import { TabMessage } from "telltale/sharing/tab-messages.js" */

/** Tabs that find the leader silent at the same moment take the lock after a random part of this time. */
const SPREAD_MS = 1_000

/**
 * @typedef {object} Means what this needs of the browser
 * @property {Locks} locks
 * @property {(name: string) => Pick<BroadcastChannel, "postMessage" | "close" | "onmessage">} openChannel
 * @property {() => string} newId
 */

/**
 * The transport `open`, shared.
 * @param {Open} open
 * @param {string} name of the transport
 * @param {Means} means
 * @returns {Open}
 */
export const shared = (open, name, means) => (options, env) => {
  const owner = options.owner()
  if (!owner) return open(options, env)
  return new SharedConnection(open, `telltale ${VERSION} ${name} ${options.url} ${owner}`, { options, env, means })
}

class SharedConnection {
  #open
  #options
  #env
  #channel
  #id
  #leadership
  /** @type {Leader | Follower | OpenTransport} the last: a connection of this tab's own */
  #role
  #isClosed = false
  /** @type {number | undefined} */
  #timer

  /**
   * @param {Open} open
   * @param {string} name
   * @param {{options: TransportOptions, env: Environment, means: Means}} use
   */
  constructor(open, name, { options, env, means }) {
    this.#open = open
    this.#env = env
    this.#options = { ...options, onEnd: () => this.#end(options.onEnd) }
    this.#id = means.newId()
    this.#channel = means.openChannel(name)
    this.#channel.onmessage = ({ data }) => this.#receive(data)
    this.#leadership = new Leadership(means.locks, name, {
      onElected: () => this.#lead(),
      onLost: () => this.#options.onEnd(),
    })
    const follower = new Follower(this.#options, env, {
      ...this.#tab,
      onLeaderSilent: () => this.#leadSoon(),
      onUncovered: () => this.#goAlone(),
    })
    this.#role = follower
    follower.start()
    this.#leadership.request()
  }

  get #tab() {
    return {
      id: this.#id,
      post: (/** @type {TabMessage} */ message) => this.#isClosed || this.#channel.postMessage(message),
    }
  }

  /** @param {TabMessage} message */
  #receive(message) {
    if (message.type === "lead") this.#env.clearTimeout(this.#timer)
    if ("receive" in this.#role) this.#role.receive(message)
  }

  #lead() {
    if (this.#isClosed) return
    const leader = new Leader(this.#open, this.#options, this.#env, this.#tab)
    this.#replaceRole(leader)
    leader.start()
  }

  #leadSoon() {
    this.#env.clearTimeout(this.#timer)
    this.#timer = this.#env.setTimeout(() => this.#leadership.takeByForce(), this.#env.random() * SPREAD_MS)
  }

  #goAlone() {
    this.#leadership.end()
    this.#replaceRole(this.#open(this.#options, this.#env))
  }

  /** @param {Leader | OpenTransport} role */
  #replaceRole(role) {
    this.#env.clearTimeout(this.#timer)
    this.#role.close()
    this.#role = role
  }

  /** @param {() => void} onEnd */
  #end(onEnd) {
    if (this.#isClosed) return
    this.close()
    onEnd()
  }

  /**
   * @param {string} ticket
   * @param {boolean} isChanged
   */
  updateTicket(ticket, isChanged) {
    return this.#role.updateTicket(ticket, isChanged)
  }

  pollNow() {
    this.#role.pollNow?.()
  }

  close() {
    if (this.#isClosed) return
    this.#env.clearTimeout(this.#timer)
    this.#role.close()
    this.#isClosed = true
    this.#leadership.end()
    this.#channel.close()
  }
}
