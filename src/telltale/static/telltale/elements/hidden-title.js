/** Loads `title.js` when the page is hidden for the first time: before, no title has progress in it. */
/** @import * as Title from "telltale/elements/title.js" */

/** @type {Promise<typeof Title> | null} */
let loading = null

/**
 * Call `use` with the module: when it has arrived, or never while the page has not been hidden.
 * @param {(title: typeof Title) => void} use
 */
export function withTitle(use) {
  if (document.hidden) loading ??= import( "telltale/elements/title.js")
  loading?.then(use, () => (loading = null))
}
