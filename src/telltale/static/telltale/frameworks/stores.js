/**
 * What the page knows, as stores for frameworks: `import { taskStore } from "telltale/stores"`.
 *
 * A store follows by the page's one connection while it has subscribers, and stops with the last of them. While a
 * server renders, a store has its first value.
 */
import { connect } from "telltale"
/** @import { LiveState } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */

/**
 * The contract of Svelte's stores, and of React's `useSyncExternalStore`.
 * @template T
 * @typedef {object} Store
 * @property {(listener: (value: T) => void) => () => void} subscribe calls the listener at once, and with each later
 *   value; returns a function that unsubscribes
 * @property {() => T} get the value, the same object until it changes
 */

/**
 * The newest snapshot of a task; null while none is known. `mine`: the task is the visitor's own.
 * @param {string | null | undefined} id
 * @param {{mine?: boolean}} [options]
 * @returns {Store<Snapshot | null>}
 */
export function taskStore(id, { mine = false } = {}) {
  return createStore(/** @type {Snapshot | null} */ (null), (set, signal) => {
    if (id) connect().task(id, set, { signal, mine })
  })
}

/**
 * The newest snapshots of all tasks that reach the page, the last changed last: the visitor's own, and those that the
 * page follows.
 * @returns {Store<Snapshot[]>}
 */
export function tasksStore() {
  return createStore(/** @type {Snapshot[]} */ ([]), (set, signal) => {
    const live = connect()
    let isSetSoon = false
    const setSoon = () => {
      if (isSetSoon) return
      isSetSoon = true
      // Known snapshots come one by one, and those of a message too.
      queueMicrotask(() => {
        isSetSoon = false
        if (!signal.aborted) set([...live.snapshots.values()])
      })
    }
    live.tasks(setSoon, { signal, onGranted: setSoon })
  })
}

/**
 * The state of the page's connection.
 * @returns {Store<LiveState>}
 */
export function connectionStore() {
  return createStore(/** @type {LiveState} */ ("idle"), (set, signal) => {
    const live = connect()
    live.states(set, { signal })
    set(live.state)
  })
}

/**
 * @template T
 * @param {T} first
 * @param {(set: (value: T) => void, signal: AbortSignal) => void} follow called with the first subscriber; the signal
 *   aborts with the last
 * @returns {Store<T>}
 */
function createStore(first, follow) {
  let value = first
  /** @type {AbortController | null} */
  let controller = null
  /** @type {Set<{listener: (value: T) => void}>} a listener may subscribe twice */
  const subscribers = new Set()
  const set = (/** @type {T} */ next) => {
    if (next === value) return
    value = next
    for (const { listener } of [...subscribers]) listener(value)
  }
  return {
    get: () => value,
    subscribe(listener) {
      if (!controller) {
        controller = new AbortController()
        follow(set, controller.signal)
      }
      const subscriber = { listener }
      subscribers.add(subscriber)
      listener(value)
      return () => {
        if (!subscribers.delete(subscriber) || subscribers.size) return
        controller?.abort()
        controller = null
      }
    },
  }
}
