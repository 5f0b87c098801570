/** What the elements of one task share: which task it is, and whose. */
import { adoptProperties, setAttribute } from "telltale/elements/dom.js"

export class TaskElement extends HTMLElement {
  /** The id of the task. */
  get task() {
    return this.getAttribute("task")
  }

  /** Frameworks set a property where an element has one. */
  set task(id) {
    setAttribute(this, "task", id)
  }

  /** Whether the task is the visitor's own. */
  get mine() {
    return this.hasAttribute("mine")
  }

  set mine(isMine) {
    this.toggleAttribute("mine", Boolean(isMine))
  }

  /** Whether one of the visitor's own topics covers the task; or which one does. */
  get coveredBy() {
    return this.mine && (this.getAttribute("owner") || true)
  }

  connectedCallback() {
    // A framework may have set the properties before this class was defined.
    adoptProperties(this, ["task", "mine"])
  }
}
