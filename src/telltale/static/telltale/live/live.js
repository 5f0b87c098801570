/**
 * What the page knows of tasks, notices and events, from the server's messages: calls the listeners.
 *
 * `Connector` has the page's one connection, `Follows` knows what is followed and granted, `Grants` draws the
 * conclusions, `Tickets` keeps a valid ticket for it, `Snapshots` finds what is new. All effects come in by `env`;
 * `index.js` makes the one for a page. Names say the unit: `_MS` or `_S`.
 */
import { Clock } from "telltale/live/clock.js"
import { Connector } from "telltale/live/connector.js"
import { Follows, idOf, isOwnTopic } from "telltale/live/follows.js"
import { Grants } from "telltale/live/grants.js"
import { Listeners } from "telltale/live/listeners.js"
import { KeptNotices } from "telltale/live/kept-notices.js"
import { Snapshots } from "telltale/live/snapshots.js"
import { Tickets } from "telltale/live/tickets.js"
import { NamedTimers } from "telltale/live/timers.js"
import { transportsFor } from "telltale/live/transports.js"
/** @import { Limits } from "telltale/health.js" */
/** @import { ServerMessage } from "telltale/live/protocol.js" */
/** @import { Content, Notice, Snapshot, TopicEvent } from "telltale/live/snapshots.js" */
/** @import { Transport, TransportOptions } from "telltale/live/transports.js" */
/** @import { Page } from "telltale/page.js" */
/** @import { Ticket } from "telltale/requests.js" */

/** When the visitor returns to the page, a connection with a message within this time is kept. */
const FRESH_S = 22
/** The snapshot of a task that one of the visitor's own topics covers comes within this time after connecting. */
const MISSING_MS = 5_000

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
 */

