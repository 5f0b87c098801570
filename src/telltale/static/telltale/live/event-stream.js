/**
 * A parser of event streams: from pieces of text that end anywhere to the data of the events. Pure.
 *
 * Written by hand, because `EventSource` can't send the ticket in a header and gives up on any answer but 200.
 * Comments, event names and ids are skipped; lines end in CR LF, LF or CR.
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
    // A CR at the very end may be half of a CR LF: wait for the next piece.
    const complete = text.endsWith("\r") ? text.slice(0, -1) : text
    const lines = complete.split(/\r\n|\n|\r/)
    this.#rest = lines.pop() + text.slice(complete.length)
    return lines.flatMap(line => this.#readLine(line))
  }

  /**
   * @param {string} line
   * @returns {string[]} the data of the event that this line ends, if it ends one
   */
  #readLine(line) {
    if (line === "") {
      const data = this.#data
      this.#data = []
      return data.length ? [data.join("\n")] : []
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? []
    if (field === "data") this.#data.push(value)
    return []
  }
}
