/** Tabs of one browser that share a stream: simulated time, locks and channels, and a server of tickets and snapshots. */
import { Live } from "telltale/live/live.js"
import { AGAIN, CLOSE } from "telltale/live/protocol.js"
import { shared } from "telltale/sharing/shared.js"

import { START, Timers, settle } from "./simulated-page.js"

const URL_LIVE = "https://site.example/telltale/live/"
const covers = (topics, task) => topics.includes(task.owner) || topics.includes(`task:${task.snapshot.id}`)

/** The locks of a browser. A lock is given to who waits longest. */
class Locks {
  #held = new Map()
  #waiting = []

  /** The locks as one tab has them. */
  of(tab) {
    return {
      request: (name, { signal, steal = false }, callback) =>
        new Promise((resolve, reject) => {
          const request = { tab, name, callback, resolve, reject }
          signal?.addEventListener("abort", () => {
            if (!this.#waiting.includes(request)) return
            this.#waiting = this.#waiting.filter(it => it !== request)
            reject(new DOMException("", "AbortError"))
          })
          if (steal) this.#steal(request)
          else this.#waiting.push(request)
          this.#grant()
        }),
    }
  }

  /** The tab is gone, and none of its scripts runs any more. */
  forget(tab) {
    this.#waiting = this.#waiting.filter(request => request.tab !== tab)
    for (const [name, request] of this.#held) if (request.tab === tab) this.#held.delete(name)
    this.#grant()
  }

  #steal(request) {
    const holder = this.#held.get(request.name)
    this.#held.delete(request.name)
    holder?.reject(new DOMException("", "AbortError"))
    this.#waiting.unshift(request)
  }

  #grant() {
    for (const request of this.#waiting) {
      if (this.#held.has(request.name)) continue
      this.#waiting = this.#waiting.filter(it => it !== request)
      this.#held.set(request.name, request)
      queueMicrotask(() => this.#run(request))
    }
  }

  async #run(request) {
    if (this.#held.get(request.name) !== request) return
    await request.callback()
    if (this.#held.get(request.name) === request) this.#held.delete(request.name)
    request.resolve()
    this.#grant()
  }
}

export class SimulatedBrowser {
  /** @type {SimulatedTab[]} */
  tabs = []
  /** Every stream that was opened: the tab, the topics of its ticket, and whether it is open. */
  streams = []
  /** The reads of tabs by their own tickets. */
  reads = []
  /** By id: a snapshot, and the topic of its owner. */
  tasks = new Map()
  /** Whether the server gives this visitor tickets, and opens connections. */
  isUp = true
  isSignedIn = true
  /** The own topic of who is signed in. */
  visitor = "user:1"
  /** Topics that the server refuses to some tabs: which, by topic. */
  refusals = new Map()
  timers = new Timers(START, 1_000)
  locks = new Locks()
  channels = []

  get now() {
    return this.timers.now
  }

  get openStreams() {
    return this.streams.filter(stream => stream.isOpen)
  }

  /** Open a tab that follows the visitor's own tasks, and these tasks of others. */
  open(options) {
    const tab = new SimulatedTab(this, options)
    this.tabs.push(tab)
    return tab
  }

  pass(seconds) {
    return this.timers.pass(seconds)
  }

  /** A task changes, and everybody who follows it is told at once. */
  change(id, seq, owner = "user:1") {
    const snapshot = { id, attempt: 1, ended: false, seq, state: "running" }
    this.tasks.set(id, { snapshot, owner })
    this.send(stream => covers(stream.topics, { snapshot, owner }), { tasks: [snapshot] })
  }

  /** Send a message to the streams for which the condition holds. */
  send(condition, content) {
    for (const stream of this.openStreams.filter(condition)) stream.receive({ type: "update", now: this.now, ...content })
  }

  /** The rights of the visitor's session end. */
  signOut() {
    this.isSignedIn = false
    this.#endRights()
  }

  /** Another person signs in, which ends the rights of the session before. */
  signInAs(topic) {
    this.visitor = topic
    this.#endRights()
  }

  #endRights() {
    for (const stream of this.openStreams) {
      stream.receive({ type: "bye", code: CLOSE.EXPIRED, again: AGAIN.AT_ONCE })
      stream.end()
    }
  }

  /** The transport whose stream the tabs share. */
  stream = (options, env) => {
    const topics = JSON.parse(options.ticket())
    const { tab } = env
    const stream = {
      tab,
      topics,
      isOpen: this.isUp,
      receive: message => tab.isRunning && stream.isOpen && options.onMessage(message),
      end: () => {
        stream.isOpen = false
        options.onEnd()
      },
    }
    this.streams.push(stream)
    queueMicrotask(() => {
      if (!this.isUp) return stream.end()
      if (!stream.isOpen) return
      stream.receive({ type: "hello", v: 1, n: 1, now: this.now, limits: { stalled_s: 45 } })
      const tasks = [...this.tasks.values()].filter(task => covers(topics, task)).map(task => task.snapshot)
      stream.receive({ type: "update", n: 2, now: this.now, tasks })
    })
    return { close: () => (stream.isOpen = false), updateTicket: () => false }
  }

  /** The same by polls: each message is an answer, which any ticket may follow. */
  poll = (options, env) => {
    const onMessage = message => options.onMessage({ ...message, type: "poll", poll_after_s: 0 })
    return { ...this.stream({ ...options, onMessage }, env), updateTicket: () => true }
  }

  async answer(tab, url, { headers, body }) {
    if (!this.isUp) throw new TypeError("network")
    if (url === URL_LIVE) return this.#read(tab, JSON.parse(headers.Authorization.replace("Bearer ", "")))
    if (!this.isSignedIn) return { ok: false, status: 403, headers: new Headers() }
    const granted = JSON.parse(body).topics.filter(topic => !this.refusals.get(topic)?.includes(tab))
    const topics = [this.visitor, ...granted.filter(topic => !topic.startsWith("user:"))]
    const ticket = { ticket: JSON.stringify(topics), topics, expires_at: this.now + 300 }
    return { ok: true, status: 200, headers: new Headers(), json: async () => ticket }
  }

  #read(tab, topics) {
    this.reads.push(tab)
    if (!this.isSignedIn) return Response.json({ type: "bye", code: CLOSE.EXPIRED, again: AGAIN.AT_ONCE }, { status: 401 })
    const tasks = [...this.tasks.values()].filter(task => covers(topics, task)).map(task => task.snapshot)
    return Response.json({ type: "poll", now: this.now, tasks, notices: [], events: [], poll_after_s: 0 })
  }
}

export class SimulatedTab {
  /** Frozen, or gone without a word: no script runs. */
  isRunning = true
  /** The newest number of each task that the tab's listeners got. */
  shown = new Map()
  notices = []
  events = []
  states = []

