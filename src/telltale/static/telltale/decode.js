/**
 * A message from the server, or null for what is none: nothing that arrives may break the page.
 * @param {unknown} text
 * @returns {?Object<string, any>}
 */
export function decode(text) {
  try {
    const message = JSON.parse(String(text))
    return message && typeof message === "object" && !Array.isArray(message) ? message : null
  } catch {
    return null
  }
}
