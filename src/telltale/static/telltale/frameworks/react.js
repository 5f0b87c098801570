/** Hooks and a component for React 18 and 19: `import { useTask } from "telltale/react"`. */
import { createElement, useMemo, useSyncExternalStore } from "react"
import { connectionStore, taskStore, tasksStore } from "telltale/stores"
/** @import { ReactElement } from "react" */
/** @import { LiveState } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */
/** @import { Store } from "telltale/stores" */

/**
 * The newest snapshot of a task; null while none is known. `mine`: the task is the visitor's own.
 * @param {string | null | undefined} id
 * @param {{mine?: boolean}} [options]
 * @returns {Snapshot | null}
 */
export function useTask(id, { mine = false } = {}) {
  return useStore(useMemo(() => taskStore(id, { mine }), [id, mine]))
}

/**
 * The newest snapshots of all tasks that reach the page, the last changed last.
 * @returns {Snapshot[]}
 */
export function useTasks() {
  return useStore(useMemo(tasksStore, []))
}

/**
 * The state of the page's connection.
 * @returns {LiveState}
 */
export function useConnection() {
  return useStore(useMemo(connectionStore, []))
}

/**
 * The bar of a task, with its texts: the element `<task-progress>`.
 * @param {{task: string | null | undefined, mine?: boolean, [attribute: string]: unknown}} props others become
 *   attributes of the element
 * @returns {ReactElement}
 */
export function TaskProgress({ task, mine = false, ...attributes }) {
  // React 18 would write false as a text; by undefined, both versions remove it.
  return createElement("task-progress", { ...attributes, task: task ?? undefined, mine: mine || undefined })
}

/**
 * @template T
 * @param {Store<T>} store
 * @returns {T}
 */
const useStore = store => useSyncExternalStore(store.subscribe, store.get, store.get)
