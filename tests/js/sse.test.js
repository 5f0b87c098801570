/** The transport by server-sent events, with scripted responses. */
import assert from "node:assert/strict"
import test from "node:test"

import { CLOSE } from "telltale/live/protocol.js"
import { sse } from "telltale/live/sse.js"

import { Recorder, until } from "./recorder.js"

const responseOf = (chunks, { status = 200, type = "text/event-stream" } = {}) =>
  new Response(
    new ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk)
        controller.close()
      },
    }),
    { status, headers: { "Content-Type": type } },
  )

test("messages are reported as they arrive, and so is the end", async () => {
  const recorder = new Recorder()
  let request = null
  const fetch = async (url, init) => {
    request = { url, ...init }
    return responseOf(['data: {"type":"hel', 'lo"}\n\n: x\n\n'])
  }
  sse(recorder.options, { fetch })
  await until(() => recorder.ends > 0)
  assert.deepEqual([recorder.messages, recorder.ends], [[{ type: "hello" }], 1])
  assert.equal(request.headers.Authorization, "Bearer T")
  assert.equal(request.headers.Accept, "text/event-stream")
  assert.deepEqual(JSON.parse(request.body), { have: { a: [1, false, 2] } })
  assert.ok(!request.url.includes("T"))
})

test("characters that are cut between their bytes arrive whole", async () => {
  const recorder = new Recorder()
  const bytes = [...new TextEncoder().encode('data: {"text":"Zürich"}\n\n')]
  sse(recorder.options, { fetch: async () => responseOf(bytes.map(byte => new Uint8Array([byte]))) })
  await until(() => recorder.ends > 0)
  assert.deepEqual(recorder.messages, [{ text: "Zürich" }])
})

test("a refused stream reports the reason", async () => {
  const recorder = new Recorder()
  const bye = JSON.stringify({ type: "bye", code: CLOSE.NO_TICKET, again: "never" })
  sse(recorder.options, { fetch: async () => responseOf([bye], { status: 401, type: "application/json" }) })
  await until(() => recorder.ends > 0)
  assert.deepEqual([recorder.messages.map(message => message.code), recorder.ends], [[CLOSE.NO_TICKET], 1])
})

test("an HTML page instead of a stream is a failure, not a message", async () => {
  const recorder = new Recorder()
  sse(recorder.options, { fetch: async () => responseOf(["<h1>proxy</h1>"], { type: "text/html" }) })
  await until(() => recorder.ends > 0)
  assert.deepEqual([recorder.messages, recorder.ends], [[], 1])
})

test("an open stream does not take a new ticket", () => {
  const transport = sse(new Recorder().options, { fetch: async () => responseOf([]) })
  assert.equal(transport.updateTicket("T2"), false)
  transport.close()
})
