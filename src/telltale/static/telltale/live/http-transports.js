/** The transports by HTTP requests, in one file: pages load it when they need one of them. */
export { polling, requestPoll } from "telltale/live/polling.js"
export { sse } from "telltale/live/sse.js"
