/**
 * Parts: the elements inside an element that it fills. The page's author may write them, and they are found by their
 * classes; those that are missing are created.
 */
import { createElement } from "telltale/elements/dom.js"

/**
 * Returns a function that finds the part of a name (the class without "telltale-"), or adds a new one to `parent`.
 * @template {Record<string, () => Element>} Creators
 * @param {Element} root
 * @param {Creators} create
 * @returns {<Name extends keyof Creators & string>(name: Name, parent?: Element, how?: "append" | "prepend") => ReturnType<Creators[Name]>}
 */
export function partFinder(root, create) {
  return (name, parent = root, how = "append") => {
    const found = root.querySelector(`.telltale-${name}`)
    const part = found ?? create[name]()
    if (!found) parent[how](part)
    return /** @type {any} */ (part)
  }
}

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

/**
 * Write the text, unless the page's author has written one.
 * @param {Element} element
 * @param {string} text
 */
export function fillText(element, text) {
  if (element.textContent?.trim() === "") element.textContent = text
}
