/**
 * What follows from a grant: which tasks' data are still right, and which tasks are forgotten. Pure.
 *
 * A page keeps showing a task that it may not follow any more; its data are right up to that moment (`nowOf`), so a
 * healthy task does not look lost. Forgotten are the tasks that were given up before their end, and all of another
 * person who was signed in on this page before.
 */
import { idOf } from "telltale/live/follows.js"
/** @import { Follows } from "telltale/live/follows.js" */
/** @import { Snapshot, Snapshots } from "telltale/live/snapshots.js" */

export class Grants {
  #follows
  #snapshots
  #now
  /** @type {Map<string, number>} until when the data are right, by the ids of the tasks whose followers are refused */
  #staleSince = new Map()
  /** @type {Map<string, number>} the same for tasks that only the visitor's own topics had covered */
  #ownStaleSince = new Map()
  /** @type {Set<string>} topics of tasks that are not followed any more, and that no other topic had covered */
  #released = new Set()

  /**
   * @param {Follows} follows
   * @param {Snapshots} snapshots
   * @param {() => number} now the server's time for which the page's data are right
   */
  constructor(follows, snapshots, now) {
    this.#follows = follows
    this.#snapshots = snapshots
    this.#now = now
  }

  /**
   * The server's time for which the data of a task are right.
   * @param {string} id
   */
  nowOf(id) {
    return Math.min(this.#staleSince.get(id) ?? Infinity, this.#ownStaleSince.get(id) ?? Infinity, this.#now())
  }

  /**
   * A follower of the task was told whether it is granted.
   * @param {string} id
   * @param {boolean} isGranted
   */
  onGranted(id, isGranted) {
    if (isGranted) this.#staleSince.delete(id)
    else if (!this.#staleSince.has(id)) this.#staleSince.set(id, this.#now())
  }

  /**
   * Something newer of a task has arrived.
   * @param {Snapshot} snapshot
   */
  onSnapshot(snapshot) {
    this.#follows.update(`task:${snapshot.id}`, snapshot)
    this.#ownStaleSince.delete(snapshot.id)
  }

  /**
   * Nothing follows the topic of a task any more that only this topic had covered.
   * @param {string} topic
   */
  onReleased(topic) {
    this.#released.add(topic)
  }

  /**
   * Take in what the server grants.
   * @param {string[]} requested
   * @param {string[]} granted
   * @returns {"same" | "changed" | "another"} whose ticket it is: of the same person as before, with other topics of
   *   their own (as at a sign-in, where the user's take the place of the session's), or of another user
   */
  settle(requested, granted) {
    const before = this.#follows.ownGranted
    this.#follows.settle(requested, granted)
    this.#forgetReleased()
    const own = this.#follows.ownGranted
    if (before.length === own.length && own.every(topic => before.includes(topic))) return "same"
    const isAnother = own.length > 0 && before.some(topic => topic.startsWith("user:") && !own.includes(topic))
    if (isAnother) this.#forgetOthers()
    if (own.length) this.#ownStaleSince.clear()
    else this.#setOwnStale()
    return isAnother ? "another" : "changed"
  }

  /** The visitor's tasks are not followed any more, except those that are followed by their ids. */
  #setOwnStale() {
    for (const { id, ended } of this.#snapshots.tasks.values()) {
      if (!ended && !this.#follows.isGranted(`task:${id}`)) this.#ownStaleSince.set(id, this.#now())
    }
  }

  #forgetOthers() {
    for (const id of [...this.#snapshots.tasks.keys()]) {
      if (!this.#follows.isGranted(`task:${id}`)) this.#snapshots.forget(id)
    }
  }

  #forgetReleased() {
    for (const topic of this.#released) {
      if (this.#follows.isGranted(topic)) continue
      this.#released.delete(topic)
      const snapshot = this.#snapshots.tasks.get(idOf(topic))
      // What is known of a task before its end gets old; an end stays.
      if (snapshot && !snapshot.ended && !this.#follows.isFollowed(topic)) this.#snapshots.forget(snapshot.id)
    }
  }
}
