/**
 * Random histories of notices: one server, browsers with tabs that open, close, reload, hide, and lose the server at
 * any step. The queue, the receipts and the requests are the real ones; time, network, server and paint are simulated.
 */
import { NoticeQueue } from "telltale/elements/notice-queue.js"
import { Receipts } from "telltale/elements/receipts.js"
import { confirmNotice, takeNotice } from "telltale/requests.js"

import { SimulatedStorage } from "./simulated-storage.js"

const HELD_MS = 10_000
const ROOM = 3
const STEPS = 40
const PAGE = { urls: { take: "/take/00000000-0000-0000-0000-000000000000/" }, csrf: { token: "", cookie: null } }

/** Each removes a mechanism: some history must then break a promise. */
export const SABOTAGES = {
  "a taken notice counts as shown": { countsAsShown: true },
  "nothing is given back": { heldMs: Infinity },
  "every page that asks is granted": { grantsAll: true },
  "confirmations are ignored": { ignoresConfirmations: true },
  "a page shows also what was granted long ago": { tellsNoLimit: true },
  "pages write no receipts": { hasNoStorage: true },
  "a failed request is not repeated": { doesNotRepeat: true },
}

/** @param {number} seed */
function randomNumbers(seed) {
  let state = seed >>> 0
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    random,
    between: (low, high) => low + (high - low) * random(),
    happens: probability => random() < probability,
    pick: items => items[Math.floor(random() * items.length)],
  }
}

/** Time that passes from one event to the next. */
class Clock {
  now = 0
  #events = new Map()
  #nextId = 1

  after(ms, callback) {
    this.#events.set(this.#nextId, { at: this.now + ms, callback })
    return this.#nextId++
  }

  cancel(id) {
    this.#events.delete(id)
  }

  async pass(ms) {
    const end = this.now + ms
    for (;;) {
      await new Promise(resolve => setImmediate(resolve)) // all promises that can be resolved are
      let first = null
      for (const [id, { at }] of this.#events) if (at <= end && (!first || at < first.at)) first = { id, at }
      if (!first) break
      const { callback } = this.#events.get(first.id)
      this.#events.delete(first.id)
      this.now = Math.max(this.now, first.at)
      callback()
    }
    this.now = end
  }
}

/** Decides by the same conditions as `store/notices.py`. */
class Server {
  isUp = true
  /** @type {Map<string, {shown: boolean, holder: string, heldUntil: number}>} */
  notices = new Map()

  constructor(world) {
    this.world = world
  }

  get waiting() {
    return [...this.notices].filter(([, { shown }]) => !shown).map(([id]) => id)
  }

  answer(id, { holder, shown }) {
    const { sabotage, clock } = this.world
    const notice = this.notices.get(id)
    if (shown) {
      if (!sabotage.ignoresConfirmations) notice.shown = true
      return { shown: true }
    }
    if (notice.shown) return { granted: false }
    const isHeld = notice.heldUntil > clock.now && notice.holder !== holder && !sabotage.grantsAll
    if (isHeld) return { granted: false, retry_after_s: Math.min(HELD_MS, notice.heldUntil - clock.now) / 1000 }
    const isOther = notice.holder !== holder
    if (isOther) this.world.givenTo(id, holder)
    Object.assign(notice, { holder, heldUntil: clock.now + (sabotage.heldMs ?? HELD_MS) })
    if (sabotage.countsAsShown) notice.shown = true
    return { granted: true, ...(sabotage.tellsNoLimit ? {} : { confirm_within_s: HELD_MS / 1000 }) }
  }
}

class Tab {
  isOpen = true
  isHidden = false
  isLive = false
  toasts = []
  #frames = []

