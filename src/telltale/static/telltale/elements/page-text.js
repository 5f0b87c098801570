/** The words of this page, from the catalogue that it brought. */
import { connect } from "telltale/index.js"
import { Words } from "telltale/task-text.js"

let words = null

/** @returns {Words} */
export const wordsHere = () => (words ??= new Words(connect().page.words))
