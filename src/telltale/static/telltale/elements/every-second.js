/** Calls all elements of the page back once a second, together: the browser paints in one frame what they change. */

/** @type {Set<() => void>} */
const callbacks = new Set()
/** @type {ReturnType<typeof setInterval> | undefined} */
let timer

/**
 * @param {() => void} callback called once a second, until the signal aborts
 * @param {AbortSignal} signal
 */
export function everySecond(callback, signal) {
  if (signal.aborted) return
  if (callbacks.size === 0) timer = setInterval(callAll, 1_000)
  callbacks.add(callback)
  signal.addEventListener("abort", () => {
    callbacks.delete(callback)
    if (callbacks.size === 0) clearInterval(timer)
  })
}

function callAll() {
  for (const callback of [...callbacks]) {
    try {
      callback()
    } catch (error) {
      reportError(error) // one element that fails stops no other
    }
  }
}
