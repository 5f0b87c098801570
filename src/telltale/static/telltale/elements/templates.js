/** Parts whose markup the page's author gives in a `<template>`. */
import { createElement } from "telltale/elements/dom.js"

/**
 * Create a part. `<template class="telltale-<name> …">` in `host` gives it more classes, and content of its own.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Element} host
 * @param {string} name
 * @param {Tag} tag
 * @param {Object<string, any>} [properties]
 */
export function createFromTemplate(host, name, tag, properties = {}) {
  const className = `telltale-${name}`
  const template = /** @type {HTMLTemplateElement | null} */ (host.querySelector(`:scope > template.${className}`))
  const content = template?.content.cloneNode(true)
  return createElement(tag, { ...properties, className: template?.className ?? className }, ...(content ? [content] : []))
}
