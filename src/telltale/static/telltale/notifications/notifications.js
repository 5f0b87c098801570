/**
 * Whether this browser notifies the visitor of messages that come while no page of the site is visible.
 *
 * Notifications are turned on by a click only, and for one visitor: the browser's storage keeps which one, so another
 * visitor who signs in does not get them. Where the site has web push, the browser is also subscribed to it. All
 * effects come in by `env`; `page-notifications.js` makes the one for a page.
 */

const KEY = "telltale-notify"
/** When the site was last told of this browser, in ms since 1970. */
const RENEWED_KEY = "telltale-notify-renewed"
/** Renewed this often, because the browser that was renewed last gets the messages. */
const RENEWED_AFTER_MS = 86_400_000

/**
 * @typedef {object} NotificationEnvironment
 * @property {() => string | null} permission "default", "granted" or "denied"; null where the browser can't notify
 * @property {() => Promise<string>} requestPermission
 * @property {() => string | null} visitor the visitor's own topic
 * @property {Pick<Storage, "getItem" | "setItem" | "removeItem"> | null} storage
 * @property {() => number} wallNow ms since 1970 by this machine
 * @property {() => PushChannel | null} push null where the site or the browser has no web push
 *
 * @typedef {object} PushChannel
 * @property {() => Promise<void>} subscribe rejects if the browser, its push service or the site refuses
 * @property {() => Promise<void>} unsubscribe
 * @property {"none" | "current" | "old"} known what the site knows of this browser and session
 *
 * @typedef {"notifications_on" | "notifications_off" | "notifications_blocked" | "notifications_failed"} Outcome
 */

export class Notifications {
  #env
  /** @type {Set<() => void>} */
  #listeners = new Set()
  /** @type {string | null} the value of `#wish` where the browser has no storage for this page */
  #unstoredWish = null
  #isBusy = false
  #wasAsked = false

  /** @param {NotificationEnvironment} env */
  constructor(env) {
    this.#env = env
  }

  /**
   * Whether to offer notifications: the browser has them, and the visitor has not blocked them. After a click they stay
   * offered, so that the visitor is told that they are blocked.
   */
  get isOffered() {
    const permission = this.#env.permission()
    return permission !== null && this.#env.visitor() !== null && (permission !== "denied" || this.#wasAsked)
  }

  /** Whether this visitor has turned them on, and the browser still permits them. */
  get isOn() {
    const { permission, visitor } = this.#env
    return permission() === "granted" && visitor() !== null && this.#wish() === visitor()
  }

  /**
   * Be called whenever `isOn` or `isOffered` may have changed.
   * @param {() => void} listener
   * @param {AbortSignal} signal
   */
  listen(listener, signal) {
    this.#listeners.add(listener)
    signal.addEventListener("abort", () => this.#listeners.delete(listener))
  }

  /** Call the listeners. */
  changed() {
    for (const listener of [...this.#listeners]) listener()
  }

  /**
   * Turn them on or off. Call this in the visitor's click only: browsers ask for permission then.
   * @returns {Promise<Outcome | null>} null while an earlier click is being carried out
   */
  async toggle() {
    if (this.#isBusy) return null
    this.#isBusy = true
    this.#wasAsked = true
    try {
      return this.isOn ? await this.#turnOff() : await this.#turnOn()
    } finally {
      this.#isBusy = false
      this.changed()
    }
  }

  /** On a new page: turn off what an earlier visitor or session turned on, and renew the push subscription if due. */
  async resume() {
    const wish = this.#wish()
    if (wish === null) return
    const push = this.#env.push()
    // With web push the wish lasts as long as the session, which the site knows.
    const hasEnded = wish !== this.#env.visitor() || push?.known === "none"
    try {
      if (hasEnded) await this.#turnOff()
      else if (push && this.isOn && (push.known === "old" || this.#isRenewalDue())) await this.#subscribe(push)
    } catch {
      // The next page tries again.
    }
    this.changed()
  }

  /** @returns {Promise<Outcome>} */
  async #turnOn() {
    const permission = await this.#env.requestPermission()
    if (permission === "denied") return "notifications_blocked"
    if (permission !== "granted") return "notifications_off"
    try {
      const push = this.#env.push()
      if (push) await this.#subscribe(push)
    } catch {
      return "notifications_failed"
    }
    this.#keepWish(this.#env.visitor())
    return "notifications_on"
  }

  /** @param {PushChannel} push */
  async #subscribe(push) {
    await push.subscribe()
    this.#try(storage => storage.setItem(RENEWED_KEY, String(this.#env.wallNow())))
  }

  #isRenewalDue() {
    const renewedAt = Number(this.#try(storage => storage.getItem(RENEWED_KEY)))
    return Math.abs(this.#env.wallNow() - renewedAt) > RENEWED_AFTER_MS
  }

  /** @returns {Promise<Outcome>} */
  async #turnOff() {
    this.#keepWish(null)
    // If it fails, the site finds out with the next message, or at the end of the session.
    await this.#env.push()?.unsubscribe().catch(() => {})
    return "notifications_off"
  }

  /** The topic of the visitor who has turned notifications on; null if they are off. */
  #wish() {
    return this.#try(storage => storage.getItem(KEY)) ?? this.#unstoredWish
  }

  /** @param {string | null} visitor */
  #keepWish(visitor) {
    const isKept = this.#try(storage => {
      if (visitor === null) storage.removeItem(KEY)
      else storage.setItem(KEY, visitor)
      return true
    })
    // Without storage it lasts as long as the page. With storage, other pages may change it.
    this.#unstoredWish = isKept ? null : visitor
  }

  /**
   * @template T
   * @param {(storage: Pick<Storage, "getItem" | "setItem" | "removeItem">) => T} use
   * @returns {T | null} null if the browser has no storage for this page
   */
  #try(use) {
    try {
      return this.#env.storage ? use(this.#env.storage) : null
    } catch {
      return null
    }
  }
}
