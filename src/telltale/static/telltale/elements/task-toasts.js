/**
 * `<task-toasts>`: shows notices, each on whichever of the visitor's pages gets it first, on none twice.
 *
 * A notice is claimed when it can really be seen, and shown only if the server grants it. Good news leaves by
 * itself, its clock standing still while somebody points at it, has it in focus or is elsewhere; trouble stays
 * until dismissed. F6 leads here, Esc dismisses. What a visible `<task-progress>` says already is not said again.
 */
import { announce, prepare } from "telltale/elements/announce.js"
import { claim } from "telltale/requests.js"
import { make } from "telltale/elements/dom.js"
import { connect } from "telltale/index.js"
import { safeUrl } from "telltale/page.js"
import { wordsHere } from "telltale/elements/page-text.js"

const AT_MOST = 3
const LEAST_MS = 6_000
const PER_CHARACTER_MS = 70
const TICK_MS = 250

export class TaskToasts extends HTMLElement {
  #life = null
  #live = null
  /** @type {import("telltale/live/snapshots.js").Notice[]} not yet claimed */
  #waiting = []
  /** Granted, with no room yet. */
  #granted = []
  #isClaiming = false
  #more = null

  connectedCallback() {
    this.#life = new AbortController()
    const { signal } = this.#life
    prepare()
    this.setAttribute("role", "region")
    this.#live = connect()
    this.setAttribute("aria-label", wordsHere().say("toasts"))
    this.#more ??= make("button", { type: "button", className: "telltale-more", hidden: true, onclick: () => this.#openTray() })
    if (!this.#more.isConnected) this.append(this.#more)
    this.#live.notices(notice => this.#hear(notice), { signal })
    this.#live.states(state => state === "live" && this.#claim(), { signal })
    document.addEventListener("visibilitychange", () => this.#claim(), { signal })
    document.addEventListener("keydown", event => this.#key(event), { signal })
    const ticking = setInterval(() => this.#tick(), TICK_MS)
    signal.addEventListener("abort", () => clearInterval(ticking))
  }

  disconnectedCallback() {
    this.#life?.abort()
    this.#life = null
  }

  #hear(notice) {
    this.#waiting.push(notice)
    this.#claim()
  }

  /** One at a time, in order, and only while the page can paint. */
  async #claim() {
    if (this.#isClaiming || document.hidden) return
    this.#isClaiming = true
    try {
      while (this.#waiting.length && this.#life) {
        // A hidden page gets no frame: this waits until what is claimed can be seen.
        await new Promise(resolve => requestAnimationFrame(resolve))
        if (document.hidden) break
        const notice = this.#waiting[0]
        const isGranted = await claim(this.#live, notice.id)
        this.#waiting.shift()
        if (isGranted && !isSaidBy(notice)) this.#show(notice)
      }
    } catch {
      // Out of reach for now. It stays first in line, for when the line is back or somebody looks.
    } finally {
      this.#isClaiming = false
    }
  }

  #show(notice) {
    if (this.#shown.length >= AT_MOST) this.#granted.push(notice)
    else this.insertBefore(this.#toast(notice), this.#more)
    this.#count()
    const isBad = notice.level === "error" || notice.level === "warning"
    announce(notice.id, notice.text, { urgent: isBad })
  }

  #toast({ level, text, url }) {
    const words = wordsHere()
    const toast = make("div", { className: "telltale-toast" }, make("p", {}, text))
    toast.setAttribute("level", level)
    const href = safeUrl(url)
    if (href) toast.querySelector("p").append(" ", make("a", { href }, words.say("open")))
    const close = make("button", { type: "button", className: "telltale-dismiss", "aria-label": words.say("dismiss") }, "×")
    close.addEventListener("click", () => this.#dismiss(toast))
    toast.append(close)
    const isGood = level === "success" || level === "info"
    toast.left = isGood ? Math.max(LEAST_MS, text.length * PER_CHARACTER_MS) : Infinity
    return toast
  }

  get #shown() {
    return [...this.querySelectorAll(".telltale-toast")]
  }

  #tick() {
    if (document.hidden || this.matches(":hover") || this.contains(document.activeElement)) return
    for (const toast of this.#shown) {
      toast.left -= TICK_MS
      if (toast.left <= 0) this.#dismiss(toast)
    }
  }

  #dismiss(toast) {
    const next = toast.contains(document.activeElement) && (toast.nextElementSibling ?? toast.previousElementSibling)
    toast.remove()
    if (this.#granted.length) this.insertBefore(this.#toast(this.#granted.shift()), this.#more)
    this.#count()
    if (next) next.querySelector("button")?.focus()
  }

  #count() {
    const { length } = this.#granted
    this.#more.hidden = length === 0
    this.#more.textContent = length ? wordsHere().plural("more", length) : ""
  }

  #openTray() {
    const tray = document.querySelector("task-tray")
    if (tray?.open) return tray.open()
    for (const notice of this.#granted.splice(0)) this.insertBefore(this.#toast(notice), this.#more)
    this.#count()
  }

  #key(event) {
    if (event.key === "F6" && !event.defaultPrevented && this.#shown.length && !this.contains(document.activeElement)) {
      event.preventDefault()
      this.#shown[0].querySelector("a, button").focus()
    }
    if (event.key !== "Escape") return
    const focused = this.#shown.find(toast => toast.contains(document.activeElement))
    if (focused) this.#dismiss(focused)
  }
}

/** Whether the task's own bar tells the end already, where it can be seen. */
function isSaidBy({ task }) {
  if (!task) return false
  return [...document.querySelectorAll("task-progress")].some(element => {
    if (element.task !== task || !element.isConnected) return false
    const { top, bottom, width } = element.getBoundingClientRect()
    return width > 0 && bottom > 0 && top < innerHeight
  })
}
