/** The progress of the page's first task in the page's title, while the page is hidden: "(42 %) Import contacts". */

/** @type {string | null} the page's own title, while another is shown */
let ownTitle = null

/** @param {string | null} percent such as "42 %"; null restores the page's own title */
export function setTitleProgress(percent) {
  const shown = document.hidden ? percent : null
  if (shown === null) {
    if (ownTitle !== null) document.title = ownTitle
    ownTitle = null
    return
  }
  ownTitle ??= document.title
  document.title = `(${shown}) ${ownTitle}`
}
