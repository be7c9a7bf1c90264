// Asks for the page again and changes in place what is different, so that focus, scroll
// position, open details and tooltips stay as they are.
(() => {
  const PAUSE_MS = 2000;
  const silent = document.getElementById("silent");

  function settle(old, fresh) {
    if (old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
    } else if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
    } else {
      for (const { name } of [...old.attributes]) {
        if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
      }
      for (const { name, value } of fresh.attributes) {
        if (old.getAttribute(name) !== value) old.setAttribute(name, value);
      }
      const before = [...old.childNodes], after = [...fresh.childNodes];
      after.forEach((child, i) => (before[i] ? settle(before[i], child) : old.append(child)));
      before.slice(after.length).forEach((child) => child.remove());
    }
  }

  async function refresh() {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(5 * PAUSE_MS) });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    settle(document.querySelector("main"), page.querySelector("main"));
  }

  async function watch() {
    if (!document.hidden) {
      try {
        await refresh();
        silent.hidden = true;
      } catch {
        silent.hidden = false;
      }
    }
    setTimeout(watch, PAUSE_MS);
  }

  setTimeout(watch, PAUSE_MS);
})();
