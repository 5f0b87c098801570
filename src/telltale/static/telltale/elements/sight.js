/** What of an element a person can see. */

/**
 * Whether the middle of the element is in sight: inside the window, and inside what scrolls around it. What floats
 * above it, such as a toast, does not count.
 * @param {Element} element
 */
export function isPainted(element) {
  const { left, top, width, height } = element.getBoundingClientRect()
  return width > 0 && document.elementsFromPoint(left + width / 2, top + height / 2).includes(element)
}

/**
 * Whether something floats above the middle of the element, such as a dialog or the panel of the tray.
 * @param {Element} element
 */
export function isCovered(element) {
  const { left, top, width, height } = element.getBoundingClientRect()
  const root = /** @type {Document | ShadowRoot} */ (element.getRootNode())
  const topmost = root.elementFromPoint(left + width / 2, top + height / 2)
  return topmost !== null && !element.contains(topmost)
}
