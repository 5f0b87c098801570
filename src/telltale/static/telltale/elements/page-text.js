/** The texts of this page, in its language: from the catalogue in the page's data. */
import { connect } from "telltale/index.js"
import { Texts } from "telltale/task-text.js"

/** @type {Texts | null} */
let texts = null

/** @returns {Texts} */
export const pageText = () => (texts ??= new Texts(connect().page.texts))