export class Live {
  /** @type {Page} */
  page
  /** @type {Limits} */
  limits
  #env
  #timers
  #clock
  #snapshots = new Snapshots()
  #notices = new KeptNotices()
  #listeners = new Listeners()
  #follows
  #grants
  #tickets
  #connector
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
    this.#timers = new NamedTimers(env)
    this.#clock = new Clock(env.now)
    this.#clock.update(page.now)
    this.#lastMessageAt = page.now
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
    this.#connector = new Connector(transports, this.#transportOptions(), env, {
      tickets: this.#tickets,
      canHold: page.can_hold,
      callbacks: {
        onState: state => this.#listeners.emit("states", state),
        onHeard: message => this.#takeTime(message),
        onMessage: message => this.receive(message),
        onEstablished: () => this.#lookForMissingSoon(),
        onClosed: () => this.#timers.clear("missing"),
      },
    })
  }

  /** @returns {Omit<TransportOptions, "onMessage" | "onEnd">} */
  #transportOptions() {
    return {
      url: this.#env.absoluteUrl(this.page.urls.live),
      ticket: () => this.#tickets.text,
      channels: () => this.#tickets.channels,
      have: () => this.#snapshots.have,
      seen: () => this.#snapshots.seen,
      topics: () => this.#tickets.topics,
      owner: () => this.#tickets.topics.filter(isOwnTopic).sort().join(" "),
      isFollowed: topic => this.#follows.isAskedHere(topic),
      want: topics => this.#want(topics),
    }
  }

  // For elements and scripts --------------------------------------------------------------------

  /** The state of the connection. */
  get state() {
    return this.#connector.state
  }

  /** The server's time for which the shown data is correct: now while connected, else that of the last message. */
  get now() {
    const { now } = this.#clock
    return this.#connector.isCurrent(now - this.#lastMessageAt) ? now : this.#lastMessageAt
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
    for (const notice of this.#notices.all) listener(notice)
    this.#start()
  }

  /**
   * The server has decided which page shows this notice: later listeners don't get it.
   * @param {string} id
   */
  forgetNotice(id) {
    this.#notices.forget(id)
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
      this.#notices.add(notice)
      this.#listeners.emit("notices", notice)
    }
    for (const event of events) this.#listeners.emit(`topic ${event.topic}`, event)
  }

  /**
   * Take in the answer to the page's first request, which was sent before this connects.
   * @param {ServerMessage} message
   */
  receiveFirst(message) {
    if (this.#connector.isStopped) return
    this.#takeTime(message)
    this.receive(message)
  }

  // For the page's lifecycle --------------------------------------------------------------------

  /** The page is visible again, or the network is back: be up to date at once. */
  resume() {
    this.#connector.comeBack()
    if (this.#connector.isStopped || this.state === "idle") return
    // What was added just before the page was left was not requested.
    this.#tickets.onAdded()
    this.#tickets.onGivenUp()
    // The visitor may have signed in on another page.
    if (this.#follows.hasRefused) this.#tickets.renew()
    // By two clocks: one may have stood still while the machine slept.
    const silentS = Math.max(this.#clock.now - this.#lastMessageAt, Math.abs(this.#env.wallNow() - this.#heardAt))
    this.#connector.refresh(silentS < FRESH_S)
  }

  /** The page is hidden: after a while, close a connection that counts against the browser's limit. */
  hide() {
    this.#connector.hide()
  }

  /**
   * Keep the connection while the page is hidden, for as long as it is needed.
   * @param {() => boolean} isNeeded asked from time to time
   */
  keepWhileHidden(isNeeded) {
    this.#connector.isNeededWhileHidden = isNeeded
  }

  /** The page is left, perhaps for the back/forward cache: close everything until `resume`. */
  suspend() {
    this.#connector.suspend()
  }

  /** The network is gone. */
  goOffline() {
    this.#connector.goOffline()
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

  /** @param {string[]} topics that other pages of the visitor ask for */
  #want(topics) {
    if (!this.#follows.askForOthers(topics)) return
    this.#tickets.onAdded()
    this.#tickets.onGivenUp()
  }

  /** Request the tasks that one of the visitor's own topics should cover, and of which no snapshot comes. */
  #lookForMissingSoon() {
    if (this.#timers.has("missing") || !this.#connector.isEstablished) return
    this.#timers.set("missing", MISSING_MS, () => {
      this.#timers.clear("missing")
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
    this.#connector.becomeIdle()
  }

  #start() {
    if (this.#connector.isStopped) this.#allowToStart()
    if (this.state === "idle" && this.#follows.requested.length > 0) this.#connector.start()
  }

  /** Something more is followed on a page that was refused: the visitor may have signed in without a new page. */
  #allowToStart() {
    this.#tickets.discard()
    this.#follows.askAgain()
    this.#connector.allow()
  }

  /**
   * @param {Ticket} ticket
   * @param {string[]} requested
   */
  #onTicketRenewed({ ticket, topics }, requested) {
    const isChanged = topics.length !== this.#follows.grantedCount || !topics.every(it => this.#follows.isGranted(it))
    // A connection belongs to one person.
    const isSamePerson = this.#settle(requested, topics)
    if (isSamePerson && this.#connector.updateTicket(ticket, isChanged)) return
    this.#connector.close()
    this.#connector.connect()
  }

  /** @param {string[]} requested */
  #onTicketRefused(requested) {
    this.#settle(requested, [])
    if (!this.#follows.hasUndecided) return this.#connector.stop()
    // What was added during the request is requested next.
    this.#connector.close()
    this.#connector.setState("connecting")
  }

  /** @param {ServerMessage} message */
  #takeTime(message) {
    this.#heardAt = this.#env.wallNow()
    if (message.now !== undefined && Number.isFinite(message.now)) {
      this.#clock.update(message.now)
      this.#lastMessageAt = message.now
    } else if (message.type !== "bye") this.#lastMessageAt = this.#clock.now
    if (message.limits?.stalled_s) this.limits = message.limits
  }
}
