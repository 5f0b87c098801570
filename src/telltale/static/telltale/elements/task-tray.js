/**
 * `<task-tray>`: a button with a count, and a panel that lists the visitor's tasks, on every page.
 *
 * Running ones above ended ones, newest first; ended ones stay until cleared. What is cleared is remembered in
 * this browser only. Without scripts there is whatever the element holds, such as a link to the list.
 */
import { prepare } from "telltale/elements/announce.js"
import { make, setAttribute, setText } from "telltale/elements/dom.js"
import { health } from "telltale/health.js"
import { connect } from "telltale/index.js"
import { urlFor } from "telltale/page.js"
import { wordsHere } from "telltale/elements/page-text.js"

const TICK_MS = 1_000
const AT_MOST = 20
const CLEARED = "telltale.cleared"
const REMEMBERED = 200

let number = 0

export class TaskTray extends HTMLElement {
  #life = null
  #live = null
  #rows = new Map()
  #cleared = new Set(recall())
  #button
  #count
  #panel
  #list
  #empty
  #clear

  connectedCallback() {
    this.#life = new AbortController()
    const { signal } = this.#life
    prepare()
    this.#live = connect()
    if (!this.#button) this.#build()
    this.#live.tasks(() => this.#soon(), { signal })
    this.#panel.addEventListener("toggle", event => this.#toggled(event), { signal })
    const ticking = setInterval(() => this.#isOpen && this.#show(), TICK_MS)
    signal.addEventListener("abort", () => clearInterval(ticking))
    this.#show()
  }

  disconnectedCallback() {
    this.#life?.abort()
    this.#life = null
  }

  /** Show the panel. */
  open() {
    if (!this.#isOpen) this.#panel.showPopover()
  }

  get #isOpen() {
    return this.#panel.matches(":popover-open")
  }

  #build() {
    const words = wordsHere()
    const id = `telltale-tray-${++number}`
    this.#count = make("span", { className: "telltale-count", hidden: true })
    this.#button = make(
      "button",
      { type: "button", className: "telltale-tray-button", "aria-expanded": "false" },
      make("span", { className: "telltale-tray-label" }, words.say("tray")),
      this.#count,
    )
    this.#button.setAttribute("popovertarget", id)
    const close = make("button", { type: "button", className: "telltale-dismiss", "aria-label": words.say("close") }, "×")
    close.addEventListener("click", () => this.#panel.hidePopover())
    this.#list = make("ul", { className: "telltale-rows" })
    this.#empty = make("p", { className: "telltale-quiet" }, words.say("tray_empty"))
    this.#clear = make("button", { type: "button", className: "telltale-clear", onclick: () => this.#clearEnded() }, words.say("clear"))
    this.#panel = make(
      "div",
      { id, popover: "auto", className: "telltale-tray-panel", role: "dialog", "aria-label": words.say("tray") },
      make("div", { className: "telltale-top" }, make("p", { className: "telltale-label" }, words.say("tray")), close),
      this.#list,
      this.#empty,
      this.#clear,
    )
    this.replaceChildren(this.#button, this.#panel)
  }

  #toggled({ newState }) {
    const isOpen = newState === "open"
    this.#button.setAttribute("aria-expanded", String(isOpen))
    if (!isOpen) return
    this.#place()
    this.#show()
    // Opened from the keyboard, the focus goes in; a pointer leaves it where it is.
    if (this.#button.matches(":focus-visible")) this.#panel.querySelector("a, button")?.focus()
  }

  /** Below its button, ending where it ends; the style sheet decides whether that matters. */
  #place() {
    const { bottom, left, right } = this.#button.getBoundingClientRect()
    const isRtl = getComputedStyle(this).direction === "rtl"
    const end = Math.max(8, isRtl ? left : document.documentElement.clientWidth - right)
    this.#panel.style.setProperty("--telltale-tray-top", `${Math.round(bottom + 8)}px`)
    this.#panel.style.setProperty("--telltale-tray-end", `${Math.round(end)}px`)
  }

