/**
 * What the page follows, and what of it the ticket grants. Pure.
 *
 * A topic is requested while something follows it. The visitor's own topics are requested for the life of the page,
 * because notices and the tray need them; they cover the visitor's own tasks. A task whose own topic is not granted is
 * requested by its id. A task that has succeeded can't change any more, so its topic is given up at once.
 *
 * @typedef {object} Follower
 * @property {string} topic
 * @property {boolean | string} mine whether one of the visitor's own topics covers the task; or which one does
 * @property {boolean} hasEnded the page shows the end of the task already
 * @property {boolean} isMissing it is covered, but no snapshot came
 * @property {(isGranted: boolean) => void} onGranted
 * @property {boolean | null} isGranted as `onGranted` was told last; null before
 */
import { MAX_TOPICS } from "telltale/live/protocol.js"

/** @param {string} topic */
export const isOwnTopic = topic => /^(user|session):/.test(topic)

/** @param {string} topic of a task */
export const idOf = topic => topic.replace(/^task:/, "")

export class Follows {
  /** @type {Set<string>} the visitor's own topics */
  #own
  /** @type {Set<string>} other topics that the page was rendered with, until they are followed */
  #rendered
  /** @type {Map<string, Set<Follower>>} by topic, the one that was followed first is first */
  #followers = new Map()
  /** @type {Set<string>} */
  #granted
  /** @type {Set<string>} the topics that the last ticket granted or refused */
  #decided
  /** @type {Map<string, string>} the user's topic by that of the session, whose tasks became the user's at the sign-in */
  #successors = new Map()
  /** @type {Set<string>} what other pages of the visitor ask for */
  #others = new Set()
  /** @type {Set<string>} followed topics of tasks that have succeeded */
  #final = new Set()
  /** @type {Set<string>} followed topics of tasks that have ended otherwise: a retry may change them */
  #ended = new Set()

  /** @param {string[]} topics those of the ticket that the page was rendered with */
  constructor(topics) {
    this.#own = new Set(topics.filter(isOwnTopic))
    this.#rendered = new Set(topics.filter(topic => !isOwnTopic(topic)))
    this.#granted = new Set(topics)
    this.#decided = new Set(topics)
  }

  /**
   * Follow a topic, until the signal aborts: then `onReleased` is called. A topic that was refused is requested again.
   * @param {string} topic
   * @param {{mine?: boolean | string, hasEnded?: boolean, onGranted?: (isGranted: boolean) => void, signal?: AbortSignal,
   *   onReleased?: () => void}} options
   */
  add(topic, { mine = false, hasEnded = false, onGranted = () => {}, signal, onReleased = () => {} }) {
    if (signal?.aborted) return
    /** @type {Follower} */
    const follower = { topic, mine, hasEnded, isMissing: false, onGranted, isGranted: null }
    this.#rendered.delete(topic)
    this.#followers.set(topic, (this.#followers.get(topic) ?? new Set()).add(follower))
    if (typeof mine === "string" && !this.#isOwnerGranted(mine)) {
      this.#own.add(mine)
      this.#askAgain(mine)
    }
    this.#askAgain(topic)
    const release = () => {
      this.#release(follower)
      onReleased()
    }
    signal?.addEventListener("abort", release, { once: true })
  }

