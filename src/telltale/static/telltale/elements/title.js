/** The page's title tells how far its first task is, but only while nobody looks: "(42 %) Import contacts". */

let own = null

/** @param {?string} percent such as "42 %"; null puts the title back */
export function inTitle(percent) {
  const wanted = document.hidden ? percent : null
  if (wanted === null) {
    if (own !== null) document.title = own
    own = null
    return
  }
  own ??= document.title
  document.title = `(${wanted}) ${own}`
}
