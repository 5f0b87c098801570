/** The browser's storage for this site. */

/** @returns {Storage | null} null where a policy of the browser or the visitor forbids it */
export function browserStorage() {
  try {
    return localStorage
  } catch {
    return null
  }
}
