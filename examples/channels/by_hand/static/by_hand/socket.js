// Opens the page's socket. In the <head>, so that it opens while the page is still loading.
const scheme = location.protocol === "https:" ? "wss:" : "ws:"
const socket = new WebSocket(`${scheme}//${location.host}${document.currentScript.dataset.path}`)

socket.onmessage = event => {
  const { text, share } = JSON.parse(event.data)
  if (text) showToast(text)
  if (share !== undefined) document.querySelector("#bar").value = share
}

function showToast(text) {
  const toast = document.createElement("p")
  toast.className = "toast"
  toast.textContent = text
  document.querySelector("#toasts").append(toast)
  setTimeout(() => toast.remove(), 6000)
}
