/**
 * `<task-toasts>`: shows notices, each on whichever of the visitor's pages gets it first, on none twice.
 *
 * A notice is taken when it can really be seen and there is room for it, and shown only if the server grants it;
 * the others wait until a toast leaves, on this page, another or the next. Good news leaves by
 * itself, its clock standing still while somebody points at it, has it in focus or is elsewhere; trouble stays
 * until dismissed. F6 leads here, Esc dismisses. What a visible `<task-progress>` says already is not said again.
 */
import { announce, prepare } from "telltale/elements/announce.js"
import { takeNotice } from "telltale/requests.js"
import { make, setText } from "telltale/elements/dom.js"
import { connect } from "telltale/index.js"
import { NoticeQueue } from "telltale/elements/notice-queue.js"
import { safeUrl } from "telltale/page.js"
import { wordsHere } from "telltale/elements/page-text.js"

const AT_MOST = 3
const LEAST_MS = 6_000
const PER_CHARACTER_MS = 70
const TICK_MS = 250

export class TaskToasts extends HTMLElement {
  #life = null
  #live = null
  /** @type {?NoticeQueue} */
  #queue = null
  /** How many toasts there is room for. */
  #room = AT_MOST
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
    const queue = (this.#queue = new NoticeQueue(this.#stage(), browser()))
    signal.addEventListener("abort", () => queue.end())
    this.#live.notices(notice => queue.hear(notice), { signal })
    this.#live.states(() => queue.wake(), { signal })
    document.addEventListener("visibilitychange", () => queue.wake(), { signal })
    document.addEventListener("keydown", event => this.#key(event), { signal })
    const ticking = setInterval(() => this.#tick(), TICK_MS)
    signal.addEventListener("abort", () => clearInterval(ticking))
  }

  disconnectedCallback() {
    this.#life?.abort()
    this.#life = null
  }

  /** What the queue needs of this element. @returns {import("telltale/elements/notice-queue.js").Stage} */
  #stage() {
    return {
      isReady: () => !document.hidden && ["live", "polling"].includes(this.#live.state),
      hasRoom: () => this.#shown.length < this.#room,
      isSaid: isSaidBy,
      // A hidden page gets no frame: this waits until what is taken can be seen.
      painted: () => new Promise(resolve => requestAnimationFrame(() => resolve())),
      take: async id => {
        const isGranted = await takeNotice(this.#live, id)
        this.#live.decided(id)
        return isGranted
      },
      show: notice => this.#show(notice),
      changed: () => this.#count(),
    }
  }

  #show(notice) {
    this.insertBefore(this.#toast(notice), this.#more)
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
    this.#room = Math.max(AT_MOST, Math.min(this.#room, this.#shown.length))
    if (next) next.querySelector("button")?.focus()
    this.#count()
    this.#queue?.go()
  }

  /** "and 4 more": those for which there is no room beside the toasts that are shown. */
  #count() {
    const shown = this.#shown.length
    const length = shown ? Math.max(0, this.#queue.length - (this.#room - shown)) : 0
    this.#more.hidden = length === 0
    setText(this.#more, length ? wordsHere().plural("more", length) : "")
  }

  /** The tray lists the tasks; without one there is room for some more toasts. */
  #openTray() {
    const tray = document.querySelector("task-tray")
    if (tray?.open) return tray.open()
    this.#room = this.#shown.length + AT_MOST
    this.#queue.go()
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

/** What the queue needs of the browser. */
const browser = () => ({
  setTimeout: (then, ms) => setTimeout(then, ms),
  clearTimeout: timer => clearTimeout(timer),
  random: Math.random,
})

/** Whether the task's own bar tells the end already, where it can be seen. */
function isSaidBy({ task }) {
  if (!task) return false
  return [...document.querySelectorAll("task-progress")].some(element => {
    if (element.task !== task || !element.isConnected) return false
    const { top, bottom, width } = element.getBoundingClientRect()
    return width > 0 && bottom > 0 && top < innerHeight
  })
}
