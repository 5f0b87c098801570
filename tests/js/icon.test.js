/** The page's icon while the page is hidden: a ring, and nothing that the site's policy may forbid. */
import assert from "node:assert/strict"
import test from "node:test"

import { showIcon } from "telltale/elements/icon.js"

const RINGS = [0, 1, 2, 3].map(quarter => `/static/telltale/icons/quarter-${quarter}.svg`)
const OWN = { rel: "icon", href: "/static/shop.png", type: "image/png" }

class Link {
  constructor(attributes) {
    this.attributes = { ...attributes }
  }
  hasAttribute = name => name in this.attributes
  getAttribute = name => this.attributes[name] ?? null
  setAttribute = (name, value) => (this.attributes[name] = value)
  removeAttribute = name => delete this.attributes[name]
}

const pageWith = (...icons) => {
  const links = icons.map(icon => new Link(icon))
  return { links, baseURI: "https://shop.example/orders/", querySelectorAll: () => links }
}

test("while the page is hidden its icons are a ring by quarters, and after that its own icons again", () => {
  const page = pageWith(OWN, { rel: "shortcut icon", href: "/favicon.ico", sizes: "32x32" })
  const own = page.links.map(link => ({ ...link.attributes }))
  for (const [share, quarter] of [[0, 0], [0.24, 0], [0.25, 1], [0.62, 2], [0.99, 3], [1, 3]]) {
    showIcon(share, RINGS, page)
    for (const { attributes } of page.links) {
      assert.deepEqual([attributes.href, attributes.type, attributes.sizes], [RINGS[quarter], "image/svg+xml", "any"])
    }
  }
  showIcon(null, [], page)
  assert.deepEqual(page.links.map(link => link.attributes), own)
})

test("a page whose icon has an unusable address keeps it", () => {
  const page = pageWith({ rel: "icon", href: "http://" })
  showIcon(0.5, RINGS, page)
  assert.equal(page.links[0].getAttribute("href"), "http://")
})

test("an icon that another script sets meanwhile is not replaced by the old one", () => {
  const page = pageWith(OWN)
  showIcon(0.5, RINGS, page)
  page.links[0].setAttribute("href", "/static/unread.png")
  showIcon(null, [], page)
  assert.equal(page.links[0].getAttribute("href"), "/static/unread.png")
})

test("such an icon is covered by the next ring, and comes back", () => {
  const page = pageWith(OWN)
  showIcon(0.5, RINGS, page)
  page.links[0].setAttribute("href", "/static/unread.png")
  showIcon(0.6, RINGS, page)
  assert.equal(page.links[0].getAttribute("href"), RINGS[2])
  showIcon(null, [], page)
  assert.equal(page.links[0].getAttribute("href"), "/static/unread.png")
})

for (const [why, icons, rings] of [
  ["the page has no icon of its own", [], RINGS],
  ["its icon is in the page itself", [{ rel: "icon", href: "data:," }], RINGS],
  ["one of its icons comes from another origin", [OWN, { rel: "icon", href: "https://cdn.example/icon.png" }], RINGS],
  ["the static files come from another origin", [OWN], RINGS.map(ring => `https://cdn.example${ring}`)],
  ["the site wants none", [OWN], undefined],
]) {
  test(`no ring is shown, so no policy is violated, if ${why}`, () => {
    const page = pageWith(...icons)
    showIcon(0.5, rings, page)
    assert.deepEqual(page.links.map(link => link.attributes), icons)
  })
}