  #soonId = null
  #soon() {
    this.#soonId ??= setTimeout(() => {
      this.#soonId = null
      this.#show()
    }, 50)
  }

  #clearEnded() {
    for (const snapshot of this.#live.snapshots.values()) if (snapshot.ended) this.#cleared.add(keyOf(snapshot))
    recollect(this.#cleared)
    this.#show()
    this.#panel.querySelector("button")?.focus()
  }

  get #tasks() {
    return [...this.#live.snapshots.values()]
      .filter(snapshot => !this.#cleared.has(keyOf(snapshot)))
      .sort((a, b) => Number(a.ended) - Number(b.ended) || b.created_at - a.created_at)
  }

  #show() {
    if (!this.#life) return
    const tasks = this.#tasks
    const running = tasks.filter(snapshot => !snapshot.ended).length
    setText(this.#count, running ? wordsHere().number(running) : "")
    this.#count.hidden = running === 0
    const spoken = `${wordsHere().say("tray")}: ${wordsHere().plural("open_tasks", running)}`
    setAttribute(this.#button, "aria-label", running ? spoken : null)
    setAttribute(this, "running", running || null)
    if (!this.#isOpen) return
    const shown = tasks.slice(0, AT_MOST)
    const rows = shown.map(snapshot => this.#row(snapshot))
    for (const [id] of this.#rows) if (!shown.some(snapshot => snapshot.id === id)) this.#rows.delete(id)
    if (rows.length !== this.#list.children.length || rows.some((row, i) => this.#list.children[i] !== row)) {
      this.#list.replaceChildren(...rows)
    }
    this.#empty.hidden = tasks.length > 0
    this.#clear.hidden = !tasks.some(snapshot => snapshot.ended)
  }

  #row(snapshot) {
    const doing = health(snapshot, this.#live.now, this.#live.limits)
    const telling = wordsHere().tell(snapshot, doing, this.#live.now)
    const row = this.#rows.get(snapshot.id) ?? this.#newRow(snapshot)
    setAttribute(row, "state", snapshot.state)
    setAttribute(row, "health", doing)
    setText(row.querySelector("a"), snapshot.label)
    setText(row.querySelector(".telltale-figure"), telling.figure)
    setText(row.querySelector(".telltale-status"), telling.status)
    const bar = row.querySelector("progress")
    bar.hidden = snapshot.ended
    setAttribute(bar, "aria-label", snapshot.label)
    setAttribute(bar, "aria-valuetext", telling.valueText)
    const isLater = bar.attempt !== snapshot.attempt
    const value = Math.max(isLater ? 0 : bar.hasAttribute("value") ? bar.value : 0, telling.filled ?? 0)
    bar.attempt = snapshot.attempt
    if (telling.filled === null && value === 0) bar.removeAttribute("value")
    else bar.value = value
    return row
  }

  #newRow(snapshot) {
    const row = make(
      "li",
      { className: "telltale-row" },
      make(
        "div",
        { className: "telltale-top" },
        make("a", { href: urlFor(this.#live.page.urls.task, snapshot.id), className: "telltale-label" }),
        make("span", { className: "telltale-figure", "aria-hidden": "true" }),
      ),
      make("progress", { className: "telltale-bar", max: 1 }),
      make("p", { className: "telltale-status" }),
    )
    this.#rows.set(snapshot.id, row)
    return row
  }
}

const keyOf = ({ id, attempt, ended }) => (ended ? `${id} ${attempt}` : id)

function recall() {
  try {
    return JSON.parse(localStorage.getItem(CLEARED) ?? "[]")
  } catch {
    return []
  }
}

function recollect(cleared) {
  try {
    localStorage.setItem(CLEARED, JSON.stringify([...cleared].slice(-REMEMBERED)))
  } catch {
    // A browser that remembers nothing shows them again on the next page.
  }
}
