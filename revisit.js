// revisit: tells the anchor which session this page belongs to, and counts the
// page views that the server has not seen.
(() => {
	"use strict";
	const me = document.currentScript;
	if (!me || window.revisit) return; // once is enough
	const anchor = new URL("pixel.gif", me.src).href;
	const wrapped = me.hasAttribute("data-wrapped"); // the server counts this page itself
	const landing = location.href, referrer = document.referrer;
	const known = new Set(), links = [];
	let last = landing, turn = Promise.resolve();

	const path = (href) => href.slice(new URL(href).origin.length);

	// One request after the other: the browser must have the anchor's tag before
	// it asks again.
	const send = (headers) => turn = turn.then(async () => {
		const some = links.slice(0, 16);
		if (some.length) headers["Revisit-Link"] = some.join(", ");
		if (!Object.keys(headers).length) return;
		const answer = await fetch(anchor, { headers, keepalive: true });
		if (answer.ok) links.splice(0, some.length);
		if (links.length && answer.ok) send({});
	}).catch(() => {});

	// What the page has fetched from here, and nobody else has answered: any other
	// site could put a link of its own there.
	const ours = ({ initiatorType, name, redirectStart }) =>
		/^(navigation|fetch|xmlhttprequest)$/.test(initiatorType) &&
		new URL(name).origin === location.origin && (initiatorType === "navigation" || !redirectStart);

	// The links of the page and of what it has fetched. Two with the same beginning
	// say the same.
	const collect = (entries) => {
		const before = links.length;
		for (const entry of entries.filter(ours))
			for (const { name, description } of entry.serverTiming || [])
				if (name === "rv" && description && !known.has(description.slice(0, 24))) {
					known.add(description.slice(0, 24));
					links.push(description);
				}
		return links.length > before;
	};

	const view = (more) => send({ "Revisit-Page": path(last), ...more });

	const route = () => {
		if (location.href === last) return;
		last = location.href;
		view();
	};

	const start = () => {
		const page = performance.getEntriesByType("navigation")[0] || {};
		// The server has not counted what the browser had in store, or has loaded
		// before it was asked for.
		const unseen = () => page.activationStart > 0 || /prefetch/.test(page.deliveryType) ||
			page.transferSize === 0 && page.encodedBodySize > 0 && !page.workerStart;
		const loaded = () => {
			collect(page.name ? [page] : []);
			if (wrapped && unseen()) view({ "Revisit-Referrer": referrer });
			else send({});
		};
		if (!wrapped) view({ "Revisit-Referrer": referrer });
		if (document.readyState === "complete") loaded();
		else addEventListener("load", () => setTimeout(loaded));
		try {
			new PerformanceObserver((list) => { if (collect(list.getEntries())) send({}); })
				.observe({ type: "resource", buffered: true });
		} catch {}

		const push = history.pushState;
		history.pushState = function () {
			push.apply(this, arguments);
			route();
		};
		const replace = history.replaceState;
		history.replaceState = function () {
			replace.apply(this, arguments);
			last = location.href; // no view, but another address
		};
		addEventListener("popstate", route);
		addEventListener("hashchange", route);
		addEventListener("pageshow", (e) => { if (e.persisted) view(); });
	};
	if (document.prerendering) document.addEventListener("prerenderingchange", start, { once: true });
	else start();

	// To be called when consent was given without another page being loaded.
	window.revisit = () => send({ "Revisit-Landing": path(landing), "Revisit-Referrer": referrer });
})();
