/** Detects that a script or a morph has changed the markup of an element. */

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
