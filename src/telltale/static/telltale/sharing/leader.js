/**
 * The tab that leads: it has the connection, also follows the topics of the other tabs, and passes on what arrives.
 *
 * The leader requests a ticket for all these topics, and the server decides which of them the person may follow. The
 * leader's answer to a tab has the topics that were granted.
 */
import { visiblePart } from "telltale/sharing/tab-messages.js"
/** @import { Environment } from "telltale/live/live.js" */
/** @import { ServerMessage } from "telltale/live/protocol.js" */
/** @import { Open, OpenTransport, TransportOptions } from "telltale/live/transports.js" */
/** @import { Join, TabMessage } from "telltale/sharing/tab-messages.js" */

/** A tab that has not joined again for this long is forgotten. */
const FORGET_S = 10

export class Leader {
  #open
  #options
  #env
  #id
  #post
  /** @type {OpenTransport | null} */
  #transport = null
  /** Whether the server has answered on the present connection. */
  #isLive = false
  /** @type {Map<string, {topics: string[], heardAt: number}>} the other tabs */
  #tabs = new Map()

  /**
   * @param {Open} open of the transport that is shared
   * @param {TransportOptions} options
   * @param {Environment} env
   * @param {{id: string, post: (message: TabMessage) => void}} tab
   */
  constructor(open, options, env, { id, post }) {
    this.#open = open
    this.#options = options
    this.#env = env
    this.#id = id
    this.#post = post
  }

  start() {
    this.#connect()
    this.#announce()
  }

  /** @param {TabMessage} message of another tab */
  receive(message) {
    if (message.type === "leave") this.#forget(message.from)
    if (message.type === "join") this.#onJoin(message)
  }

  /**
   * @param {string} ticket
   * @param {boolean} isChanged
   */
  updateTicket(ticket, isChanged) {
    if (!this.#transport?.updateTicket(ticket, isChanged)) {
      // Reconnected here, so that this tab goes on leading.
      this.#transport?.close()
      this.#isLive = false
      this.#connect()
    }
    this.#announce()
    return true
  }

  pollNow() {
    this.#transport?.pollNow?.()
  }

  close() {
    const transport = this.#transport
    this.#transport = null
    transport?.close()
    this.#options.want([])
  }

  #connect() {
    /** @type {OpenTransport | null} */
    let transport = null
    const isCurrent = () => transport !== null && this.#transport === transport
    transport = this.#open(
      {
        ...this.#options,
        onMessage: message => isCurrent() && this.#onMessage(message),
        onEnd: () => isCurrent() && this.#onEnd(),
      },
      this.#env,
    )
    this.#transport = transport
  }

  /** @param {ServerMessage} message */
  #onMessage(message) {
    const topics = this.#options.topics()
    const isFirst = !this.#isLive && (message.type === "hello" || message.type === "poll")
    if (isFirst) this.#isLive = true
    if (this.#tabs.size > 0) this.#post({ type: "message", from: this.#id, topics, message })
    if (isFirst) this.#announce()
    this.#options.onMessage(visiblePart(message, topics, topic => this.#options.isFollowed(topic)))
  }

  #onEnd() {
    this.#post({ type: "end", from: this.#id })
    this.#options.onEnd()
  }

  /** @param {Join} message */
  #onJoin({ from, topics }) {
    const heardAt = this.#env.now()
    this.#tabs.set(from, { topics, heardAt })
    for (const [id, tab] of this.#tabs) if (heardAt - tab.heardAt > FORGET_S) this.#tabs.delete(id)
    this.#follow()
    this.#announce()
  }

  /** @param {string} id of a tab */
  #forget(id) {
    if (this.#tabs.delete(id)) this.#follow()
  }

  /** Follow what the other tabs follow. */
  #follow() {
    this.#options.want([...new Set([...this.#tabs.values()].flatMap(tab => tab.topics))])
  }

  #announce() {
    this.#post({ type: "lead", from: this.#id, topics: this.#options.topics(), isLive: this.#isLive })
  }
}
