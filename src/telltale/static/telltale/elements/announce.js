/**
 * What is said aloud: one polite region and one urgent one for the whole page, with a budget.
 *
 * Announcements are at least 5 s apart; what gathers meanwhile is said together. A later one about the same thing
 * takes the place of an earlier one still waiting. Urgent ones wait for nothing.
 */

const APART_MS = 5_000

class Announcer {
  #status = region("status")
  #alert = region("alert")
  /** @type {Map<string, string>} */
  #waiting = new Map()
  #timer = null
  #saidAt = -Infinity

  say(about, text) {
    this.#waiting.delete(about)
    this.#waiting.set(about, text)
    this.#timer ??= setTimeout(() => this.#flush(), Math.max(100, this.#saidAt + APART_MS - performance.now()))
  }

  alert(about, text) {
    this.#waiting.delete(about)
    speak(this.#alert, text)
  }

  #flush() {
    this.#timer = null
    this.#saidAt = performance.now()
    speak(this.#status, [...this.#waiting.values()].join(". "))
    this.#waiting.clear()
  }
}

function region(role) {
  const element = document.createElement("div")
  element.className = "telltale-spoken"
  element.setAttribute("role", role)
  document.body.append(element)
  return element
}

function speak(element, text) {
  // A new child is said even if it says the same as the last.
  const line = document.createElement("p")
  line.textContent = text
  element.replaceChildren(line)
}

let announcer = null
/** A region must be there before its words are, so it is made when the first element arrives. */
export const prepare = () => void (announcer ??= new Announcer())

/**
 * @param {string} about the same thing's later words replace its earlier ones
 * @param {string} text
 * @param {{urgent?: boolean}} [how]
 */
export function announce(about, text, { urgent = false } = {}) {
  prepare()
  if (urgent) announcer.alert(about, text)
  else announcer.say(about, text)
}
