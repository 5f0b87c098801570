/** Helpers for DOM elements. Text is always set as text, never as markup. */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Object<string, any>} [properties] set as properties; names with a dash, and `role`, as attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function createElement(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value)
    else Object.assign(element, { [name]: value })
  }
  element.append(...children)
  return element
}

/**
 * Set the text only if it differs: an unchanged text is then not announced, deselected or painted again.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/**
 * Set an attribute, or remove it for null, undefined and ""; only if it differs.
 * @param {Element} element
 * @param {string} name
 * @param {string | number | null | undefined} value
 */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === "") {
    if (element.hasAttribute(name)) element.removeAttribute(name)
  } else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value))
}

/**
 * Set properties again by the setters of the element's class: those set before the class was defined hide them.
 * @param {any} element
 * @param {string[]} names
 */
export function adoptProperties(element, names) {
  for (const name of names) {
    if (!Object.hasOwn(element, name)) continue
    const value = element[name]
    delete element[name]
    element[name] = value
  }
}

/**
 * Focus the first link or button inside.
 * @param {Element} element
 */
export function focusFirst(element) {
  const control = /** @type {HTMLElement | null} */ (element.querySelector("a, button"))
  control?.focus()
}

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

/**
 * Remember the elements inside `roots` as they are now. Returns a function that tells whether all of them are still in
 * their places, with their classes; more elements may have been added.
 * @param {...Element} roots
 * @returns {() => boolean}
 */
export function rememberStructure(...roots) {
  const elements = roots.flatMap(root => [...root.querySelectorAll("*")])
  const places = elements.map(element => ({ element, parent: element.parentNode, className: element.className }))
  const classes = roots.map(root => root.className)
  return () =>
    roots.every((root, i) => root.className === classes[i]) &&
    places.every(({ element, parent, className }) => element.parentNode === parent && element.className === className)
}
