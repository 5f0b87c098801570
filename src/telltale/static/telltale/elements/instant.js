/** Instants in the page's language and the visitor's time zone, in `<time>` elements. */
import { createElement, setText } from "telltale/elements/dom.js"
import { connect } from "telltale/index.js"

/** @type {Map<Intl.DateTimeFormatOptions, Intl.DateTimeFormat>} kept, because making one takes as long as using it often */
const formats = new Map()

/**
 * An element for an instant; `showInstant` gives it its text.
 * @param {number} seconds since 1970
 */
export const createInstant = seconds => createElement("time", { dateTime: new Date(seconds * 1000).toISOString() })

/**
 * Show the instant of the element; one that is none stays as it is.
 * @param {HTMLTimeElement} time
 * @param {(instant: Date) => Intl.DateTimeFormatOptions} optionsFor returns a constant
 */
export function showInstant(time, optionsFor) {
  const instant = new Date(time.dateTime)
  if (Number.isNaN(instant.getTime())) return
  const options = optionsFor(instant)
  const format = formats.get(options) ?? newFormat(options)
  formats.set(options, format)
  setText(time, format.format(instant))
}

/** @param {Intl.DateTimeFormatOptions} options */
function newFormat(options) {
  try {
    // Django's names of languages, such as "pt-br", are not all known to browsers.
    return new Intl.DateTimeFormat(connect().page.language || undefined, options)
  } catch {
    return new Intl.DateTimeFormat(undefined, options)
  }
}
