// The rest of the page's script. It may load before or after the socket has opened.
const button = document.querySelector("#start")
const connection = document.querySelector("#connection")

button.onclick = () => {
  button.disabled = true
  socket.send(JSON.stringify({ start: true }))
}

socket.onopen = () => {
  connection.textContent = "Connected"
  button.disabled = false
}
// A socket that is already open never calls onopen again.
if (socket.readyState === WebSocket.OPEN) socket.onopen()

socket.onclose = () => {
  connection.textContent = "Disconnected. Reload the page."
  button.disabled = true
}
