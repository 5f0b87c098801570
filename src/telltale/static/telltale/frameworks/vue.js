/** Composables and a component for Vue 3: `import { useTask } from "telltale/vue"`. */
import { h, onScopeDispose, shallowReadonly, shallowRef, toValue, watch } from "vue"
import { connectionStore, taskStore, tasksStore } from "telltale/stores"
/** @import { FunctionalComponent, MaybeRefOrGetter, ShallowRef } from "vue" */
/** @import { LiveState } from "telltale/live/live.js" */
/** @import { Snapshot } from "telltale/live/snapshots.js" */
/** @import { Store } from "telltale/stores" */

/**
 * The newest snapshot of a task; null while none is known. `mine`: the task is the visitor's own. Both may change.
 * @param {MaybeRefOrGetter<string | null | undefined>} id
 * @param {{mine?: MaybeRefOrGetter<boolean>}} [options]
 * @returns {Readonly<ShallowRef<Snapshot | null>>}
 */
export function useTask(id, { mine = false } = {}) {
  return useStore(() => taskStore(toValue(id), { mine: toValue(mine) }))
}

/**
 * The newest snapshots of all tasks that reach the page, the last changed last.
 * @returns {Readonly<ShallowRef<Snapshot[]>>}
 */
export function useTasks() {
  return useStore(tasksStore)
}

/**
 * The state of the page's connection.
 * @returns {Readonly<ShallowRef<LiveState>>}
 */
export function useConnection() {
  return useStore(connectionStore)
}

/**
 * The bar of a task, with its texts: the element `<task-progress>`.
 * @type {FunctionalComponent<{task: string | null | undefined, mine?: boolean}>}
 */
export const TaskProgress = ({ task, mine = false }) => h("task-progress", { task: task ?? null, mine })
TaskProgress.props = { task: String, mine: Boolean }

/**
 * Subscribe until the component's scope ends; subscribe again when a ref that `create` reads has changed.
 * @template T
 * @param {() => Store<T>} create
 * @returns {Readonly<ShallowRef<T>>}
 */
function useStore(create) {
  const value = shallowRef(create().get())
  let unsubscribe = () => {}
  const follow = (/** @type {Store<T>} */ store) => {
    unsubscribe()
    value.value = store.get()
    unsubscribe = store.subscribe(next => (value.value = next))
  }
  // A server unmounts no component, so nothing is followed there.
  if (globalThis.document) watch(create, follow, { immediate: true })
  onScopeDispose(() => unsubscribe())
  return shallowReadonly(value)
}