  /** `polls`: the transport is one whose messages are answers to polls. */
  constructor(browser, { topics = ["user:1"], tasks = [], polls = false } = {}) {
    this.browser = browser
    const open = polls ? browser.poll : browser.stream
    const { env } = browser.timers
    const page = {
      ticket: JSON.stringify(topics),
      topics,
      can_hold: true,
      expires_at: START + 100_000,
      now: browser.now,
      limits: { quiet_s: 60, stalled_s: 45, lease_s: 105 },
      urls: { live: "/telltale/live/", ticket: "/telltale/ticket/" },
      csrf: { token: "c", cookie: null },
    }
    this.live = new Live(page, {
      transports: [shared(open, "stream", this.#means(browser))],
      env: {
        ...env,
        tab: this,
        setTimeout: (callback, ms) => env.setTimeout(() => this.isRunning && callback(), ms),
        now: () => browser.now,
        wallNow: () => browser.now,
        isOnline: () => true,
        absoluteUrl: () => URL_LIVE,
        fetch: (url, init) => browser.answer(this, url, init),
      },
    })
    this.live.states(state => this.states.push(state))
    this.live.tasks(({ id, seq }) => this.shown.set(id, seq))
    this.live.notices(notice => this.notices.push(notice.id))
    for (const id of tasks) this.live.task(id, () => {})
  }

  get isLive() {
    return this.live.state === "live"
  }

  /** Close the tab: the browser tells the page. */
  close() {
    this.live.suspend()
    this.kill()
  }

  /** The tab's process crashes. Its connections end, as the server sees. */
  kill() {
    this.isRunning = false
    this.browser.locks.forget(this)
    for (const stream of this.browser.streams) if (stream.tab === this) stream.isOpen = false
  }

  /** No script runs any more, but the tab keeps its lock and its connections. */
  freeze() {
    this.isRunning = false
  }

  #means(browser) {
    const tab = this
    return {
      locks: browser.locks.of(tab),
      newId: () => `tab ${browser.tabs.length} ${Math.random()}`,
      openChannel: name => {
        const channel = {
          name,
          tab,
          onmessage: null,
          postMessage(message) {
            const data = structuredClone(message)
            const receivers = browser.channels.filter(other => other !== channel && other.name === name)
            for (const other of receivers) queueMicrotask(() => other.tab.isRunning && other.onmessage?.({ data }))
          },
          close() {
            browser.channels = browser.channels.filter(other => other !== channel)
          },
        }
        browser.channels.push(channel)
        return channel
      },
    }
  }
}

/** Eight tabs of one person, all of them connected. */
export async function eightTabs(options = {}) {
  const browser = new SimulatedBrowser()
  for (let n = 0; n < 8; n++) browser.open(options)
  await browser.pass(2)
  await settle()
  return browser
}
