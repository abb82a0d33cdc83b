// revisit: tells the anchor which session this page belongs to, and the page views
// that the server has not counted.
(() => {
	"use strict";
	const me = document.currentScript;
	if (!me || window.revisit) return; // once is enough
	const at = (name) => new URL(name, me.src).href;
	const worker = () => navigator.serviceWorker?.controller;
	const wrapped = me.dataset.wrapped; // undefined where no handler counts the page
	const page = performance.getEntriesByType("navigation")[0] || {};
	// Scripts may have cleaned the address by now. The browser still has it.
	const landing = (page.name || location.href).split("#")[0] + location.hash;
	const referrer = document.referrer;
	const said = (name) => (page.serverTiming || []).find((e) => e.name === name);
	// A page that is loaded again, or gone back to, was not clicked on again.
	const back = { "Revisit-Load": "again" };
	const again = /reload|back/.test(page.type) ? "again," : "";
	// The browser has taken the page from its own cache: no server has counted that, whatever
	// the headers say, which are as old as the page. Of a service worker's pages nothing is known.
	const kept = page.encodedBodySize && !page.transferSize;
	// How long ago the browser has asked for the page, and when the server has counted it.
	const from = () => ({
		"Revisit-Referrer": referrer,
		"Revisit-Load": `${again}age=${performance.now() + page.responseStart | 0},seen=${kept && !worker() || said("rvs")?.duration}`,
	});
	const known = new Set(), links = [];
	let last = location.href, turn = Promise.resolve();

	const path = (href) => href.slice(new URL(href).origin.length);

	// Two links with the same beginning say the same.
	const add = (link) => {
		if (!link || known.has(link.slice(0, 24))) return;
		known.add(link.slice(0, 24));
		links.push(link);
	};

	// One request after the other: the browser must have the anchor's tag before it asks
	// again. Service workers like to keep pictures, so they are passed by under a name
	// that is none. That is another URL: the first time it is joined to the picture's.
	const send = (headers) => turn = turn.then(async () => {
		const some = links.slice(0, 16);
		if (some.length) headers["Revisit-Link"] = some.join(", ");
		if (!Object.keys(headers).length) return;
		const answer = await fetch(at(worker() ? "anchor" : "pixel.gif"), { headers, keepalive: true });
		if (!answer.ok) return;
		links.splice(0, some.length);
		if (answer.headers.get("Revisit-Anchor") === "new") {
			const picture = await fetch(at("pixel.gif"), { headers: { "Revisit-Anchor": "link" } });
			add(/rv;desc="([^"]+)/.exec(picture.headers.get("Server-Timing"))?.[1]);
		}
		if (links.length) send({});
	}).catch(() => {});

	// What the page has fetched from here, and nobody else has answered: any other
	// site could put a link of its own there.
	const ours = ({ initiatorType, name, redirectStart }) =>
		/^(navigation|fetch|xmlhttprequest)$/.test(initiatorType) &&
		new URL(name).origin === location.origin && (initiatorType === "navigation" || !redirectStart);

	const collect = (entries) => {
		for (const entry of entries.filter(ours))
			for (const { name, description } of entry.serverTiming || [])
				if (name === "rv") add(description);
	};

	const view = (href, more) => send({ "Revisit-Page": path(href), ...more });
	const land = () => send({ "Revisit-Landing": path(landing), ...from() });

	const route = (more) => {
		if (location.href !== last) view(last = location.href, more);
	};

	const start = () => {
		const loaded = () => {
			if (page.name) collect([page]);
			// Not counted: what was loaded before it was asked for, or kept in store; what a
			// service worker has answered, for all that is known here; and a page without a
			// carrier for its session, which has no link either.
			if (wrapped !== undefined && (page.activationStart || /prefetch/.test(page.deliveryType) ||
				kept ||
				worker() && !page.nextHopProtocol && page.deliveryType !== "cache" ||
				wrapped === "etag" && page.serverTiming && !said("rvs") && !said("rv")))
				view(landing, from());
			else if (wrapped !== undefined && again && (landing.includes("?") || referrer))
				send({ "Revisit-Again": path(landing), ...from() });
			else send({});
			// Applications that have their routes in the fragment have campaigns there, too.
			if (wrapped !== undefined && /#!?\/.*\?/.test(landing)) land();
		};
		if (wrapped === undefined) view(landing, from());
		if (document.readyState === "complete") loaded();
		else addEventListener("load", () => setTimeout(loaded));
		try {
			new PerformanceObserver((list) => {
				const before = known.size;
				collect(list.getEntries());
				if (known.size > before) send({});
			})
				.observe({ type: "resource", buffered: true });
		} catch {}

		// The Navigation API knows of all routes, and which of them are a way back.
		window.navigation?.addEventListener("currententrychange", ({ navigationType }) => {
			if (/push|traverse/.test(navigationType)) route(navigationType === "traverse" && back);
			else if (new URL(last).hash === location.hash) last = location.href;
		});
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
		addEventListener("popstate", () => route(back));
		addEventListener("hashchange", () => route());
		addEventListener("pageshow", (e) => { if (e.persisted) view(location.href, { ...from(), ...back }); });
	};
	if (document.prerendering) document.addEventListener("prerenderingchange", start, { once: true });
	else start();

	// To be called when consent was given without another page being loaded.
	window.revisit = land;
})();
