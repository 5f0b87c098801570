/**
 * Loads the module of an element when the page has the first such element, because most pages have only some of them.
 *
 * A page may get the first one later, by a soft navigation or a script. A load that fails is repeated.
 */

/** After a failure, the module is requested again this much later. */
const AGAIN_MS = 10_000

/**
 * @param {Object<string, () => Promise<unknown>>} modules what loads the module of an element, by the element's name
 * @param {{document: Document, MutationObserver: typeof MutationObserver,
 *   setTimeout: (callback: () => void, ms: number) => unknown}} [env]
 */
export function loadOnDemand(modules, env = globalThis) {
  const { document } = env
  // Live collections: the browser counts them again only after a change.
  const waiting = new Map(Object.keys(modules).map(name => [name, document.getElementsByTagName(name)]))
  const observer = new env.MutationObserver(() => check())

  const check = () => {
    for (const [name, elements] of waiting) if (elements.length > 0) load(name, elements)
    if (waiting.size === 0) observer.disconnect()
  }

  /**
   * @param {string} name
   * @param {HTMLCollectionOf<Element>} elements
   */
  const load = (name, elements) => {
    waiting.delete(name)
    modules[name]().catch(() => env.setTimeout(() => load(name, elements), AGAIN_MS))
  }

  observer.observe(document, { childList: true, subtree: true })
  check()
}
