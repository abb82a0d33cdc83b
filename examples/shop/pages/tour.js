// The routes of the tour: /tour/<step>.
(() => {
	const show = () => {
		const step = location.pathname.split("/")[2] || "cookie";
		for (const section of document.querySelectorAll("main section"))
			section.hidden = section.id !== "step-" + step;
	};
	for (const link of document.querySelectorAll("a[data-step]"))
		link.addEventListener("click", (event) => {
			event.preventDefault();
			history.pushState({}, "", link.href);
			show();
		});
	addEventListener("popstate", show);
})();
