(() => {
  const script = document.currentScript, base = new URL(script.src).origin
  const send = async (id, row, user, key = Date.now() + "-" + Math.random(), tries = 5) => {
    const headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    if (script.dataset.key) headers.Authorization = "Bearer " + script.dataset.key
    const body = JSON.stringify({interaction: id, user, ...row})
    try {
      const reply = await fetch(base + "/v1/feedback", {method: "POST", keepalive: true, headers, body})
      if (reply.ok) return reply.json()
      if (reply.status < 500 && reply.status != 429) tries = 0
      throw Error(reply.status)
    } catch (error) {
      if (tries < 2) throw error
      await new Promise(done => setTimeout(done, 1e3 * (6 - tries)))
      return send(id, row, user, key, tries - 1)
    }
  }
  const attach = item => {
    const {backtalk: id, user} = item.dataset, text = item.innerText
    const add = (to, tag, label, name, click) => {
      const node = to.appendChild(document.createElement(tag))
      node.textContent = label
      node.ariaLabel = node.title = name
      node.onclick = click
      return node
    }
    const bar = document.createElement("span")
    const post = row => send(id, row, user).then(
      () => bar.dataset.sent = 1, () => bar.dataset.failed = 1)
    const write = (kind, name, start) => {
      const box = add(bar, "div", "", name), area = add(box, "textarea", start, name)
      area.focus()
      add(box, "button", "✓", "Send", () => {
        if (area.value != start) post({[kind]: area.value})
        box.remove()
      })
    }
    add(bar, "button", "👍", "Good", () => post({thumb: "up"}))
    add(bar, "button", "👎", "Bad", () => post({thumb: "down"}))
    add(bar, "button", "✎", "Edit", () => write("edit", "Edit", text))
    add(bar, "button", "💬", "Comment", () => write("comment", "Comment", ""))
    item.after(bar)
  }
  window.backtalk = {send, attach}
  addEventListener("load", () => document.querySelectorAll("[data-backtalk]").forEach(attach))
})()
