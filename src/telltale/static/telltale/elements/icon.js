/**
 * The progress of a task as the page's icon: a ring that fills in quarters.
 *
 * The rings are static files, because a ring that a script draws would be a `data:` image, which a strict policy
 * forbids. A page gets a ring only if its own icons come from the origin of the static files, because then its policy
 * allows that origin. A page without a `<link rel="icon">` keeps the icon that the browser shows.
 */
import { setAttribute } from "telltale/elements/dom.js"

const REPLACED = ["href", "type", "sizes"]

/**
 * The links that show a ring, each with its own attributes (`REPLACED`) and the ring.
 * @type {Map<Element, {own: (string | null)[], ring: string}>}
 */
const replaced = new Map()

/**
 * @param {number | null} share of the task that is done, 0 to 1; null shows the page's own icon again
 * @param {string[] | undefined} rings the address of the ring for each quarter; none: the site wants no ring
 * @param {Pick<Document, "querySelectorAll" | "baseURI">} [document]
 */
export function showIcon(share, rings, document = globalThis.document) {
  if (share === null || !rings?.length) return restore()
  const ring = rings[Math.min(rings.length - 1, Math.floor(share * rings.length))]
  const links = [...document.querySelectorAll('link[rel~="icon"]')]
  // An address that is none, such as "http://", has an origin of its own.
  const originOf = (/** @type {string | null} */ address) =>
    URL.canParse(address ?? "", document.baseURI) ? new URL(address ?? "", document.baseURI).origin : ""
  if (!links.every(link => originOf(link.getAttribute("href")) === originOf(ring))) return
  for (const link of links) {
    const isReplaced = link.getAttribute("href") === replaced.get(link)?.ring
    const own = isReplaced ? replaced.get(link)?.own : REPLACED.map(name => link.getAttribute(name))
    replaced.set(link, { own: own ?? [], ring })
    write(link, [ring, "image/svg+xml", "any"])
  }
}

function restore() {
  for (const [link, { own, ring }] of replaced) {
    // An icon that another script has set meanwhile stays.
    if (link.getAttribute("href") === ring) write(link, own)
  }
  replaced.clear()
}

/**
 * @param {Element} link
 * @param {(string | null)[]} values of `REPLACED`
 */
function write(link, values) {
  for (const [index, name] of REPLACED.entries()) setAttribute(link, name, values[index])
}
