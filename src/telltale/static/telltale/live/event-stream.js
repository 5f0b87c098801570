/**
 * The text of an event stream, in pieces that end anywhere, as the data of its events. Pure.
 *
 * By hand, because `EventSource` can't send the ticket in a header and gives up on any answer but 200. Comments,
 * names and ids are passed over; lines end in CR LF, LF or CR.
 */
export class EventStream {
  #rest = ""
  /** @type {string[]} */
  #data = []

  /**
   * @param {string} piece
   * @returns {string[]} the data of the events that this piece completed
   */
  push(piece) {
    const text = this.#rest + piece
    // A CR at the very end may be half of a CR LF: wait for what follows.
    const whole = text.endsWith("\r") ? text.slice(0, -1) : text
    const lines = whole.split(/\r\n|\n|\r/)
    this.#rest = lines.pop() + text.slice(whole.length)
    return lines.flatMap(line => this.#line(line))
  }

  #line(line) {
    if (line === "") {
      const data = this.#data
      this.#data = []
      return data.length ? [data.join("\n")] : []
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line)
    if (field === "data") this.#data.push(value)
    return []
  }
}

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
