/** A few words for making elements: text is always text, never markup. */

/**
 * @param {string} tag
 * @param {Object<string, any>} [properties] set as properties; those with a dash, and `role`, as attributes
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value)
    else element[name] = value
  }
  element.append(...children)
  return element
}

/** Set text only where it differs: what has not changed is not said, selected or painted again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** Set or remove an attribute, only where it differs. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === "") {
    if (element.hasAttribute(name)) element.removeAttribute(name)
  } else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value)
}