  constructor(world, browser) {
    this.world = world
    this.browser = browser
    this.name = `tab ${world.tabs.length + 1} of browser ${world.browsers.indexOf(browser) + 1}`
    const { clock, random } = world
    const timers = {
      setTimeout: (callback, ms) => clock.after(ms, () => this.isOpen && callback()),
      clearTimeout: id => clock.cancel(id),
      random: random.random,
    }
    const clocks = { now: () => clock.now, wallNow: () => clock.now }
    const live = { page: PAGE, ticket: "" }
    const env = { ...timers, fetch: (url, init) => this.#fetch(url, init) }
    const storage = world.sabotage.hasNoStorage ? null : browser.storage
    this.receipts = new Receipts(storage, (id, holder) => confirmNotice(live, id, holder, env), {
      ...timers, ...clocks, canSend: () => true,
    })
    this.queue = new NoticeQueue(this.#display(live, env), { ...timers, ...clocks })
  }

  #display(live, env) {
    const display = {
      isReady: () => !this.isHidden && this.isLive,
      hasRoom: () => this.toasts.length < ROOM,
      isShownElsewhere: () => false,
      wasShown: id => this.receipts.has(id),
      nextPaint: () => new Promise(resolve => this.#afterFrame(resolve)),
      afterPaint: () => new Promise(resolve => this.#later(resolve, 1)),
      take: id => takeNotice(live, id, this.name, env),
      show: ({ id }) => this.toasts.push(id) > 0,
      onPainted: id => {
        this.world.painted(id, this)
        this.receipts.add(id, this.name)
      },
      onDecided: id => this.receipts.has(id) && this.receipts.sendNow(),
      onChange: () => {},
    }
    const { take } = display
    let hasFailed = false
    if (!this.world.sabotage.doesNotRepeat) return display
    return {
      ...display,
      isReady: () => display.isReady() && !hasFailed,
      take: id => take(id).catch(error => {
        hasFailed = true
        throw error
      }),
    }
  }

  #later(callback, ms) {
    this.world.clock.after(ms, () => this.isOpen && callback())
  }

  #afterFrame(callback) {
    this.#later(() => (this.isHidden ? this.#frames.push(callback) : callback()), this.world.random.between(1, 16))
  }

  /** A request: it, its answer or both may be lost, or late. A closed tab learns of no answer. */
  #fetch(url, init) {
    const { random, clock, server, isHealed } = this.world
    const id = url.split("/")[2]
    const delay = () => (random.happens(0.1) && !isHealed ? random.between(0, 25_000) : random.between(1, 300))
    return new Promise((resolve, reject) => {
      const respond = answer => this.#later(answer, delay())
      const fail = () => respond(() => reject(new TypeError("network")))
      init.signal.addEventListener("abort", () => this.isOpen && reject(new Error("aborted")))
      if (!isHealed && random.happens(0.1)) return fail()
      clock.after(delay(), () => {
        if (!this.isOpen && !init.keepalive && random.happens(0.5)) return
        if (!server.isUp) return fail()
        if (!this.world.isHealed && random.happens(0.1)) return respond(() => resolve(jsonResponse(502, {})))
        const content = server.answer(id, JSON.parse(init.body))
        if (!this.world.isHealed && random.happens(0.1)) return fail()
        respond(() => resolve(jsonResponse(200, content)))
      })
    })
  }

  /** The connection is there: all that waits arrives, and what failed is tried again. */
  connect() {
    if (!this.isOpen || !this.world.server.isUp) return
    this.isLive = true
    this.receipts.sendNow()
    this.receive()
    this.queue.retryNow()
  }

  receive() {
    if (this.isLive) for (const id of this.world.server.waiting) this.queue.add({ id })
  }

  setHidden(isHidden) {
    this.isHidden = isHidden
    if (isHidden) return
    for (const callback of this.#frames.splice(0)) this.#afterFrame(callback)
    this.queue.retryNow()
  }

  dismiss() {
    this.toasts.shift()
    this.queue.showNext()
  }

  close() {
    this.isOpen = false
  }
}

/** @param {number} status */
const jsonResponse = (status, content) => ({
  ok: status < 400,
  status,
  headers: { get: () => "application/json" },
  json: async () => content,
})

/** One history. `problems` says which promises it broke. */
export class World {
  problems = []
  isHealed = false
  tabs = []
  /** The tabs that have painted each notice. */
  #painters = new Map()
  /** What the server gave to a page before it knew that another device had shown it. */
  #unavoidable = new Set()