  /** @param {Follower} follower */
  #release(follower) {
    const { topic } = follower
    const followers = this.#followers.get(topic)
    followers?.delete(follower)
    if (followers?.size) return
    for (const topics of [this.#followers, this.#final, this.#ended]) topics.delete(topic)
  }

  /** @param {string} topic */
  #askAgain(topic) {
    if (!this.#granted.has(topic)) this.#decided.delete(topic)
  }

  /** Request everything again that was refused. */
  askAgain() {
    this.#decided = new Set(this.#granted)
  }

  /**
   * Take in how far a followed task is.
   * @param {string} topic
   * @param {{ended: boolean, state: string}} snapshot
   */
  update(topic, { ended, state }) {
    if (!this.#followers.has(topic)) return
    setMember(this.#final, topic, ended && state === "succeeded")
    setMember(this.#ended, topic, ended && state !== "succeeded")
  }

  /**
   * Request the covered tasks of which no snapshot came: another's, perhaps, or of too long ago.
   * @param {(topic: string) => boolean} isKnown
   */
  reportMissing(isKnown) {
    for (const follower of this.#all()) {
      if (follower.mine && !follower.hasEnded && !isKnown(follower.topic)) follower.isMissing = true
    }
  }

  /**
   * Request these topics too, after this page's own, for other pages of the visitor. Returns whether they have changed.
   * Topics that were refused are not requested again.
   * @param {string[]} topics
   */
  askForOthers(topics) {
    const isChanged = topics.length !== this.#others.size || !topics.every(topic => this.#others.has(topic))
    this.#others = new Set(topics)
    return isChanged
  }

  /**
   * Whether this page itself asks for the topic, or would if nothing else covered it.
   * @param {string} topic
   */
  isAskedHere(topic) {
    return this.#own.has(topic) || this.#rendered.has(topic) || this.#followers.has(topic)
  }

  // Tickets -------------------------------------------------------------------------------------

  /** The topics to request: at most as many as a ticket holds, those of ended tasks last. */
  get requested() {
    return this.#wanted.slice(0, MAX_TOPICS)
  }

  /** Whether a topic is to be requested that no ticket has granted or refused. */
  get hasUndecided() {
    return this.requested.some(topic => !this.#decided.has(topic))
  }

  /** Whether the ticket grants a topic that is not requested any more. */
  get hasGivenUp() {
    const requested = new Set(this.requested)
    return [...this.#granted].some(topic => !requested.has(topic))
  }

  /** Whether something that is requested was refused. */
  get hasRefused() {
    return this.requested.some(topic => this.#decided.has(topic) && !this.#granted.has(topic))
  }

  /** The visitor's own topics in the ticket. */
  get ownGranted() {
    return [...this.#granted].filter(isOwnTopic)
  }

  /** Whether the visitor has topics of their own, and none of them is granted. */
  get isOwnRefused() {
    return this.#own.size > 0 && !this.ownGranted.length && [...this.#own].every(topic => this.#decided.has(topic))
  }

  /** How many topics the ticket grants. */
  get grantedCount() {
    return this.#granted.size
  }

  /** @param {string} topic */
  isGranted(topic) {
    return this.#granted.has(topic)
  }

  /** @param {string} topic */
  isFollowed(topic) {
    return this.#followers.has(topic)
  }

  /**
   * Take in a new ticket, and tell the followers.
   * @param {string[]} requested
   * @param {string[]} granted
   */
  settle(requested, granted) {
    this.#granted = new Set(granted)
    this.#decided = new Set([...requested, ...granted])
    this.#takeOver(requested)
    this.tell()
  }

  /**
   * After a sign-in the server adds the topic of the user, in place of the session's.
   * @param {string[]} requested
   */
  #takeOver(requested) {
    const added = this.ownGranted.filter(topic => !this.#own.has(topic))
    for (const topic of added) {
      this.#own.add(topic)
      const left = requested.filter(it => it.startsWith("session:") && !this.#granted.has(it))
      for (const session of left) {
        this.#own.delete(session)
        this.#successors.set(session, topic)
      }
    }
  }

  /** Tell the followers of which it has changed whether they are granted. */
  tell() {
    const requested = new Set(this.requested)
    for (const follower of [...this.#all()]) {
      const isGranted = this.#isFollowerGranted(follower, requested)
      if (isGranted === null || isGranted === follower.isGranted) continue
      follower.isGranted = isGranted
      follower.onGranted(isGranted)
    }
  }

  /**
   * Whether the ticket covers what is followed; null while that is not decided.
   * @param {Follower} follower
   * @param {Set<string>} requested
   */
  #isFollowerGranted(follower, requested) {
    const { topic, mine } = follower
    if (this.#final.has(topic) || this.#granted.has(topic)) return true
    if (this.#isCovered(follower)) return mine === true || this.#isOwnerGranted(mine) ? true : null
    return this.#decided.has(topic) || !requested.has(topic) ? false : null
  }

  /**
   * Whether one of the visitor's own topics stands for the task; also while that topic is not decided.
   * @param {Follower} follower
   */
  #isCovered({ mine, isMissing }) {
    if (!mine || isMissing) return false
    if (mine === true) return this.ownGranted.length > 0
    return this.#isOwnerGranted(mine) || !this.#decided.has(mine)
  }

  /** @param {boolean | string} mine the topic of a task's owner */
  #isOwnerGranted(mine) {
    return this.#granted.has(String(mine)) || this.#granted.has(this.#successors.get(String(mine)) ?? "")
  }

  get #wanted() {
    const followed = [...this.#followers]
      .filter(([topic, followers]) => !this.#final.has(topic) && ![...followers].every(it => this.#isCovered(it)))
      .map(([topic]) => topic)
    const current = followed.filter(topic => !this.#ended.has(topic))
    return [...new Set([...this.#own, ...this.#rendered, ...current, ...followed, ...this.#others])]
  }

  *#all() {
    for (const followers of this.#followers.values()) yield* followers
  }
}

/**
 * @param {Set<string>} set
 * @param {string} value
 * @param {boolean} isMember
 */
const setMember = (set, value, isMember) => (isMember ? set.add(value) : set.delete(value))