  constructor(seed, { sabotage = {}, devices = 1 } = {}) {
    this.seed = seed
    this.sabotage = sabotage
    this.random = randomNumbers(seed)
    this.clock = new Clock()
    this.server = new Server(this)
    this.browsers = Array.from({ length: devices }, () => ({ storage: new SimulatedStorage() }))
  }

  get open() {
    return this.tabs.filter(tab => tab.isOpen)
  }

  openTab(browser = this.random.pick(this.browsers)) {
    if (!this.server.isUp) return
    const tab = new Tab(this, browser)
    this.tabs.push(tab)
    this.#connectSoon(tab)
  }

  #connectSoon(tab) {
    this.clock.after(this.random.between(10, 3_000), () => tab.connect())
  }

  /** The server lets `holder` show the notice, though another page may have shown it. */
  givenTo(id, holder) {
    const painters = this.#painters.get(id) ?? []
    if (painters.some(tab => !holder.endsWith(tab.name.split(" of ")[1]))) this.#unavoidable.add(id)
  }

  painted(id, tab) {
    const painters = this.#painters.get(id) ?? []
    const isExcused = this.#unavoidable.has(id) && painters.every(other => other.browser !== tab.browser)
    if (painters.length > 0 && !isExcused) {
      this.problems.push(`${id} was shown on ${[...painters, tab].map(({ name }) => name).join(" and ")}`)
    }
    this.#painters.set(id, [...painters, tab])
  }

  #actions = {
    notify: () => {
      this.server.notices.set(`n${this.server.notices.size + 1}`, { shown: false, holder: "", heldUntil: 0 })
      this.clock.after(this.random.between(1, 2_000), () => this.open.forEach(tab => tab.receive()))
    },
    open: () => this.open.length < 4 && this.openTab(),
    close: () => this.random.pick(this.open)?.close(),
    reload: () => {
      const tab = this.random.pick(this.open)
      tab?.close()
      if (tab) this.openTab(tab.browser)
    },
    hide: () => this.random.pick(this.open)?.setHidden(true),
    show: () => this.random.pick(this.open)?.setHidden(false),
    dismiss: () => this.random.pick(this.open)?.dismiss(),
    stop: () => {
      this.server.isUp = false
      for (const tab of this.open) tab.isLive = false
    },
    start: () => {
      this.server.isUp = true
      for (const tab of this.open) if (!tab.isLive) this.#connectSoon(tab)
    },
    wait: () => {},
  }

  async run() {
    const weights = ["notify", "notify", "open", "open", "close", "reload", "hide", "show", "dismiss", "stop", "start", "start", "wait"]
    for (let i = 0; i < STEPS; i++) {
      this.#actions[this.random.pick(weights)]()
      // Often within one request or frame, sometimes longer than a notice is held.
      const isLong = this.random.happens(0.1)
      await this.clock.pass(isLong ? this.random.between(0, 15_000) : this.random.between(0, 400))
    }
    await this.#heal()
    for (const id of this.server.notices.keys()) if (!this.#painters.has(id)) this.problems.push(`${id} was never shown`)
    for (const id of this.server.waiting) this.problems.push(`${id} was never confirmed`)
    return this.problems
  }

  /** The server is there for good, and each browser has an open page that is looked at. */
  async #heal() {
    this.isHealed = true
    this.#actions.start()
    for (const browser of this.browsers) if (!this.open.some(tab => tab.browser === browser)) this.openTab(browser)
    for (const tab of this.open) tab.setHidden(false)
    for (let i = 0; i < 30; i++) {
      for (const tab of this.open) {
        tab.receive()
        while (tab.toasts.length > 0) tab.dismiss()
      }
      await this.clock.pass(3_000)
    }
  }
}

/** The first history, from seed `first` on, that breaks a promise; null if none of `count` does. */
export async function firstBroken(first, count, options) {
  for (let seed = first; seed < first + count; seed++) {
    const world = new World(seed, options)
    if ((await world.run()).length > 0) return world
  }
  return null
}
